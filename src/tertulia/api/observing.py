"""What is noted of every request: an id for its log lines and its reply, and what came of it for the telemetry."""

import re
import time
from dataclasses import dataclass, field
from secrets import token_hex
from typing import Any, Final
from urllib.parse import parse_qsl

import structlog
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bind_contextvars, reset_contextvars

from tertulia.api.wire.ignored import IGNORED, NOTES, as_header, note
from tertulia.ports.telemetry import RequestAnswered, RequestBegan, RequestEnded, Telemetry

REQUEST_ID: Final = b"x-request-id"
_SANE: Final = re.compile(rb"[\w.:-]{1,128}", re.ASCII)
_log = structlog.get_logger(__name__)

_NOTES: Final = "tertulia.notes"


@dataclass(slots=True)
class _Notes:
    """``scope`` is the one that the router writes the route into: layers on the way may have copied it."""

    scope: Scope = field(default_factory=dict[str, Any])

    @property
    def route(self) -> str | None:
        return getattr(self.scope.get("route"), "path", None)


class ObservingMiddleware:
    """The outermost layer, so that it sees every reply. ``RouteMiddleware`` is the innermost."""

    def __init__(self, app: ASGIApp, telemetry: Telemetry) -> None:
        self._app = app
        self._telemetry = telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, notes, request_id = time.monotonic(), _Notes(), _request_id(scope)
        scope[_NOTES] = notes
        undone: dict[bytes, list[str]] = {}
        noting = NOTES.set(undone)

        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                # A message of its own: whoever sent this one may send it again to others.
                headers = [*message.get("headers", ()), (REQUEST_ID, request_id)]
                if query := scope.get("query_string"):
                    note(_unknown_parameters(notes.scope.get("route"), query))
                if ignored := undone.get(IGNORED):
                    _log.warning("unknown_fields_ignored", fields=ignored)
                headers += [(header, as_header(names)) for header, names in undone.items()]
                message = {**message, "headers": headers}
                seconds = time.monotonic() - began
                status = message["status"]
                self._telemetry(
                    RequestAnswered(method=scope["method"], route=notes.route, status=status, seconds=seconds)
                )
            await send(message)

        bound = bind_contextvars(request_id=request_id.decode())
        self._telemetry(RequestBegan())
        try:
            await self._app(scope, receive, noted)
        finally:
            self._telemetry(RequestEnded())
            reset_contextvars(**bound)
            NOTES.reset(noting)


class RouteMiddleware:
    """Notes which route is to answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope[_NOTES].scope = scope
        await self._app(scope, receive, send)


def _unknown_parameters(route: object, query: bytes) -> list[str]:
    """Which of the query's parameters the route does not have."""
    if not isinstance(route, APIRoute):
        return []
    known = _parameters(route)
    return [name for name, _ in parse_qsl(query.decode("latin-1"), keep_blank_values=True) if name not in known]


def _parameters(route: APIRoute) -> frozenset[str]:
    found: set[str] = set()
    parts: list[Dependant] = [route.dependant]
    while parts:
        part = parts.pop()
        found.update(field.alias for field in part.query_params)
        parts += part.dependencies
    return frozenset(found)


def _request_id(scope: Scope) -> bytes:
    """The client's own id of the request, if it sent one that can be written down, or a new one."""
    for name, value in scope["headers"]:
        if name == REQUEST_ID and _SANE.fullmatch(value):
            given: bytes = value
            return given
    return f"req-{token_hex(8)}".encode()
