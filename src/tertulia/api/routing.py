"""Routes whose JSON bodies are parsed strictly: what cannot be written down as JSON again does not get in."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from tertulia.api.contents import BOM, refuse_crowd, refuse_nul
from tertulia.api.deps import services_of
from tertulia.api.parsing import parse_json
from tertulia.domain.errors import ProviderNotConfigured


class _StrictRequest(Request):
    async def json(self) -> Any:
        raw = (await self.body()).removeprefix(BOM)
        await refuse_crowd(raw)
        sent = parse_json(raw)
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
