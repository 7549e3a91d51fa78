"""The answer where no route answers: 501 for operations not built yet, 405 for a wrong method, 404 for the rest."""

import re
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from tertulia.api.operations import OPERATIONS, Operation
from tertulia.domain.errors import Unsupported

_PATTERNS: Final[tuple[tuple[re.Pattern[str], Operation], ...]] = tuple(
    (re.compile(re.sub(r"\{\w+\}", "[^/]+", operation.route_path)), operation) for operation in OPERATIONS
)


class _Unanswered:
    """A plain ASGI endpoint, so that it answers every method there is."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002  the ASGI signature
        request = Request(scope, receive)
        known = [operation for pattern, operation in _PATTERNS if pattern.fullmatch(request.url.path)]
        for operation in known:
            if operation.method == request.method and not operation.built:
                raise Unsupported(refusal(operation), operation=operation.id)
        if known:
            methods = sorted({operation.method for operation in known})
            raise HTTPException(
                405,
                f"{request.method} is not allowed on {request.url.path}; it accepts {' and '.join(methods)}.",
                {"allow": ", ".join(methods)},
            )
        raise HTTPException(404, f"There is no operation {request.method} {request.url.path}. /docs lists them all.")


def refusal(operation: Operation) -> str:
    """The sentence for an operation that is known and not built."""
    return (
        f"UNSUPPORTED: {operation.sdk} is not available in this release of Tertulia: "
        f"{operation.method} {operation.path} is part of the API it speaks, and has not been built yet."
    )


ROUTE: Final = Route("/{path:path}", _Unanswered(), include_in_schema=False)
