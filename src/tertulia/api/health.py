"""``GET /v1/health``: that the server answers, and which API it speaks; and whether it is to be sent requests."""

import asyncio
from typing import Final

from tertulia import __version__
from tertulia.api.deps import CurrentServices
from tertulia.api.routing import api_router
from tertulia.api.wire.common import ResponseModel
from tertulia.domain.errors import StoreUnavailable

API_LEVEL: Final = "0.16.8"
"""The Letta release whose API this is. Letta Code reads ``version`` as one and warns below 0.16.6."""

_PATIENCE: Final = 2.0
"""Seconds that the database gets to answer; whoever balances a load asks every few seconds."""

router = api_router("health")


class Health(ResponseModel):
    version: str
    status: str
    tertulia_version: str


class Readiness(ResponseModel):
    status: str


@router.get("/v1/health", operation_id="check_health")
async def check_health() -> Health:
    """Answers without the key, and as soon as the server takes requests."""
    return Health(version=API_LEVEL, status="ok", tertulia_version=__version__)


@router.get("/v1/health/ready", operation_id="check_readiness")
async def check_readiness(services: CurrentServices) -> Readiness:
    """503 while requests belong elsewhere.

    The server is about to stop, or its database does not answer, or takes no writes, as on a full disk.
    """
    if services.runs.retired:
        raise StoreUnavailable("The server is shutting down.")
    try:
        async with asyncio.timeout(_PATIENCE):
            await services.store.read(lambda tx: tx.runs.active("none"))
    except TimeoutError:
        raise StoreUnavailable(f"The database did not answer within {_PATIENCE:g} seconds.") from None
    await services.store.check_writing(_PATIENCE)
    return Readiness(status="ready")
