"""What protects a server without a key from web pages: a browser on its machine can reach it, and pages can ask it to.

A page elsewhere can send requests to a loopback address, and can make its own name resolve to one. So without a key the
server answers only to names of this machine, and to pages only if they are its own or are allowed. With a key, which
no page knows, neither matters.
"""

import ipaddress
from collections.abc import Collection
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from tertulia.api.errors import error_response

_EXPOSED: Final = (
    "x-request-id",
    "retry-after",
    "x-should-retry",
    "allow",
    "accept-encoding",
    "x-tertulia-ignored",
    "x-tertulia-dropped",
)
_LOCAL_NAMES: Final = frozenset({"localhost"})


class BrowserMiddleware:
    """Refuses requests that name another host, and those that pages of other origins make."""

    def __init__(self, app: ASGIApp, hosts: Collection[str], origins: Collection[str]) -> None:
        self._app = app
        self._hosts = frozenset(hosts)
        self._origins = frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self._refusal(scope) if scope["type"] == "http" else None
        if refusal is None:
            await self._app(scope, receive, send)
        else:
            await error_response(*refusal)(scope, receive, send)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        host = _header(scope, b"host")
        name = _name(host)
        if host and not (name in self._hosts or is_this_machine(name)):
            return 421, (
                f"This server has no API key, so it only answers to this machine's own names, not to '{name}'. "
                "Add the name to TERTULIA_ALLOWED_HOSTS, or set TERTULIA_API_KEY."
            )
        origin = _header(scope, b"origin")
        if origin and origin not in self._origins and urlsplit(origin).netloc != host:
            return 403, (
                "This server has no API key, so it accepts no requests from pages of other origins such as "
                f"'{origin}'. "
                "Add the origin to TERTULIA_CORS_ORIGINS, or set TERTULIA_API_KEY."
            )
        return None


class PagesMiddleware(CORSMiddleware):
    """Lets pages of the allowed origins read every reply, also of refusals and failures, and the headers they need."""

    def __init__(self, app: ASGIApp, origins: Collection[str]) -> None:
        super().__init__(app, tuple(origins), ["*"], ["*"], expose_headers=_EXPOSED)

    def preflight_response(self, request_headers: Headers) -> Response:
        origin = request_headers["origin"]
        if self.is_allowed_origin(origin):
            return super().preflight_response(request_headers)
        return error_response(
            403, f"Pages of '{origin[:200]}' may not call this server. Add the origin to TERTULIA_CORS_ORIGINS."
        )


def is_this_machine(name: str) -> bool:
    """Whether a host's name can only mean the machine it is used on."""
    if name in _LOCAL_NAMES or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _name(host: str) -> str:
    """The name or address in ``name:port``."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _header(scope: Scope, wanted: bytes) -> str:
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == wanted), "")
