"""Conversations over HTTP."""

from typing import Any

import httpx
import pytest

from tests.conformance.schema import find_problems, reference
from tests.support.scripted import Gate
from tests.support.world import World

FIELDS: dict[str, Any] = {
    "summary": "About tea",
    "description": "A long talk",
    "model": "scripted/other",
    "model_settings": {"provider_type": "openai", "temperature": 0.5},
    "context_window_limit": 8000,
}


@pytest.fixture
async def agent_id(world: World) -> str:
    return (await world.agent()).agent.id


async def create(client: httpx.AsyncClient, agent_id: str, **fields: Any) -> dict[str, Any]:
    reply = await client.post("/v1/conversations/", params={"agent_id": agent_id}, json=fields)
    assert reply.status_code == 200, reply.text
    return reply.json()


def has(conversation: dict[str, Any], fields: dict[str, Any]) -> bool:
    settings = conversation["model_settings"]
    shown = conversation | {"model_settings": settings and {k: v for k, v in settings.items() if v is not None}}
    return {name: shown[name] for name in fields} == fields


async def test_a_conversation_has_what_it_was_created_with_and_every_field(
    scripted: httpx.AsyncClient, agent_id: str
) -> None:
    created = await create(scripted, agent_id, **FIELDS)
    assert not find_problems(created, reference("Conversation"))
    assert has(created, FIELDS)
    assert len(created["in_context_message_ids"]) == 1
    assert (await scripted.get(f"/v1/conversations/{created['id']}")).json() == created


async def test_a_conversation_can_be_created_without_a_body(scripted: httpx.AsyncClient, agent_id: str) -> None:
    reply = await scripted.post("/v1/conversations", params={"agent_id": agent_id})
    assert reply.json()["agent_id"] == agent_id


async def test_what_cannot_be_created_is_refused(scripted: httpx.AsyncClient, agent_id: str) -> None:
    async def status(agent: str, **fields: Any) -> int:
        return (await scripted.post("/v1/conversations/", params={"agent_id": agent}, json=fields)).status_code

    assert await status("agent-unknown") == 404
    assert await status(agent_id, isolated_block_labels=["nowhere"]) == 400
    assert await status(agent_id, isolated_block_labels=[]) == 200
    assert await status(agent_id, model_settings={"provider_type": "unheard of"}) == 422
    assert await status(agent_id, context_window_limit=-1) == 422
    assert (await scripted.post("/v1/conversations/")).status_code == 422


async def test_every_field_is_changed_alone_and_cleared_by_null(scripted: httpx.AsyncClient, agent_id: str) -> None:
    url = f"/v1/conversations/{(await create(scripted, agent_id))['id']}"
    changes = FIELDS | {"archived": True, "last_message_at": "2026-01-02T03:04:05.000006Z"}
    known: dict[str, Any] = {}
    for name, value in changes.items():
        known[name] = value
        assert has((await scripted.patch(url, json={name: value})).json(), known)
    for name in changes:
        known[name] = False if name == "archived" else None
        assert has((await scripted.patch(url, json={name: None})).json(), known)


async def test_archiving_is_dated_and_filtered(scripted: httpx.AsyncClient, agent_id: str) -> None:
    kept, archived = (await create(scripted, agent_id))["id"], (await create(scripted, agent_id))["id"]
    changed = (await scripted.patch(f"/v1/conversations/{archived}", json={"archived": True})).json()
    assert changed["archived_at"]

    async def listed(**query: Any) -> list[str]:
        reply = await scripted.get("/v1/conversations/", params={"agent_id": agent_id} | query)
        return [conversation["id"] for conversation in reply.json()]

    assert await listed() == [kept]
    assert await listed(archive_status="archived") == [archived]
    assert await listed(archive_status="all", order="asc") == [kept, archived]
    assert await listed(archive_status="all", order="asc", limit=1, after=kept) == [archived]


async def test_an_instant_without_a_zone_is_utc_and_one_out_of_range_is_422(
    scripted: httpx.AsyncClient, agent_id: str
) -> None:
    url = f"/v1/conversations/{(await create(scripted, agent_id))['id']}"
    changed = await scripted.patch(url, json={"last_message_at": "2026-01-02T03:04:05"})
    assert changed.json()["last_message_at"] == "2026-01-02T03:04:05.000000Z"
    assert (await scripted.patch(url, json={"last_message_at": "0001-01-01T00:00:00+10:00"})).status_code == 422


async def test_a_retrieved_conversation_names_all_its_messages_in_context(
    scripted: httpx.AsyncClient, world: World, agent_id: str
) -> None:
    conversation = await world.conversation(agent_id)
    await world.send(conversation, "hi")
    shown = (await scripted.get(f"/v1/conversations/{conversation}")).json()
    assert shown["in_context_message_ids"][1:] == [message.id for message in await world.history(conversation)]
    assert shown["last_message_at"]


async def test_the_default_conversation_is_shown_as_default_under_all_its_names(
    scripted: httpx.AsyncClient, agent_id: str
) -> None:
    named = (await scripted.get(f"/v1/conversations/default?agent_id={agent_id}")).json()
    assert (named["id"], named["agent_id"]) == ("default", agent_id)
    assert (await scripted.get(f"/v1/conversations/{agent_id}")).json() == named
    assert (await scripted.get("/v1/conversations/", params={"agent_id": agent_id})).json() == []


async def test_a_deleted_conversation_is_gone_everywhere(
    scripted: httpx.AsyncClient, world: World, agent_id: str
) -> None:
    conversation, gate = await world.conversation(agent_id), Gate()
    world.model.scripts.append([gate])
    await world.start(conversation, "hi")
    await gate.reached.wait()
    url = f"/v1/conversations/{conversation}"
    deleted = await scripted.delete(url)
    assert (deleted.status_code, deleted.json()) == (200, None)
    assert world.model.open == 0
    for method, path, body in (
        ("GET", url, None),
        ("PATCH", url, {}),
        ("DELETE", url, None),
        ("GET", f"{url}/messages", None),
        ("POST", f"{url}/messages", {"input": "hi"}),
        ("POST", f"{url}/stream", None),
        ("POST", f"{url}/cancel", None),
        ("POST", f"{url}/recompile", None),
    ):
        assert (await scripted.request(method, path, json=body)).status_code == 404, (method, path)


async def test_the_default_conversation_is_reset_not_deleted(
    scripted: httpx.AsyncClient, world: World, agent_id: str
) -> None:
    await world.send(agent_id, "hi")
    assert (await scripted.delete(f"/v1/conversations/{agent_id}")).status_code == 400
    refused = await scripted.patch(f"/v1/agents/{agent_id}/reset-messages", json={"add_default_initial_messages": True})
    assert refused.status_code == 501
    reply = await scripted.patch(f"/v1/agents/{agent_id}/reset-messages", json={})
    assert not find_problems(reply.json(), reference("AgentState"))
    assert await world.history(agent_id) == []


async def test_recompiling_gives_the_system_prompt(scripted: httpx.AsyncClient, agent_id: str) -> None:
    prompt = (await scripted.post("/v1/conversations/default/recompile", json={"agent_id": agent_id})).json()
    assert f"- AGENT_ID: {agent_id}" in prompt
    dry = await scripted.post(f"/v1/conversations/{agent_id}/recompile?dry_run=true")
    assert "- CONVERSATION_ID: default" in dry.json()
    short = await scripted.post(f"/v1/conversations/{agent_id}/recompile", json={"compaction_settings": {}})
    assert short.status_code == 400  # there is nothing to compact


async def test_max_tokens_is_an_older_word_for_the_settings(scripted: httpx.AsyncClient, agent_id: str) -> None:
    url = f"/v1/conversations/{(await create(scripted, agent_id))['id']}"
    openai = {"provider_type": "openai", "max_output_tokens": 500, "parallel_tool_calls": True}

    async def patched(**fields: Any) -> dict[str, Any]:
        reply = await scripted.patch(url, json=fields)
        assert reply.status_code == 200, reply.text
        return reply.json()["model_settings"]

    assert (await patched(max_tokens=500, model_settings=openai, context_window_limit=9000))["max_output_tokens"] == 500
    settings = await patched(max_tokens=700)
    assert (settings["max_output_tokens"], settings["parallel_tool_calls"]) == (700, True)
    contradicting = await scripted.patch(url, json={"max_tokens": 1, "model_settings": openai})
    assert contradicting.status_code == 400


async def test_a_fork_is_a_conversation_of_its_own(scripted: httpx.AsyncClient, world: World, agent_id: str) -> None:
    source = await create(scripted, agent_id, summary="Tea")
    await world.send(source["id"], "one")
    await world.send(source["id"], "two")
    listed = (await scripted.get(f"/v1/conversations/{source['id']}/messages?order=asc")).json()
    fork = (await scripted.post(f"/v1/conversations/{source['id']}/fork")).json()
    assert (fork["agent_id"], fork["summary"], fork["in_context_message_ids"]) == (agent_id, "Tea", None)
    kept = (await scripted.get(f"/v1/conversations/{fork['id']}")).json()
    assert kept["in_context_message_ids"][1:] == [message["id"] for message in listed[1:]]
    at = await scripted.post(
        f"/v1/conversations/{source['id']}/fork", params={"message_id": listed[1]["id"], "hidden": True}
    )
    short = (await scripted.get(f"/v1/conversations/{at.json()['id']}")).json()
    assert (len(short["in_context_message_ids"]), short["hidden"]) == (2, True)
    shown = {found["id"] for found in (await scripted.get("/v1/conversations/")).json()}
    assert fork["id"] in shown
    assert at.json()["id"] not in shown
    default = await scripted.post("/v1/conversations/default/fork", params={"agent_id": agent_id})
    assert default.json()["id"].startswith("conv-")
    unknown = await scripted.post(f"/v1/conversations/{source['id']}/fork", params={"message_id": "message-x"})
    assert unknown.status_code == 404


async def test_isolated_blocks_are_named_and_belong_to_the_conversation(
    scripted: httpx.AsyncClient, agent_id: str
) -> None:
    made = await create(scripted, agent_id, isolated_block_labels=["human"])
    (block_id,) = made["isolated_block_ids"]
    await scripted.patch(f"/v1/blocks/{block_id}", json={"value": "Bob"})
    assert "Bob" in (await scripted.post(f"/v1/conversations/{made['id']}/recompile")).json()
    assert (await scripted.get(f"/v1/agents/{agent_id}/core-memory/blocks/human")).json()["value"] == "Ann"
    await scripted.delete(f"/v1/conversations/{made['id']}")
    assert (await scripted.get(f"/v1/blocks/{block_id}")).status_code == 404


async def test_a_model_that_cannot_take_the_agents_settings_is_refused_when_it_is_set(
    client: httpx.AsyncClient,
) -> None:
    strict = {"name": "a", "model": "openai/o3", "model_settings": {"provider_type": "openai", "strict": True}}
    of_agent = {"agent_id": (await client.post("/v1/agents/", json=strict)).json()["id"]}
    refused = await client.post("/v1/conversations/", params=of_agent, json={"model": "ollama/llama3.2"})
    assert refused.status_code == 400
    assert "model_settings.strict true cannot be expressed to 'ollama'" in refused.json()["detail"]
    path = f"/v1/conversations/{(await create(client, of_agent['agent_id']))['id']}"
    assert (await client.patch(path, json={"model": "ollama/llama3.2"})).status_code == 400
    own = {"model": "ollama/llama3.2", "model_settings": {"provider_type": "openai"}}
    assert (await client.patch(path, json=own)).status_code == 200
