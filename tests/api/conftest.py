"""The API over a real engine and a real SQLite file, called in this process."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tertulia.api.deps import ApiSettings, Services
from tertulia.api.router import build_api
from tertulia.app import close_services
from tertulia.domain.provider_types import BY_PREFIX
from tertulia.engine.stored_providers import StoredProviders
from tertulia.ports.signals import NoSignals
from tertulia.provider_settings import Endpoint, ProviderSettings
from tertulia.providers.accounts import ProviderAccounts
from tertulia.providers.catalogue import build_catalogue
from tertulia.store.secrets import FernetSecrets
from tertulia.store.sqlite.store import open_sqlite
from tests.support.services import services_over
from tests.support.sqlite_files import with_tables
from tests.support.world import World

MODEL = "openai/gpt-4o-mini"
SECRET_KEY = "MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI="

# Nothing listens there: these tests send no message, and the models are listed without asking.
_NOWHERE = "http://127.0.0.1:9/v1"
PROVIDERS = ProviderSettings(
    endpoints=(
        Endpoint(
            name="openai", type=BY_PREFIX["openai"], base_url=_NOWHERE, api_key="sk-test", models=("gpt-4o-mini", "o3")
        ),
        Endpoint(name="ollama", type=BY_PREFIX["ollama"], base_url=_NOWHERE, models=("llama3.2",)),
    )
)


@pytest.fixture
def api_settings() -> ApiSettings:
    return ApiSettings()


@pytest.fixture
def provider_settings() -> ProviderSettings:
    return PROVIDERS


@pytest.fixture
async def services(
    tmp_path: Path, api_settings: ApiSettings, provider_settings: ProviderSettings
) -> AsyncIterator[Services]:
    store = await open_sqlite(with_tables(tmp_path / "tertulia.db"))
    catalogue = build_catalogue(provider_settings, MODEL)
    providers = StoredProviders(
        store, FernetSecrets([SECRET_KEY], None), ProviderAccounts(catalogue, provider_settings), NoSignals()
    )
    opened = services_over(store, catalogue, api=api_settings, providers=providers)
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
