"""What a failure looks like to a client: the one table from errors to status codes, and the one body shape."""

import math
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tertulia.api.wire.common import NO_NUL
from tertulia.domain.errors import (
    ApprovalPending,
    Conflict,
    DataDirectoryHeld,
    Gone,
    InvalidArgument,
    LeaseLost,
    NameTaken,
    NotFound,
    ProviderAuthenticationError,
    ProviderError,
    ProviderRateLimited,
    ProviderTimeout,
    StoreUnavailable,
    TertuliaError,
    Unprocessable,
    Unsupported,
)
from tertulia.edge.refusals import refusal_of

log = structlog.get_logger(__name__)

# An error has the status of the nearest class above it that is listed.
STATUS: Final[Mapping[type[TertuliaError], int]] = MappingProxyType(
    {
        InvalidArgument: 400,
        NotFound: 404,
        Conflict: 409,
        Gone: 410,
        Unprocessable: 422,
        Unsupported: 501,
        StoreUnavailable: 503,
        LeaseLost: 503,
        DataDirectoryHeld: 503,
        ProviderAuthenticationError: 401,
        ProviderRateLimited: 429,
        ProviderTimeout: 504,
        ProviderError: 502,
        TertuliaError: 500,
    }
)

# The same for failures that reach a reader as an event of a run.
RUN_FAILURE_STATUS: Final[Mapping[str, int]] = MappingProxyType(
    {
        "llm_authentication": 401,
        "llm_rate_limit": 429,
        "llm_timeout": 504,
        "llm_error": 502,
        "internal_error": 500,
        "conflict": 409,
        "invalid_request": 400,
    }
)

_ERRORS_TOLD: Final = 20
_UNAVAILABLE: Final = 503
_SECONDS_TO_RESTART: Final = 2
"""When it is worth asking again for what could not be done for now: a restart takes about so long."""

_INTERNAL_ERROR: Final = "INTERNAL: the server failed to answer this request. The server's log says why."


def status_of(error: TertuliaError) -> int:
    return next(STATUS[cls] for cls in type(error).__mro__ if cls in STATUS)


def error_response(status: int, detail: str, headers: Mapping[str, str] | None = None, **fields: Any) -> Response:
    """The body of every failure: a sentence, with structured fields beside it."""
    if status == _UNAVAILABLE:
        headers = _retry_after_header(_SECONDS_TO_RESTART) | dict(headers or {})
    return JSONResponse({"detail": detail, **fields}, status, headers)


# The official SDKs repeat a request that failed with 409 or 5xx unless this tells them not to. Here the message is
# stored and its run is over, or the answer would be the same: a repetition would be a second message, or a wait.
_NOT_AGAIN: Final = MappingProxyType({"x-should-retry": "false"})

_SAME_AGAIN: Final = (ApprovalPending, Gone, NameTaken, Unsupported)
"""Failures that a repetition of the request would meet again."""


def run_failure_response(error_type: str, message: str, detail: str, retry_after: float | None = None) -> Response:
    """The blocking reply to a message whose run failed. ``retry_after`` is seconds."""
    return JSONResponse(
        {"error": {"type": error_type, "message": message, "detail": detail}},
        RUN_FAILURE_STATUS.get(error_type, 500),
        _NOT_AGAIN | _retry_after_header(retry_after),
    )


def _retry_after_header(seconds: float | None) -> dict[str, str]:
    return {} if seconds is None else {"retry-after": str(math.ceil(seconds))}


async def _on_tertulia_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, TertuliaError)  # noqa: S101  Starlette types every handler for Exception
    if isinstance(error, ProviderError):
        return run_failure_response(error.error_type, error.message, error.detail, error.retry_after)
    status = status_of(error)
    if status == STATUS[TertuliaError]:
        log.error("unexpected failure", path=request.url.path, exc_info=error)
    headers = _NOT_AGAIN if isinstance(error, _SAME_AGAIN) else None
    return error_response(status, error.message, headers, **error.fields)


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101  as above
    return error_response(error.status_code, error.detail, error.headers)


async def _on_validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101  as above
    return validation_response(error.errors())


def validation_response(errors: Sequence[Mapping[str, Any]]) -> Response:
    """422 for a request that has not the shape its operation takes. ``errors`` are Pydantic's."""
    told = errors[:_ERRORS_TOLD]
    sentences = list(dict.fromkeys(_sentence(error) for error in told))
    if len(errors) > len(told):
        sentences.append(f"There are {len(errors) - len(told)} more errors.")
    return error_response(422, " ".join(sentences), errors=[_error_object(error) for error in told])


def _error_object(error: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "loc": [step for step in error["loc"] if not _is_shape(step)],
        "type": error["type"],
        "msg": _complaint(error),
    }


def _is_shape(step: str | int) -> bool:
    # Such steps tell apart the shapes of a union; they are no part of what the client sent.
    return isinstance(step, str) and step.startswith("~")


def _sentence(error: Mapping[str, Any]) -> str:
    return f"{_place(error['loc'])} {_complaint(error)}."


def _place(location: Sequence[str | int]) -> str:
    source, *steps = [step for step in location if not _is_shape(step)] or ["request"]
    if not steps or isinstance(steps[0], int):  # of unreadable JSON the place is an offset, told by the complaint
        return f"The {source}"
    path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps).removeprefix(".")
    return f"'{path}' in the {source}"


_COMPLAINTS: Final[dict[str, str]] = {
    "missing": "is missing; add it",
    "extra_forbidden": "is not a field this operation takes; remove it",
    "model_attributes_type": "must be a JSON object, sent with content-type: application/json",
    "dict_type": "must be a JSON object",
    "too_long": "must have at most {max_length} entries; send fewer",
}


def _complaint(error: Mapping[str, Any]) -> str:
    kind = str(error["type"])
    if kind == "json_invalid":
        offset = f" at character {error['loc'][-1]}" if error["loc"][-1] else ""
        return f"is not valid JSON: {error['ctx']['error']}{offset}"
    if kind == "union_tag_not_found":
        return f"must say which shape it has, in {error['ctx']['discriminator']}"
    if kind == "union_tag_invalid":
        context = error["ctx"]
        return f"has {context['discriminator']} '{context['tag']}', which is none of {context['expected_tags']}"
    if kind in _COMPLAINTS:
        return _COMPLAINTS[kind].format(**error.get("ctx", {}))
    message = re.sub(r"^(Value error|Assertion failed), ", "", str(error["msg"]))
    message = message.replace(f"String should match pattern '{NO_NUL}'", "must not have the character U+0000 in it")
    return message.replace("Input should be", "must be").replace("String should have", "must have").rstrip(".")


class GuardMiddleware:
    """The outermost layer: no exception leaves it unanswered, no body longer than ``max_body_bytes`` enters."""

    def __init__(self, app: ASGIApp, max_body_bytes: int) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = refusal_of(scope)
        if refusal is not None:
            await error_response(refusal.status, refusal.detail, refusal.headers)(scope, receive, send)
            return
        if _content_length(scope) > self._max_body_bytes:
            await self._too_large()(scope, receive, send)
            return
        started = False
        received = 0

        async def counted_receive() -> Message:
            # A chunked body has no announced length; it is refused at the piece that goes over the limit.
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._max_body_bytes:
                raise HTTPException(413, too_large(self._max_body_bytes))
            return message

        async def watched_send(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, counted_receive, watched_send)
        except ClientDisconnect:
            return
        except Exception as error:
            log.exception("unexpected failure", method=scope["method"], path=scope["path"])
            if started:
                raise  # the reply is half sent; the server can only break the connection
            del error
            await error_response(500, _INTERNAL_ERROR)(scope, receive, send)

    def _too_large(self) -> Response:
        return error_response(413, too_large(self._max_body_bytes), {"connection": "close"})


def too_large(limit: int) -> str:
    """What a request is told whose body is larger."""
    return (
        f"The request body is larger than {limit} bytes. "
        "Send less, or raise the server's limit (TERTULIA_MAX_BODY_BYTES)."
    )


def _content_length(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() else 0
    return 0


def install(app: FastAPI) -> None:
    """Make the table above the only way an exception becomes a reply."""
    app.add_exception_handler(TertuliaError, _on_tertulia_error)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
