"""The server's key: who may call. A pure ASGI layer, because it runs for every request."""

import hmac
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from tertulia.api.errors import error_response

# Told to anybody: whether the server lives, and what its API looks like.
_OPEN_PATHS: Final = ("/v1/health", "/openapi.json", "/docs")
_BEARER: Final = b"bearer "


class KeyMiddleware:
    """Lets a request through if it carries ``Authorization: Bearer <api_key>``."""

    def __init__(self, app: ASGIApp, api_key: str) -> None:
        self._app = app
        self._key = api_key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or _is_open(scope["path"]) or self._may(_credentials(scope)):
            await self._app(scope, receive, send)
            return
        response = error_response(
            401,
            "UNAUTHENTICATED: this server requires an API key. Send it as 'Authorization: Bearer <key>'.",
            {"www-authenticate": "Bearer"},
        )
        await response(scope, receive, send)

    def _may(self, credentials: bytes) -> bool:
        scheme, key = credentials[: len(_BEARER)], credentials[len(_BEARER) :]
        # The comparison takes as long for a key that is almost right as for one that is not.
        return scheme.lower() == _BEARER and hmac.compare_digest(key.strip(), self._key)


def _is_open(path: str) -> bool:
    return any(path == open_path or path.startswith(f"{open_path}/") for open_path in _OPEN_PATHS)


def _credentials(scope: Scope) -> bytes:
    return next((value for name, value in scope["headers"] if name == b"authorization"), b"")
