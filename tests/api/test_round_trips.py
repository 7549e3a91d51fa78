"""Clients that write back what they read: nothing fails, nothing changes, and nothing becomes set that was not."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tertulia.api.deps import Services
from tertulia.api.router import build_api
from tertulia.app import close_services
from tertulia.engine.stored_providers import StoredProviders
from tertulia.ports.signals import NoSignals
from tertulia.provider_settings import Endpoint, ProviderSettings
from tertulia.providers.accounts import ProviderAccounts
from tertulia.providers.catalogue import build_catalogue
from tertulia.store.secrets import FernetSecrets
from tertulia.store.sqlite.store import open_sqlite
from tests.api.conftest import SECRET_KEY
from tests.conformance.provider_settings import VARIANTS
from tests.support.services import services_over
from tests.support.sqlite_files import with_tables

NOWHERE = "http://127.0.0.1:9/v1"
TOKENS = '{"access_token": "a", "refresh_token": "r", "account_id": "account"}'
ROWS = tuple({variant.row.name: variant.row for variant in VARIANTS}.values())
EVERY = ProviderSettings(
    endpoints=tuple(
        Endpoint(
            name=row.name or "box",
            type=row,
            base_url=NOWHERE,
            api_key=TOKENS if row.dialect == "chatgpt" else "sk-test",
            models=tuple(variant.model for variant in VARIANTS if variant.row is row),
        )
        for row in ROWS
    )
)
HANDLES = [f"{variant.row.name or 'box'}/{variant.model}" for variant in VARIANTS]
NEVER_SENT = {"updated_at"}


@pytest.fixture
async def every_provider(tmp_path: Any) -> AsyncIterator[Services]:
    store = await open_sqlite(with_tables(tmp_path / "tertulia.db"))
    catalogue = build_catalogue(EVERY, HANDLES[0])
    providers = StoredProviders(
        store, FernetSecrets([SECRET_KEY], None), ProviderAccounts(catalogue, EVERY), NoSignals()
    )
    opened = services_over(store, catalogue, providers=providers)
    yield opened
    await close_services(opened)


@pytest.fixture
async def all_types(every_provider: Services) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(build_api(every_provider))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as opened:
        yield opened


def shown(agent: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in agent.items() if name not in NEVER_SENT}


async def changed(client: httpx.AsyncClient, path: str, body: dict[str, Any]) -> dict[str, Any]:
    reply = await client.patch(path, json=body)
    assert reply.status_code == 200, reply.text
    return reply.json()


@pytest.mark.parametrize("handle", HANDLES)
async def test_an_agent_that_is_written_back_as_it_was_read_stays_as_it_is(
    all_types: httpx.AsyncClient, every_provider: Services, handle: str
) -> None:
    made = await all_types.post("/v1/agents/", json={"model": handle, "memory_blocks": [{"label": "a", "value": "b"}]})
    assert made.status_code == 200, made.text
    agent = made.json()
    stored = (await every_provider.agents.get(agent["id"])).agent
    path = f"/v1/agents/{agent['id']}"
    for body in (agent, {**agent, "llm_config": {**agent["llm_config"], "temperature": None}}):
        assert shown(await changed(all_types, path, body)) == shown(agent)
    for name in ("llm_config", "model_settings", "embedding_config", "message_ids", "response_format"):
        assert shown(await changed(all_types, path, {name: agent[name]})) == shown(agent)
    after = (await every_provider.agents.get(agent["id"])).agent
    assert (after.model_settings, after.context_window_limit) == (stored.model_settings, stored.context_window_limit)


@pytest.mark.parametrize("handle", HANDLES)
async def test_an_agent_shows_the_limits_and_settings_that_its_model_has_by_itself(
    all_types: httpx.AsyncClient, every_provider: Services, handle: str
) -> None:
    agent = (await all_types.post("/v1/agents/", json={"model": handle})).json()
    card = every_provider.catalogue.card(handle)
    settings = agent["model_settings"]
    assert settings["provider_type"] == every_provider.catalogue.settings_type(handle)
    assert agent["llm_config"]["max_tokens"] == settings["max_output_tokens"]
    assert settings["max_output_tokens"] in {card.max_output_tokens, None}
    assert (await every_provider.agents.get(agent["id"])).agent.model_settings is None


async def test_a_setting_that_is_changed_among_those_read_is_the_only_one_that_is_set(
    all_types: httpx.AsyncClient, every_provider: Services
) -> None:
    agent = (await all_types.post("/v1/agents/", json={"model": "openai/gpt-4o"})).json()
    assert (agent["model_settings"]["max_output_tokens"], agent["llm_config"]["max_tokens"]) == (16384, 16384)
    path = f"/v1/agents/{agent['id']}"
    warmer = {**agent, "model_settings": {**agent["model_settings"], "temperature": 0.5}}
    agent = await changed(all_types, path, warmer)
    stored = (await every_provider.agents.get(agent["id"])).agent.model_settings
    assert stored is not None
    assert (stored.temperature, stored.max_output_tokens, stored.parallel_tool_calls) == (0.5, None, None)
    narrower = {**agent, "llm_config": {**agent["llm_config"], "context_window": 9000, "max_tokens": 100}}
    agent = await changed(all_types, path, narrower)
    stored = (await every_provider.agents.get(agent["id"])).agent
    assert stored.context_window_limit == 9000
    assert stored.model_settings is not None
    assert (stored.model_settings.max_output_tokens, stored.model_settings.temperature) == (100, 0.5)
    again = await changed(all_types, path, agent)
    assert again["llm_config"]["max_tokens"] == 100


async def test_a_model_is_changed_in_either_form_beside_what_was_read_of_the_other(
    all_types: httpx.AsyncClient,
) -> None:
    agent = (await all_types.post("/v1/agents/", json={"model": "openai/gpt-4o"})).json()
    path = f"/v1/agents/{agent['id']}"
    renamed = await changed(all_types, path, {**agent, "model": "openai/gpt-5.2"})
    assert (renamed["model"], renamed["llm_config"]["model"]) == ("openai/gpt-5.2", "gpt-5.2")
    assert renamed["model_settings"]["max_output_tokens"] == 128_000
    back = await changed(all_types, path, {**renamed, "llm_config": agent["llm_config"]})
    assert back["model"] == "openai/gpt-4o"


async def test_the_embedding_model_is_described_and_may_be_written_back_or_changed(
    all_types: httpx.AsyncClient,
) -> None:
    named = {"model": "openai/gpt-4o", "embedding": "openai/text-embedding-3-small"}
    agent = (await all_types.post("/v1/agents/", json=named)).json()
    config = agent["embedding_config"]
    assert (config["handle"], config["embedding_dim"]) == ("openai/text-embedding-3-small", 1536)
    path = f"/v1/agents/{agent['id']}"
    clone = (await all_types.post("/v1/agents/", json={"model": "openai/gpt-4o", "embedding_config": config})).json()
    assert clone["embedding"] == agent["embedding"]
    other = {**config, "embedding_model": "text-embedding-3-large", "embedding_dim": 3072}
    del other["handle"]
    assert (await changed(all_types, path, {"embedding_config": other}))["embedding"] == "openai/text-embedding-3-large"
    lie = {**config, "embedding_dim": 7}
    assert (await all_types.patch(path, json={"embedding_config": lie})).status_code == 400
    assert (await all_types.patch(path, json={"embedding_config": {**config, "handle": "x/y"}})).status_code == 501


async def test_blocks_and_conversations_are_written_back_as_they_were_read(all_types: httpx.AsyncClient) -> None:
    block = (await all_types.post("/v1/blocks/", json={"label": "a", "value": "b", "tags": ["t"]})).json()
    assert shown(await changed(all_types, f"/v1/blocks/{block['id']}", block)) == shown(block)
    agent = (await all_types.post("/v1/agents/", json={"block_ids": [block["id"]]})).json()
    path = f"/v1/agents/{agent['id']}/core-memory/blocks/a"
    assert shown(await changed(all_types, path, block)) == shown(block)
    made = await all_types.post("/v1/conversations/", params={"agent_id": agent["id"]}, json={"summary": "s"})
    conversation = (await all_types.get(f"/v1/conversations/{made.json()['id']}")).json()
    again = await changed(all_types, f"/v1/conversations/{conversation['id']}", conversation)
    assert shown(again) == shown(conversation)


async def test_a_provider_is_written_back_as_it_was_read(all_types: httpx.AsyncClient) -> None:
    body = {"name": "mine", "provider_type": "openai", "api_key": "sk-mine", "base_url": NOWHERE}
    made = await all_types.post("/v1/providers/", json=body)
    assert made.status_code == 200, made.text
    provider = made.json()
    again = await changed(all_types, f"/v1/providers/{provider['id']}", provider)
    assert shown(again) == shown(provider)
