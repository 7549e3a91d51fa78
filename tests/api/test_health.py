"""Liveness asks nobody; readiness is lost when the server is about to stop or its database does not answer."""

import asyncio
from collections.abc import Callable

import httpx
import pytest

from tertulia.api import health
from tertulia.api.deps import ApiSettings, Services
from tertulia.domain.errors import StoreUnavailable

pytestmark = pytest.mark.anyio


@pytest.fixture
def api_settings() -> ApiSettings:
    return ApiSettings(api_key="sesame")


async def status_of(client: httpx.AsyncClient, path: str) -> int:
    return (await client.get(path)).status_code


async def test_a_server_that_can_answer_is_ready_and_says_so_without_the_key(client: httpx.AsyncClient) -> None:
    reply = await client.get("/v1/health/ready")
    assert (reply.status_code, reply.json()) == (200, {"status": "ready"})


async def test_a_server_that_is_about_to_stop_is_not_ready_but_lives(
    client: httpx.AsyncClient, services: Services
) -> None:
    services.runs.retire()
    reply = await client.get("/v1/health/ready")
    assert (reply.status_code, reply.headers["retry-after"]) == (503, "2")
    assert reply.json() == {"detail": "The server is about to stop."}
    assert await status_of(client, "/v1/health") == 200


async def refusing(_work: Callable[..., object]) -> None:
    raise StoreUnavailable("The database cannot be used.")


async def silent(_work: Callable[..., object]) -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize("read", [refusing, silent])
async def test_a_server_whose_database_does_not_answer_is_not_ready_but_lives(
    client: httpx.AsyncClient,
    services: Services,
    monkeypatch: pytest.MonkeyPatch,
    read: Callable[[Callable[..., object]], object],
) -> None:
    monkeypatch.setattr(health, "_PATIENCE", 0.01)
    monkeypatch.setattr(services.store, "read", read)
    reply = await client.get("/v1/health/ready")
    assert (reply.status_code, reply.headers["retry-after"]) == (503, "2")
    assert "database" in reply.json()["detail"]
    assert await status_of(client, "/v1/health") == 200
