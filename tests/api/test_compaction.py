"""Compaction over HTTP: asked for, taken back, and told in a stream."""

import asyncio
import json
from typing import Any

import httpx
import pytest

from tertulia.domain.errors import ContextTooLong
from tests.support.scripted import Gate, calls, say
from tests.support.world import World

pytestmark = pytest.mark.anyio


async def talked(scripted: httpx.AsyncClient, world: World, times: int = 5, **fields: Any) -> str:
    """An agent whose default conversation has so many questions and answers."""
    made = await scripted.post("/v1/agents/", json={"name": "ada", "model": "scripted/model", **fields})
    assert made.status_code == 200, made.text
    agent_id: str = made.json()["id"]
    for index in range(times):
        await world.send(agent_id, f"question {index}")
    world.model.requests.clear()
    return agent_id


async def sent(scripted: httpx.AsyncClient, conversation_id: str, **fields: Any) -> list[dict[str, Any]]:
    """The frames of the reply to a message."""
    body = {"messages": [{"role": "user", "content": "next"}], **fields}
    reply = await scripted.post(f"/v1/conversations/{conversation_id}/messages", json=body)
    return [json.loads(line[6:]) for line in reply.text.splitlines() if line.startswith("data: {")]


async def listed(scripted: httpx.AsyncClient, conversation_id: str) -> list[dict[str, Any]]:
    reply = await scripted.get(f"/v1/conversations/{conversation_id}/messages", params={"order": "asc"})
    messages: list[dict[str, Any]] = reply.json()
    return messages


async def test_compacting_answers_with_the_summary_and_the_counts(scripted: httpx.AsyncClient, world: World) -> None:
    agent_id = await talked(scripted, world)
    world.model.scripts.append(say("They talked."))
    reply = await scripted.post(f"/v1/conversations/{agent_id}/compact")
    assert reply.status_code == 200
    assert reply.json() == {"summary": "They talked.", "num_messages_before": 11, "num_messages_after": 8}
    shown = (await scripted.get(f"/v1/conversations/{agent_id}")).json()
    assert len(shown["in_context_message_ids"]) == 8


@pytest.mark.parametrize("body", [None, {}, {"compaction_settings": None}, {"compaction_settings": {"mode": None}}])
async def test_settings_need_not_be_sent(scripted: httpx.AsyncClient, world: World, body: Any) -> None:
    agent_id = await talked(scripted, world)
    reply = await scripted.post(f"/v1/agents/{agent_id}/summarize", json=body)
    assert (reply.status_code, reply.json()["num_messages_after"]) == (200, 8)


async def test_the_default_conversation_is_compacted_under_all_its_names(
    scripted: httpx.AsyncClient, world: World
) -> None:
    agent_id = await talked(scripted, world, 10)
    one = await scripted.post("/v1/conversations/default/compact", json={"agent_id": agent_id})
    two = await scripted.post(f"/v1/agents/{agent_id}/summarize", json={})
    assert two.json()["num_messages_before"] == one.json()["num_messages_after"]
    three = await scripted.post("/v1/conversations/default/compact/undo", params={"agent_id": agent_id})
    four = await scripted.post("/v1/conversations/default/compact/undo", json={"agent_id": agent_id})
    assert (three.status_code, four.json()["num_messages_after"]) == (200, 21)
    assert (await scripted.post("/v1/conversations/default/compact")).status_code == 400


async def test_the_request_s_settings_are_obeyed(scripted: httpx.AsyncClient, world: World) -> None:
    agent_id = await talked(scripted, world, compaction_settings={"mode": "all", "prompt": "mine"})
    settings = {
        "model": "scripted/other",
        "model_settings": {"provider_type": "openai", "temperature": 0.5},
        "prompt": "yours",
        "prompt_acknowledgement": True,
        "clip_chars": 4,
    }
    world.model.scripts.append(say("They talked."))
    reply = await scripted.post(f"/v1/conversations/{agent_id}/compact", json={"compaction_settings": settings})
    assert reply.json() == {"summary": "The…", "num_messages_before": 11, "num_messages_after": 2}
    (asked,) = world.model.requests
    assert (asked.model, asked.settings and asked.settings.temperature) == ("other", 0.5)
    assert len(asked.messages) == 3
    assert asked.messages[0].text == "yours"


@pytest.mark.parametrize(
    ("settings", "status"),
    [
        ({"mode": "some"}, 422),
        ({"clip_chars": 0}, 422),
        ({"sliding_window_percentage": 1.5}, 422),
        ({"sliding_window_percentage": -0.1}, 422),
        ({"prompt": 7}, 422),
        ({"model_settings": {"provider_type": "none"}}, 422),
    ],
)
async def test_settings_that_make_no_sense_are_refused(
    scripted: httpx.AsyncClient, world: World, settings: dict[str, Any], status: int
) -> None:
    agent_id = await talked(scripted, world, 3)
    reply = await scripted.post(f"/v1/conversations/{agent_id}/compact", json={"compaction_settings": settings})
    assert reply.status_code == status
    assert world.model.requests == []


async def test_a_model_that_is_not_configured_is_refused(client: httpx.AsyncClient, agent: dict[str, Any]) -> None:
    for _ in range(2):
        body = {"streaming": False, "messages": [{"role": "user", "content": "hi"}]}
        await client.post(f"/v1/agents/{agent['id']}/messages", json=body)
    for model in ("nowhere/model", "nohandle"):
        settings = {"model": model}
        reply = await client.post(f"/v1/agents/{agent['id']}/summarize", json={"compaction_settings": settings})
        assert (reply.status_code, "INVALID_ARGUMENT" in reply.json()["detail"]) == (400, True)


async def test_nothing_to_compact_and_nothing_to_undo_are_400(scripted: httpx.AsyncClient, world: World) -> None:
    agent_id = await talked(scripted, world, 0)
    for path in ("compact", "compact/undo"):
        reply = await scripted.post(f"/v1/conversations/{agent_id}/{path}")
        assert (reply.status_code, "INVALID_ARGUMENT" in reply.json()["detail"]) == (400, True)


async def test_a_short_conversation_is_compacted_when_asked_however_long_its_summary(
    scripted: httpx.AsyncClient, world: World
) -> None:
    agent_id = await talked(scripted, world)
    world.model.scripts.append(say("blah " * 3000))
    reply = await scripted.post(f"/v1/conversations/{agent_id}/compact")
    assert (reply.status_code, reply.json()["summary"].startswith("blah")) == (200, True)


async def test_a_conversation_that_is_not_there_is_404(scripted: httpx.AsyncClient) -> None:
    for path in ("conversations/conv-none/compact", "conversations/conv-none/compact/undo", "agents/none/summarize"):
        assert (await scripted.post(f"/v1/{path}")).status_code == 404


async def test_a_conversation_that_is_answering_is_409(scripted: httpx.AsyncClient, world: World) -> None:
    agent_id = await talked(scripted, world)
    gate = Gate()
    world.model.scripts.append([gate, *say("hm")])
    run = await world.start(agent_id, "hi")
    await gate.reached.wait()
    for path in ("compact", "compact/undo"):
        reply = await scripted.post(f"/v1/conversations/{agent_id}/{path}")
        assert (reply.status_code, reply.json()["run_id"]) == (409, run.id)
    gate.go.set()
    await world.events(run.id)


async def test_a_compaction_can_be_cancelled(scripted: httpx.AsyncClient, world: World) -> None:
    agent_id = await talked(scripted, world)
    gate = Gate()
    world.model.scripts.append([gate, *say("sum")])
    compacting = asyncio.create_task(scripted.post(f"/v1/conversations/{agent_id}/compact"))
    await gate.reached.wait()
    assert (await scripted.post(f"/v1/conversations/{agent_id}/cancel")).status_code == 200
    assert (await compacting).status_code == 409


async def test_the_history_lists_the_summary_in_its_place_and_loses_nothing(
    scripted: httpx.AsyncClient, world: World
) -> None:
    agent_id = await talked(scripted, world)
    before = await listed(scripted, agent_id)
    world.model.scripts.append(say("They talked."))
    await scripted.post(f"/v1/conversations/{agent_id}/compact")
    *older, summary = await listed(scripted, agent_id)
    assert older == before
    assert (summary["message_type"], summary["summary"]) == ("summary_message", "They talked.")
    assert summary["compaction_stats"]["messages_count_before"] == 11
    assert summary["compaction_stats"]["messages_count_after"] == 8
    assert summary["compaction_stats"]["context_window"] == 32_000
    assert summary["compaction_stats"]["trigger"] == "requested"
    await sent(scripted, agent_id)
    assert [message["message_type"] for message in await listed(scripted, agent_id)][-3:] == [
        "summary_message",
        "user_message",
        "assistant_message",
    ]


async def test_a_stream_tells_of_a_compaction_where_it_is_asked_to(scripted: httpx.AsyncClient, world: World) -> None:
    agent_id = await talked(scripted, world)
    world.model.scripts += [[ContextTooLong("no")], say("They talked."), say("fine")]
    frames = await sent(scripted, agent_id, include_compaction_messages=True)
    assert [frame["message_type"] for frame in frames] == [
        "ping",
        "event_message",
        "summary_message",
        "assistant_message",
        "stop_reason",
        "usage_statistics",
    ]
    event, summary = frames[1:3]
    assert event["event_type"] == "compaction"
    assert event["event_data"]["trigger"] == "context_window_exceeded"
    assert event["event_data"]["messages_count"] == 12
    assert summary["summary"] == "They talked."
    assert summary["compaction_stats"]["context_tokens_before"] > summary["compaction_stats"]["context_tokens_after"]
    assert event["otid"] != summary["otid"]


async def test_a_stream_says_nothing_of_a_compaction_otherwise(scripted: httpx.AsyncClient, world: World) -> None:
    agent_id = await talked(scripted, world)
    world.model.scripts += [[ContextTooLong("no")], say("They talked."), say("fine")]
    frames = await sent(scripted, agent_id)
    assert [frame["message_type"] for frame in frames] == [
        "ping",
        "assistant_message",
        "stop_reason",
        "usage_statistics",
    ]


async def test_a_blocking_reply_tells_of_a_compaction_too(scripted: httpx.AsyncClient, world: World) -> None:
    agent_id = await talked(scripted, world)
    world.model.scripts += [[ContextTooLong("no")], say("They talked."), say("fine")]
    body = {
        "messages": [{"role": "user", "content": "next"}],
        "streaming": False,
        "include_compaction_messages": True,
    }
    reply = (await scripted.post(f"/v1/conversations/{agent_id}/messages", json=body)).json()
    assert [message["message_type"] for message in reply["messages"]] == [
        "event_message",
        "summary_message",
        "assistant_message",
    ]


async def test_a_fork_has_the_summaries_behind_its_point_and_undoes_its_own(
    scripted: httpx.AsyncClient, world: World
) -> None:
    agent_id = await talked(scripted, world)
    await scripted.post(f"/v1/conversations/{agent_id}/compact")
    fork = (await scripted.post(f"/v1/conversations/{agent_id}/fork")).json()["id"]
    assert (await scripted.post(f"/v1/conversations/{fork}/compact/undo")).json()["num_messages_after"] == 11
    reply = await scripted.post(f"/v1/conversations/{agent_id}/compact/undo")
    assert (reply.status_code, reply.json()["num_messages_before"]) == (200, 8)


async def test_calls_that_wait_can_still_be_answered(scripted: httpx.AsyncClient, world: World) -> None:
    agent_id = await talked(scripted, world)
    tool = {"name": "Bash", "description": "Run.", "parameters": {"type": "object"}}
    world.model.scripts.append(calls(("b1", "Bash", "{}")))
    await sent(scripted, agent_id, client_tools=[tool])
    assert (await scripted.post(f"/v1/conversations/{agent_id}/compact")).status_code == 200
    refused = await scripted.post(
        f"/v1/conversations/{agent_id}/messages", json={"messages": [{"role": "user", "content": "hi"}]}
    )
    assert (refused.status_code, "waiting for approval" in refused.json()["detail"]) == (409, True)
    ran = {"type": "tool", "tool_call_id": "b1", "tool_return": "done", "status": "success"}
    frames = await sent(scripted, agent_id, messages=[{"type": "approval", "approvals": [ran]}])
    assert frames[-2]["stop_reason"] == "end_turn"
