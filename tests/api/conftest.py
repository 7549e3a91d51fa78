"""The API over a real engine and a real SQLite file, called in this process."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tertulia.api.deps import ApiSettings, Services
from tertulia.api.router import build_api
from tertulia.app import close_services, services_over
from tertulia.providers.catalogue import build_catalogue
from tertulia.settings import Endpoint, ProviderSettings
from tertulia.store.sqlite import open_sqlite
from tests.support.world import World

MODEL = "openai/gpt-4o-mini"

# Nothing listens there: these tests send no message, and the models are listed without asking.
_NOWHERE = "http://127.0.0.1:9/v1"
PROVIDERS = ProviderSettings(
    endpoints=(
        Endpoint(name="openai", kind="openai", base_url=_NOWHERE, api_key="sk-test", models=("gpt-4o-mini", "o3")),
        Endpoint(name="ollama", kind="ollama", base_url=_NOWHERE, models=("llama3.2",)),
    )
)


@pytest.fixture
def api_settings() -> ApiSettings:
    return ApiSettings()


@pytest.fixture(scope="session")
async def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database file with its tables made, to copy: making them takes longer than most of these tests."""
    path = tmp_path_factory.mktemp("database") / "empty.db"
    await (await open_sqlite(path)).close()
    return path


@pytest.fixture
async def services(tmp_path: Path, empty_database: Path, api_settings: ApiSettings) -> AsyncIterator[Services]:
    path = tmp_path / "tertulia.db"
    shutil.copy(empty_database, path)
    store = await open_sqlite(path)
    opened = services_over(store, build_catalogue(PROVIDERS, MODEL), api_settings)
    yield opened
    await close_services(opened)


@pytest.fixture
async def client(services: Services) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(build_api(services))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as opened:
        yield opened


@pytest.fixture
async def agent(client: httpx.AsyncClient) -> dict[str, Any]:
    reply = await client.post("/v1/agents/", json={"name": "ada"})
    assert reply.status_code == 200, reply.text
    made: dict[str, Any] = reply.json()
    return made


@pytest.fixture
async def scripted(world: World) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the API over the scripted model of ``world``."""
    transport = httpx.ASGITransport(build_api(world.services))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as opened:
        yield opened
