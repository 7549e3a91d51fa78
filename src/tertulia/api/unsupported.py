"""The answer where no route answers: to OPTIONS, 501 if it is not built yet, 405 to a wrong method, 404 to the rest."""

import re
from collections.abc import Sequence
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from tertulia.api.operations import OPERATIONS, Operation
from tertulia.domain.errors import Unsupported

_NOT_BUILT: Final[tuple[tuple[re.Pattern[str], Operation], ...]] = tuple(
    (re.compile(re.sub(r"\{\w+\}", "[^/]+", operation.route_path)), operation)
    for operation in OPERATIONS
    if not operation.built
)
_EVERYTHING: Final = "*"
"""What OPTIONS asks about that asks of the whole server."""


class Unanswered:
    """A plain ASGI endpoint, so that it answers every method there is. ``routes`` are those that did not."""

    def __init__(self, routes: Sequence[BaseRoute]) -> None:
        self._routes = [route for route in routes if isinstance(route, Route)]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        method, path = request.method, request.scope["path"]
        known = [operation for pattern, operation in _NOT_BUILT if pattern.fullmatch(path)]
        for operation in known:
            if operation.method == method:
                raise Unsupported(refusal(operation), operation=operation.id)
        methods = {operation.method for operation in known}.union(*map(_methods, self._at(path)))
        if not methods:
            raise HTTPException(404, f"There is no operation {method} {path}. /docs lists them all.")
        allow = ", ".join(sorted(methods | {"OPTIONS"} | ({"HEAD"} if "GET" in methods else set())))
        if method != "OPTIONS":
            raise HTTPException(
                405, f"{method} is not allowed on {path}; it accepts {' and '.join(sorted(methods))}.", {"allow": allow}
            )
        await Response(status_code=204, headers={"allow": allow})(scope, receive, send)

    def _at(self, path: str) -> Sequence[Route]:
        return [route for route in self._routes if path == _EVERYTHING or route.path_regex.match(path)]

    @property
    def route(self) -> Route:
        """It, for every path."""
        return Route("/{path:path}", self, include_in_schema=False)


def _methods(route: Route) -> set[str]:
    return (route.methods or set()) - {"HEAD"}


def refusal(operation: Operation) -> str:
    """The sentence for an operation that is known and not built."""
    return (
        f"UNSUPPORTED: {operation.sdk} is not available in this release of Tertulia: "
        f"{operation.method} {operation.path} is part of the API it speaks, and has not been built yet."
    )
