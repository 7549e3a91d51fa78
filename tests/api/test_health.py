"""Liveness asks nobody; readiness is lost when the server is about to stop or its database does not answer."""

import asyncio
from collections.abc import Callable
from typing import cast

import httpx
import pytest

from tertulia.api import health
from tertulia.api.deps import ApiSettings, Services
from tertulia.domain.errors import StoreUnavailable
from tertulia.store.sqlite import store
from tertulia.store.sqlite.store import SqliteStore
from tests.api.conftest import MODEL

KEY = {"authorization": "Bearer sesame"}

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
    assert reply.json() == {"detail": "The server is shutting down."}
    assert await status_of(client, "/v1/health") == 200


@pytest.fixture
def full_disk(services: Services) -> Callable[[int], None]:
    """Says how many pages the database may still grow by."""
    driver = cast("SqliteStore", services.store)._writer._driver

    def leave(pages: int) -> None:
        (now,) = driver.execute("PRAGMA page_count").fetchone()
        driver.execute(f"PRAGMA max_page_count = {now + pages}").fetchone()

    return leave


async def test_a_server_whose_disk_is_full_says_so_until_there_is_room_again(
    client: httpx.AsyncClient, full_disk: Callable[[int], None]
) -> None:
    full_disk(0)
    made = await client.post("/v1/agents/", json={"system": "x" * 100_000, "model": MODEL}, headers=KEY)
    for reply in (made, await client.get("/v1/health/ready"), await client.get("/v1/health/ready")):
        assert (reply.status_code, reply.headers["retry-after"]) == (503, "2")
        assert "disk is full" in reply.json()["detail"]
    assert await status_of(client, "/v1/health") == 200
    full_disk(1000)
    assert await status_of(client, "/v1/health/ready") == 200
    made = await client.post("/v1/agents/", json={"system": "x" * 100_000, "model": MODEL}, headers=KEY)
    assert made.is_success
    assert [agent["id"] for agent in (await client.get("/v1/agents/", headers=KEY)).json()] == [made.json()["id"]]


async def test_a_disk_with_hardly_any_room_is_tried_before_anybody_meets_it(
    client: httpx.AsyncClient, full_disk: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    full_disk(0)
    assert await status_of(client, "/v1/health/ready") == 200
    monkeypatch.setattr(store, "_SCARCE_BYTES", 1 << 60)
    assert await status_of(client, "/v1/health/ready") == 503


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
