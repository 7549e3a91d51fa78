"""Routes whose JSON bodies are parsed strictly: what cannot be written down as JSON again does not get in."""

import json
from collections.abc import Callable, Coroutine
from typing import Any, Final

import msgspec
from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from tertulia.api.contents import BOM, refuse_crowd, refuse_nul
from tertulia.api.deps import services_of
from tertulia.domain.errors import ProviderNotConfigured

_NOT_JSON: Final = "it holds NaN, an infinity, a number too large or a lone surrogate, which JSON has no words for"


def parsed_json(body: bytes) -> Any:
    """The body as Python values.

    Python's own parser lets NaN, infinities and lone surrogates through, which fail only where they are stored.

    :raises json.JSONDecodeError: if the body is not JSON.
    """
    try:
        return msgspec.json.decode(body)
    except RecursionError:
        raise json.JSONDecodeError("nested too deeply", "", 0) from None
    except msgspec.DecodeError as error:
        _complain_in_detail(body)
        raise json.JSONDecodeError(_NOT_JSON, "", 0) from error


def _complain_in_detail(body: bytes) -> None:
    """Raise what Python's parser says, which is the clearer of the two, if it says anything."""
    try:
        json.loads(body)
    except UnicodeDecodeError as error:
        raise json.JSONDecodeError(f"not UTF-8 at byte {error.start}", "", 0) from None


class _StrictRequest(Request):
    async def json(self) -> Any:
        raw = (await self.body()).removeprefix(BOM)
        await refuse_crowd(raw)
        sent = parsed_json(raw)
        refuse_nul(raw, sent)
        return sent


class _StrictRoute(APIRoute):
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def strictly(request: Request) -> Response:
            strict = _StrictRequest(request.scope, request.receive)
            try:
                return await handler(strict)
            except ProviderNotConfigured:
                # Another worker may have stored it a moment ago. Nothing was done yet: models come first everywhere.
                await services_of(request).providers.refresh()
            return await handler(strict)

        return strictly


def api_router(tag: str) -> APIRouter:
    """The router of one resource; its paths are written in full, without a slash at the end."""
    return APIRouter(tags=[tag], route_class=_StrictRoute)
