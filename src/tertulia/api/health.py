"""``GET /v1/health``: that the server answers, and which API it speaks."""

from typing import Final

from tertulia import __version__
from tertulia.api.routing import api_router
from tertulia.api.wire.common import ResponseModel

API_LEVEL: Final = "0.16.8"
"""The Letta release whose API this is. Letta Code reads ``version`` as one and warns below 0.16.6."""

router = api_router("health")


class Health(ResponseModel):
    version: str
    status: str
    tertulia_version: str


@router.get("/v1/health", operation_id="check_health")
async def check_health() -> Health:
    """Answers without the key, and as soon as the server takes requests."""
    return Health(version=API_LEVEL, status="ok", tertulia_version=__version__)
