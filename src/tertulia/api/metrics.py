"""``GET /metrics``: the server's figures, for Prometheus to read."""

from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tertulia.api.deps import services_of


async def _metrics(request: Request) -> Response:
    """Wants the key where the server has one, as everything that tells of what agents do."""
    page = services_of(request).metrics
    return Response(await page.render(), headers={"content-type": page.content_type})


ROUTE: Final = Route("/metrics", _metrics, include_in_schema=False)
