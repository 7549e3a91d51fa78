"""Searching messages and conversations, previews, and runs in the background that tell an address of their end."""

import asyncio
from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from tertulia.tools.callback_sender import GuardedSender
from tests.conformance.schema import find_problems, reference
from tests.support.scripted import say
from tests.support.world import World


@pytest.fixture
async def agent_id(world: World) -> str:
    return (await world.agent()).agent.id


@pytest.fixture
async def talks(world: World, agent_id: str) -> tuple[str, str]:
    tea, coffee = await world.conversation(agent_id), await world.conversation(agent_id)
    world.model.scripts += [say("Oolong is a tea."), say("Espresso is strong.")]
    await world.send(tea, "Tell me of tea")
    await world.send(coffee, "Tell me of coffee")
    return tea, coffee


async def found(client: httpx.AsyncClient, **fields: Any) -> list[dict[str, Any]]:
    reply = await client.post("/v1/messages/search", json=fields)
    assert reply.status_code == 200, reply.text
    return reply.json()


@pytest.mark.parametrize("mode", [{}, {"search_mode": "fts"}, {"search_mode": "hybrid"}], ids=str)
async def test_messages_are_found_by_their_words(
    scripted: httpx.AsyncClient, talks: tuple[str, str], agent_id: str, mode: dict[str, str]
) -> None:
    messages = await found(scripted, query="tea", **mode)
    assert {(m["message_type"], m["content"], m["conversation_id"]) for m in messages} == {
        ("user_message", "Tell me of tea", talks[0]),
        ("assistant_message", "Oolong is a tea.", talks[0]),
    }
    assert {message["agent_id"] for message in messages} == {agent_id}
    for message in messages:
        kind = {"user_message": "User", "assistant_message": "Assistant"}[message["message_type"]]
        assert not find_problems(message, reference(f"MessageSearchResponseItem{kind}MessageListResult"))


@pytest.mark.parametrize(
    ("filters", "count"),
    [
        ({}, 2),
        ({"limit": 1}, 1),
        ({"start_date": "2100-01-01T00:00:00Z"}, 0),
        ({"end_date": "2000-01-01"}, 0),
        ({"agent_id": "agent-other"}, 0),
    ],
    ids=str,
)
@pytest.mark.usefixtures("talks")
async def test_each_filter_of_a_search_has_its_effect(
    scripted: httpx.AsyncClient, filters: dict[str, Any], count: int
) -> None:
    assert len(await found(scripted, query="tell me of", **filters)) == count


async def test_a_search_stays_in_its_conversation(
    scripted: httpx.AsyncClient, world: World, talks: tuple[str, str], agent_id: str
) -> None:
    await world.send(agent_id, "Tell me of milk")
    (coffee,) = await found(scripted, query="tell", conversation_id=talks[1])
    assert coffee["content"] == "Tell me of coffee"
    (milk,) = await found(scripted, query="tell", conversation_id="default", agent_id=agent_id)
    assert milk["conversation_id"] == "default"


async def test_a_search_by_meaning_is_not_supported(scripted: httpx.AsyncClient) -> None:
    reply = await scripted.post("/v1/messages/search", json={"query": "x", "search_mode": "vector"})
    assert (reply.status_code, "fts" in reply.json()["detail"]) == (501, True)


async def test_conversations_are_found_by_what_was_said_and_by_their_summary(
    scripted: httpx.AsyncClient, world: World, talks: tuple[str, str], agent_id: str
) -> None:
    await scripted.patch(f"/v1/conversations/{talks[1]}", json={"summary": "Not tea"})

    async def ids(**fields: Any) -> dict[str, int]:
        reply = await scripted.post("/v1/conversations/search", json=fields)
        assert reply.status_code == 200, reply.text
        return {hit["conversation"]["id"]: len(hit["messages"]) for hit in reply.json()}

    assert await ids(query="tea") == {talks[0]: 2, talks[1]: 0}
    assert await ids(query="tea", limit=1) == {talks[0]: 2}
    assert await ids(query="tea", agent_id="agent-other") == {}
    await scripted.patch(f"/v1/conversations/{talks[0]}", json={"archived": True})
    assert await ids(query="tea", archive_status="unarchived") == {talks[1]: 0}
    assert await ids(query="tea", archive_status="archived") == {talks[0]: 2}
    await world.services.conversations.delete(talks[0])
    assert await ids(query="oolong", agent_id=agent_id) == {}


async def test_a_preview_is_what_would_be_sent_and_leaves_no_trace(
    scripted: httpx.AsyncClient, world: World, talks: tuple[str, str]
) -> None:
    path = f"/v1/conversations/{talks[0]}/messages"
    shown = (await scripted.post(f"{path}/preview-raw-payload", json={"input": "more", "override_system": "S"})).json()
    assert [message["role"] for message in shown["messages"]] == ["user", "assistant", "user"]
    assert shown["system"] == "S"
    assert len(world.model.requests) == 2
    assert len((await scripted.get(path)).json()) == 3
    await scripted.post(path, json={"input": "more", "override_system": "S"})
    assert [message.text for message in world.model.requests[-1].messages][-1] == "more"
    assert len(world.model.requests[-1].messages) == len(shown["messages"])


async def test_a_preview_of_an_agent_is_of_its_default_conversation(scripted: httpx.AsyncClient, agent_id: str) -> None:
    shown = await scripted.post(f"/v1/agents/{agent_id}/messages/preview-raw-payload", json={"input": "hi"})
    assert "CONVERSATION_ID: default" in shown.json()["system"]
    unknown = await scripted.post("/v1/agents/agent-x/messages/preview-raw-payload", json={"input": "hi"})
    assert unknown.status_code == 404


async def test_a_run_in_the_background_is_answered_at_once_and_read_later(
    scripted: httpx.AsyncClient, world: World, agent_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    called = asyncio.Event()

    async def post(_sender: GuardedSender, url: str, _body: bytes, _headers: Mapping[str, str]) -> int:
        told.append(url)
        called.set()
        return 204

    monkeypatch.setattr(GuardedSender, "post", post)
    world.model.scripts.append(say("Hello!"))
    body = {"input": "hi", "callback_url": "https://example.com/told"}
    run = (await scripted.post(f"/v1/agents/{agent_id}/messages/async", json=body)).json()
    assert (run["background"], run["callback_url"], run["agent_id"]) == (True, body["callback_url"], agent_id)
    replayed = await scripted.post(f"/v1/runs/{run['id']}/stream")
    assert "Hello!" in replayed.text
    await called.wait()
    await world.services.end_hooks.settled()
    ended = (await scripted.get(f"/v1/runs/{run['id']}")).json()
    assert (ended["status"], ended["callback_status_code"], told) == ("completed", 204, [body["callback_url"]])


@pytest.mark.parametrize(
    "url", ["ftp://example.com", "not an address", "http://127.0.0.1/x", "http://[::1]/", "http://10.0.0.1/",
            "http://localhost:8283/", "http://user:pass@example.com/", "http://169.254.169.254/latest"]
)  # fmt: skip
async def test_an_address_of_this_machine_or_none_at_all_is_refused(
    scripted: httpx.AsyncClient, world: World, agent_id: str, url: str
) -> None:
    reply = await scripted.post(f"/v1/agents/{agent_id}/messages/async", json={"input": "hi", "callback_url": url})
    assert (reply.status_code, "callback_url" in reply.json()["detail"]) == (400, True)
    assert not world.model.requests
