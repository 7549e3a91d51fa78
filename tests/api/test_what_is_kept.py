"""What a client has kept can be shown: JSON of its own that cannot is refused before it is stored, wherever it goes."""

from collections.abc import Callable
from typing import Any, TypeAlias

import httpx
import pytest
from msgspec.structs import replace

from tertulia.api.deps import Services
from tertulia.domain.json_values import MAX_DEPTH, MAX_SIZE
from tertulia.domain.models import ModelSettings
from tests.support.nesting import nested

Json: TypeAlias = dict[str, Any]

FUNCTION = {"type": "constrain_child_tools", "tool_name": "memory_insert", "children": ["memory_replace"]}


def _schema(value: Json) -> Json:
    return {"type": "json_schema", "json_schema": value}


def _openai(value: Json) -> Json:
    return {"provider_type": "openai", "response_format": _schema(value)}


PLACES: dict[str, tuple[str, Callable[[Json], Json]]] = {
    "an agent's metadata": ("/v1/agents", lambda value: {"metadata": value}),
    "an agent's response_format": ("/v1/agents", lambda value: {"response_format": _schema(value)}),
    "an agent's model_settings": ("/v1/agents", lambda value: {"model_settings": _openai(value)}),
    "an agent's compaction_settings": (
        "/v1/agents",
        lambda value: {"compaction_settings": {"model": "openai/gpt-4o-mini", "model_settings": _openai(value)}},
    ),
    "a rule's arguments": (
        "/v1/agents",
        lambda value: {"tool_rules": [{**FUNCTION, "child_arg_nodes": [{"name": "memory_replace", "args": value}]}]},
    ),
    "an agent's new block": (
        "/v1/agents",
        lambda value: {"memory_blocks": [{"label": "a", "value": "", "metadata": value}]},
    ),
    "a block's metadata": ("/v1/blocks", lambda value: {"label": "a", "value": "", "metadata": value}),
    "a conversation's model_settings": (
        "/v1/conversations?agent_id={agent}",
        lambda value: {"model": "openai/gpt-4o-mini", "model_settings": _openai(value)},
    ),
    "a client's tool": (
        "/v1/agents/{agent}/messages/preview-raw-payload",
        lambda value: {
            "messages": [{"role": "user", "content": "hi"}],
            "client_tools": [{"name": "t", "parameters": {"type": "object", "properties": value}}],
        },
    ),
}


async def _agent(client: httpx.AsyncClient) -> str:
    agent_id: str = (await client.post("/v1/agents", json={})).json()["id"]
    return agent_id


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("value", "said"),
    [
        (nested(330), "deep"),
        (nested(MAX_DEPTH + 1), "deep"),
        ({"a": 2**64}, "64 bits"),
        ({"a": [{"b": -(2**63) - 1}]}, "64 bits"),
        ({"a": "x" * MAX_SIZE}, "bytes as JSON"),
    ],
    ids=["depth", "one-too-deep", "large", "small", "long"],
)
async def test_json_that_could_not_be_shown_is_refused_and_nothing_is_stored(
    client: httpx.AsyncClient, place: str, value: Json, said: str
) -> None:
    path, body = PLACES[place]
    agent = await _agent(client)
    reply = await client.post(path.format(agent=agent), json=body(value))
    assert reply.status_code == 422, reply.text
    assert said in reply.json()["detail"]
    assert [found["id"] for found in (await client.get("/v1/agents")).json()] == [agent]


@pytest.mark.parametrize("place", [place for place in PLACES if "client's" not in place])
async def test_json_at_the_limit_is_kept_and_shown(client: httpx.AsyncClient, place: str) -> None:
    path, body = PLACES[place]
    agent = await _agent(client)
    reply = await client.post(path.format(agent=agent), json=body(nested(MAX_DEPTH) | {"n": 2**64 - 1}))
    assert reply.status_code == 200, reply.text
    for listed in ("/v1/agents", "/v1/blocks", f"/v1/conversations?agent_id={agent}"):
        assert (await client.get(listed)).status_code == 200


@pytest.mark.parametrize("number", [b"1e999", b"-1e999", b"NaN", b"Infinity"])
async def test_a_number_without_an_end_is_refused(client: httpx.AsyncClient, number: bytes) -> None:
    agent = await _agent(client)
    for path in ("/v1/agents", f"/v1/conversations?agent_id={agent}"):
        body = b'{"metadata": {"a": %b}, "model_settings": {"provider_type": "openai", "temperature": %b}}'
        reply = await client.post(path, content=body % (number, number), headers={"content-type": "application/json"})
        assert reply.status_code == 422, reply.text


async def test_a_change_is_held_to_the_same(client: httpx.AsyncClient) -> None:
    agent = await _agent(client)
    reply = await client.patch(f"/v1/agents/{agent}", json={"metadata": nested(101)})
    assert reply.status_code == 422
    block = (await client.post("/v1/blocks", json={"label": "a", "value": ""})).json()["id"]
    assert (await client.patch(f"/v1/blocks/{block}", json={"metadata": nested(101)})).status_code == 422


async def test_what_an_older_release_stored_too_deep_does_not_break_a_list(
    client: httpx.AsyncClient, services: Services
) -> None:
    agent_id = await _agent(client)
    block_id = (await client.post("/v1/blocks", json={"label": "a", "value": ""})).json()["id"]
    conversation = (await client.post("/v1/conversations", params={"agent_id": agent_id}, json={})).json()["id"]
    deep = nested(330)
    settings = ModelSettings(provider_type="openai", response_format=_schema(deep))
    rule = {**FUNCTION, "children": ["x"] * 2_000, "child_arg_nodes": [{"name": "x", "args": deep}]}

    def spoil(tx: Any) -> None:
        agent = tx.agents.get(agent_id)
        tx.agents.update(replace(agent, metadata=deep, model_settings=settings, tool_rules=(rule,)))
        tx.blocks.replace(replace(tx.blocks.get(block_id), metadata=deep))
        tx.conversations.update(replace(tx.conversations.get(conversation), model_settings=settings))

    await services.store.write(spoil)
    for path in (
        "/v1/agents",
        f"/v1/agents/{agent_id}",
        "/v1/blocks",
        f"/v1/blocks/{block_id}",
        f"/v1/conversations?agent_id={agent_id}",
        f"/v1/conversations/{conversation}",
    ):
        reply = await client.get(path)
        assert reply.status_code == 200, (path, reply.text[:300])
        assert "cannot be shown" in reply.text


LONG = "x" * 501


@pytest.mark.parametrize(
    ("path", "body", "place"),
    [
        ("/v1/agents", {"name": LONG}, "name"),
        ("/v1/agents", {"name": "a\0b"}, "name"),
        ("/v1/agents", {"tags": ["a"] * 1_001}, "tags"),
        ("/v1/agents", {"tags": [LONG]}, "tags[0]"),
        ("/v1/agents", {"tags": ["a\0"]}, "tags[0]"),
        ("/v1/agents", {"system": "x" * 2_000_001}, "system"),
        ("/v1/agents", {"description": "x" * 100_001}, "description"),
        ("/v1/agents", {"tool_ids": ["a"] * 1_001}, "tool_ids"),
        ("/v1/agents", {"block_ids": ["a"] * 1_001}, "block_ids"),
        ("/v1/agents", {"tool_rules": [{"type": "exit_loop", "tool_name": "a"}] * 251}, "tool_rules"),
        ("/v1/agents", {"tool_rules": [{**FUNCTION, "children": ["a"] * 251}]}, "tool_rules"),
        ("/v1/agents", {"memory_blocks": [{"label": "a", "value": ""}] * 1_001}, "memory_blocks"),
        ("/v1/agents", {"initial_message_sequence": [{"role": "user", "content": ""}] * 10_001}, "initial_message"),
        ("/v1/blocks", {"label": LONG, "value": ""}, "label"),
        ("/v1/blocks", {"label": "a", "value": "x" * 2_000_001, "limit": 3_000_000}, "value"),
        ("/v1/blocks", {"label": "a", "value": "", "tags": ["a"] * 1_001}, "tags"),
        ("/v1/conversations?agent_id={agent}", {"summary": "x" * 100_001}, "summary"),
        ("/v1/conversations?agent_id={agent}", {"isolated_block_labels": ["a"] * 1_001}, "isolated_block_labels"),
        ("/v1/agents/{agent}/messages", {"messages": [{"role": "user", "content": "x"}] * 10_001}, "messages"),
        ("/v1/agents/{agent}/messages", {"messages": [{"role": "user", "content": "x", "otid": LONG}]}, "otid"),
        (
            "/v1/agents/{agent}/messages",
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}] * 1_001}]},
            "content",
        ),
        (
            "/v1/agents/{agent}/messages",
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}] * 900}] * 12},
            "body",
        ),
        (
            "/v1/agents/{agent}/messages",
            {"messages": [{"type": "approval", "approvals": [{"approve": True, "tool_call_id": "a"}] * 1_001}]},
            "approvals",
        ),
        (
            "/v1/agents/{agent}/messages",
            {"input": "x", "client_tools": [{"name": "t"}] * 1_001},
            "client_tools",
        ),
        (
            "/v1/agents/{agent}/messages",
            {"input": "x", "client_skills": [{"name": "t", "description": "", "location": ""}] * 1_001},
            "client_skills",
        ),
        ("/v1/agents/{agent}/messages/cancel", {"run_ids": ["a"] * 1_001}, "run_ids"),
    ],
)
async def test_more_than_anybody_needs_is_refused_in_words_that_say_what_to_change(
    client: httpx.AsyncClient, path: str, body: Json, place: str
) -> None:
    reply = await client.post(path.format(agent=await _agent(client)), json=body)
    assert reply.status_code == 422, reply.text
    said: str = reply.json()["detail"]
    assert place in said
    assert "at most" in said or "U+0000" in said
    assert len(said) < 300


async def test_the_document_tells_the_limits(client: httpx.AsyncClient) -> None:
    schemas: Json = (await client.get("/openapi.json")).json()["components"]["schemas"]
    agent = schemas["CreateAgentBody"]["properties"]
    assert agent["tags"]["anyOf"][0]["maxItems"] == 1_000
    assert agent["system"]["anyOf"][0]["maxLength"] == 2_000_000
    assert schemas["CreateBlockBody"]["properties"]["value"]["maxLength"] == 2_000_000
    sent = next(schema for name, schema in schemas.items() if name.startswith("SendBody"))["properties"]
    assert sent["messages"]["anyOf"][0]["maxItems"] == 10_000
