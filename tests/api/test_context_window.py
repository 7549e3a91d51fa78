"""The context window of a conversation, part by part."""

import httpx
import pytest

from tests.api.test_compaction import talked
from tests.support.scripted import say
from tests.support.world import World

pytestmark = pytest.mark.anyio

PAIRS = {
    "external_memory_summary": "num_tokens_external_memory_summary",
    "system_prompt": "num_tokens_system",
    "core_memory": "num_tokens_core_memory",
    "summary_memory": "num_tokens_summary_memory",
    "functions_definitions": "num_tokens_functions_definitions",
    "messages": "num_tokens_messages",
}


async def test_each_part_of_the_context_window_is_shown_with_its_tokens(
    scripted: httpx.AsyncClient, world: World
) -> None:
    blocks = [{"label": "human", "value": "Her name is Ann."}]
    agent_id = await talked(
        scripted, world, system="You are a librarian.", memory_blocks=blocks, context_window_limit=9_000
    )
    reply = await scripted.get(f"/v1/agents/{agent_id}/context")
    assert reply.status_code == 200
    shown = reply.json()
    assert shown["system_prompt"] == "You are a librarian."
    assert "Her name is Ann." in shown["core_memory"]
    assert agent_id in shown["external_memory_summary"]
    assert shown["summary_memory"] is None
    assert shown["context_window_size_max"] == 9_000
    assert shown["num_messages"] == len(shown["messages"]) == shown["num_recall_memory"] == 10
    assert shown["messages"][0]["content"][0]["text"] == "question 0"
    assert {tool["function"]["name"] for tool in shown["functions_definitions"]} >= {"memory_insert"}
    for part, tokens in PAIRS.items():
        assert bool(shown[part]) == (shown[tokens] > 0), part
    assert shown["context_window_size_current"] == sum(shown[tokens] for tokens in PAIRS.values())


async def test_the_prompt_of_the_context_window_is_the_one_the_next_message_is_sent_with(
    scripted: httpx.AsyncClient, world: World
) -> None:
    agent_id = await talked(scripted, world, times=1, memory_blocks=[{"label": "human", "value": "Ann"}])
    changed = await scripted.patch(f"/v1/agents/{agent_id}/core-memory/blocks/human", json={"value": "Bob"})
    assert changed.status_code == 200
    shown = (await scripted.get(f"/v1/agents/{agent_id}/context")).json()
    await world.send(agent_id, "next")
    for part in ("system_prompt", "core_memory"):
        assert shown[part] in world.model.requests[-1].system


async def test_a_summary_is_a_part_of_its_own(scripted: httpx.AsyncClient, world: World) -> None:
    agent_id = await talked(scripted, world)
    world.model.scripts.append(say("They talked."))
    await scripted.post(f"/v1/conversations/{agent_id}/compact")
    shown = (await scripted.get(f"/v1/agents/{agent_id}/context")).json()
    assert "They talked." in shown["summary_memory"]
    assert shown["num_messages"] == 6
    assert "They talked." not in str(shown["messages"])


async def test_another_conversation_of_the_agent_can_be_named_and_no_other(
    scripted: httpx.AsyncClient, world: World
) -> None:
    agent_id, other_id = await talked(scripted, world, times=1), await talked(scripted, world, times=1)
    path = f"/v1/agents/{agent_id}/context"
    made = (await scripted.post("/v1/conversations/", params={"agent_id": agent_id}, json={})).json()
    shown = (await scripted.get(path, params={"conversation_id": made["id"]})).json()
    assert (shown["num_messages"], shown["messages"], shown["num_recall_memory"]) == (0, [], 2)
    for unknown in ("conv-none", other_id):
        assert (await scripted.get(path, params={"conversation_id": unknown})).status_code == 404
    assert (await scripted.get("/v1/agents/agent-none/context")).status_code == 404
