"""Listing messages: cursors, order, filters, and what a list is a list of."""

from typing import Any

import httpx
import pytest

from tertulia.domain.messages import TextPart
from tertulia.engine.requests import NewMessage, SendRequest
from tertulia.ports.provider import Finished, ReasoningPiece, TextPiece
from tests.support.scripted import USAGE, calls, say
from tests.support.world import World


@pytest.fixture
async def conversation(world: World) -> str:
    return await world.conversation((await world.agent()).agent.id)


@pytest.fixture
def path(conversation: str) -> str:
    return f"/v1/conversations/{conversation}/messages"


@pytest.fixture
async def five(world: World, conversation: str) -> list[str]:
    """The ids of the messages of two exchanges and the system prompt before them, oldest first."""
    for number in ("one", "two"):
        world.model.scripts.append([ReasoningPiece("hm"), TextPiece(number), Finished(reason="stop", usage=USAGE)])
        await world.send(conversation, number)
    system = await world.store.read(lambda tx: tx.messages.system(conversation))
    return [system.id, *(message.id for message in await world.history(conversation))]


async def listed(client: httpx.AsyncClient, path: str, **query: Any) -> list[dict[str, Any]]:
    reply = await client.get(path, params=query)
    assert reply.status_code == 200, reply.text
    return reply.json()


async def ids(client: httpx.AsyncClient, path: str, **query: Any) -> list[str]:
    return list(dict.fromkeys(message["id"] for message in await listed(client, path, **query)))


async def test_the_newest_come_first_unless_asked_otherwise(
    scripted: httpx.AsyncClient, path: str, five: list[str]
) -> None:
    assert await ids(scripted, path) == five[::-1]
    assert await ids(scripted, path, order="asc") == five


async def test_a_list_is_the_same_read_backwards(scripted: httpx.AsyncClient, path: str, five: list[str]) -> None:
    assert await listed(scripted, path, order="asc") == (await listed(scripted, path))[::-1]


@pytest.mark.parametrize("order", ["asc", "desc"])
async def test_before_is_older_and_after_is_newer_whatever_the_order(
    scripted: httpx.AsyncClient, path: str, five: list[str], order: str
) -> None:
    turn = slice(None, None, 1 if order == "asc" else -1)
    assert await ids(scripted, path, order=order, before=five[2]) == five[:2][turn]
    assert await ids(scripted, path, order=order, after=five[2]) == five[3:][turn]
    assert await ids(scripted, path, order=order, after=five[0], before=five[4]) == five[1:4][turn]


async def test_an_empty_cursor_is_no_cursor(scripted: httpx.AsyncClient, path: str, five: list[str]) -> None:
    assert await ids(scripted, path, before="", after="") == five[::-1]


async def test_a_page_counts_stored_messages_and_shows_all_of_each(
    scripted: httpx.AsyncClient, path: str, five: list[str]
) -> None:
    page = await listed(scripted, path, limit=1)
    assert [message["message_type"] for message in page] == ["assistant_message", "reasoning_message"]
    assert await ids(scripted, path, limit=2, before=page[-1]["id"]) == five[3:1:-1]
    assert await listed(scripted, path, limit=0) == []


@pytest.mark.parametrize("order", ["asc", "desc"])
async def test_a_page_of_one_type_is_full_as_long_as_there_are_any(
    scripted: httpx.AsyncClient, path: str, five: list[str], order: str
) -> None:
    wanted = {"include_return_message_types": "assistant_message", "order": order, "limit": 1}
    first = await listed(scripted, path, **wanted)
    cursor = {"after" if order == "asc" else "before": first[0]["id"]}
    second = await listed(scripted, path, **wanted, **cursor)
    assert sorted(message["content"] for message in first + second) == ["one", "two"]


async def test_a_page_is_filled_past_any_number_of_messages_that_are_not_shown(
    scripted: httpx.AsyncClient, world: World, conversation: str, path: str
) -> None:
    world.model.scripts += [say("found"), *[calls((f"call_{n}", "nothing", "{}")) for n in range(120)]]
    await world.send(conversation, "first")
    await world.send(conversation, "then", max_steps=120)
    shown = await listed(scripted, path, include_return_message_types=["assistant_message"], limit=1)
    assert [message["content"] for message in shown] == ["found"]


async def test_types_that_nothing_is_of_give_an_empty_list(
    scripted: httpx.AsyncClient, path: str, five: list[str]
) -> None:
    for type_ in ("approval_response_message", "event_message", "summary_message"):
        assert await listed(scripted, path, include_return_message_types=type_) == []


async def test_messages_are_filtered_by_group(
    scripted: httpx.AsyncClient, world: World, conversation: str, path: str
) -> None:
    message = NewMessage(role="user", content=(TextPart("hi"),), group_id="group-1")
    run = await world.services.runs.start(SendRequest(conversation_id=conversation, messages=(message,)))
    await world.events(run.id)
    assert [m["content"] for m in await listed(scripted, path, group_id="group-1")] == ["hi"]
    assert await listed(scripted, path, group_id="group-2") == []


async def test_what_the_message_tool_says_is_listed_as_speech_or_as_a_call(
    scripted: httpx.AsyncClient, world: World
) -> None:
    agent_id = (await world.agent()).agent.id
    world.model.scripts += [calls(("call_1", "send_message", '{"message": "Hello!"}'))]
    await world.send(agent_id, "hi", max_steps=1)
    path = f"/v1/agents/{agent_id}/messages"
    types = [message["message_type"] for message in await listed(scripted, path, use_assistant_message=False)]
    assert "tool_call_message" in types
    assert "Hello!" in [message.get("content") for message in await listed(scripted, path)]


async def test_messages_of_all_conversations_are_listed_together_or_one_by_one(
    scripted: httpx.AsyncClient, world: World, conversation: str
) -> None:
    other = await world.conversation((await world.agent()).agent.id)
    await world.send(conversation, "here")
    await world.send(other, "there")
    inputs = {"include_return_message_types": "user_message"}
    assert [m["content"] for m in await listed(scripted, "/v1/messages/", **inputs)] == ["there", "here"]
    only = await listed(scripted, "/v1/messages", **inputs, conversation_id=other)
    assert [m["content"] for m in only] == ["there"]


async def test_one_stored_message_is_retrieved_as_a_list(
    scripted: httpx.AsyncClient, path: str, five: list[str]
) -> None:
    messages = (await scripted.get(f"/v1/messages/{five[2]}")).json()
    assert [message["message_type"] for message in messages] == ["reasoning_message", "assistant_message"]


@pytest.mark.parametrize(
    ("url", "status"),
    [
        ("/v1/conversations/conv-unknown/messages", 404),
        ("/v1/agents/agent-unknown/messages", 404),
        ("/v1/messages?conversation_id=conv-unknown", 404),
        ("/v1/messages?conversation_id=default", 400),
        ("/v1/messages/message-unknown", 404),
        ("/v1/messages?before=message-unknown", 404),
        ("/v1/messages?limit=1001", 422),
        ("/v1/messages?limit=-1", 422),
        ("/v1/messages?order=up", 422),
        ("/v1/messages?include_return_message_types=letter", 422),
        ("/v1/runs/run-unknown/messages", 404),
        ("/v1/steps/step-unknown/messages", 404),
    ],
)
async def test_what_cannot_be_listed_is_refused(scripted: httpx.AsyncClient, url: str, status: int) -> None:
    reply = await scripted.get(url)
    assert (reply.status_code, bool(reply.json()["detail"])) == (status, True)


async def test_a_conversation_is_listed_under_its_own_agent_alone(
    scripted: httpx.AsyncClient, world: World, conversation: str
) -> None:
    owner = (await world.services.conversations.get(conversation)).agent_id
    stranger = (await world.agent()).agent.id
    for agent_id, status in ((owner, 200), (stranger, 404)):
        reply = await scripted.get(f"/v1/agents/{agent_id}/messages?conversation_id={conversation}")
        assert reply.status_code == status


async def test_the_messages_of_an_agent_are_those_of_all_its_conversations_and_of_no_other_agents(
    scripted: httpx.AsyncClient, world: World, conversation: str
) -> None:
    owner = (await world.services.conversations.get(conversation)).agent_id
    elsewhere = (await world.agent()).agent.id
    for place, text in ((conversation, "one"), (owner, "two"), (elsewhere, "not mine"), (conversation, "three")):
        await world.send(place, text)
    path, inputs = f"/v1/agents/{owner}/messages", {"include_return_message_types": "user_message"}
    assert [m["content"] for m in await listed(scripted, path, **inputs)] == ["three", "two", "one"]
    assert [m["content"] for m in await listed(scripted, path, **inputs, limit=1, order="asc")] == ["one"]
    own = await listed(scripted, path, **inputs, conversation_id="default")
    assert [m["content"] for m in own] == ["two"]
    for cursor in ("before", "after"):
        foreign = (await listed(scripted, f"/v1/agents/{elsewhere}/messages", limit=1))[0]["id"]
        assert (await scripted.get(path, params={cursor: foreign})).status_code == 404


async def test_a_history_that_is_shared_by_a_fork_is_listed_once_among_the_messages_of_its_agent(
    scripted: httpx.AsyncClient, world: World, conversation: str, five: list[str]
) -> None:
    owner = (await world.services.conversations.get(conversation)).agent_id
    fork = (await scripted.post(f"/v1/conversations/{conversation}/fork")).json()["id"]
    await world.send(fork, "on")
    found = await ids(scripted, f"/v1/agents/{owner}/messages", include_return_message_types="user_message")
    assert found[1:] == [five[3], five[1]]
