"""Requests that a client's library sends again by itself: one message, one answer."""

from datetime import timedelta
from typing import Any

import httpx
import pytest
from starlette.types import ASGIApp

from tertulia.api.router import build_api
from tertulia.domain.errors import ProviderOverloaded
from tertulia.engine.lifecycle import repeats
from tertulia.ports.provider import Finished, TextPiece
from tests.support.asgi import Exchange
from tests.support.scripted import USAGE, Gate, calls, say
from tests.support.world import World

FORMS: tuple[dict[str, Any], ...] = ({"streaming": False}, {"streaming": True}, {"stream_tokens": True})


def sent(count: int) -> dict[str, str]:
    return {"x-stainless-retry-count": str(count)}


@pytest.fixture
def api(world: World) -> ASGIApp:
    return build_api(world.services)


@pytest.fixture
async def conversation(world: World) -> str:
    return await world.conversation((await world.agent()).agent.id)


async def send(client: httpx.AsyncClient, conversation: str, count: int, **body: Any) -> httpx.Response:
    fields = {"input": "hi", "streaming": False} | body
    return await client.post(f"/v1/conversations/{conversation}/messages", json=fields, headers=sent(count))


def leaving(api: ASGIApp, conversation: str, count: int, **body: Any) -> Exchange:
    fields = {"input": "hi", "streaming": False} | body
    return Exchange(api, "POST", f"/v1/conversations/{conversation}/messages", fields, headers=sent(count))


@pytest.mark.parametrize("form", FORMS, ids=str)
async def test_a_message_that_is_sent_again_after_its_client_gave_up_is_one_message_with_one_answer(
    api: ASGIApp, scripted: httpx.AsyncClient, world: World, conversation: str, form: dict[str, Any]
) -> None:
    for count in (0, 1):
        gate = Gate()
        world.model.scripts.append([TextPiece("Hel"), gate])
        exchange = leaving(api, conversation, count, **form)
        await gate.reached.wait()
        await exchange.leave()
    world.model.scripts.append(say("Hello!"))
    reply = await send(scripted, conversation, 2, **form)
    assert b"Hello!"[:3] in reply.content
    assert await world.told(conversation) == [("user", "hi"), ("assistant", "Hello!")]
    assert [message.text for message in world.model.requests[-1].messages] == ["hi"]


async def test_the_tools_that_ran_for_the_client_that_gave_up_do_not_run_again(
    api: ASGIApp, scripted: httpx.AsyncClient, world: World, conversation: str
) -> None:
    gate = Gate()
    world.model.scripts += [calls(("call_1", "conversation_search", '{"query": "x"}')), [TextPiece("Hel"), gate]]
    exchange = leaving(api, conversation, 0)
    await gate.reached.wait()
    await exchange.leave()
    world.model.scripts.append(say("Hello!"))
    assert (await send(scripted, conversation, 1)).json()["messages"][-1]["content"] == "Hello!"
    assert [role for role, _ in await world.told(conversation)] == ["user", "assistant", "tool", "assistant"]


async def test_a_message_that_is_sent_again_while_it_is_answered_is_answered_once(
    api: ASGIApp, scripted: httpx.AsyncClient, world: World, conversation: str
) -> None:
    gate = Gate()
    world.model.scripts.append([TextPiece("Hel"), gate, TextPiece("lo!"), Finished(reason="stop", usage=USAGE)])
    first, second = leaving(api, conversation, 0), leaving(api, conversation, 1)
    await gate.reached.wait()
    gate.go.set()
    await first.end()
    await second.end()
    assert first.body == second.body
    assert await world.told(conversation) == [("user", "hi"), ("assistant", "Hello!")]
    again = await send(scripted, conversation, 1)
    assert again.content == first.body
    assert len(world.model.requests) == 1


async def test_a_message_whose_answer_failed_is_answered_when_it_is_sent_again(
    scripted: httpx.AsyncClient, world: World, conversation: str
) -> None:
    world.model.scripts += [[ProviderOverloaded("busy")], [TextPiece("Hel"), ProviderOverloaded("busy")], say("Hello!")]
    assert [(await send(scripted, conversation, count)).status_code for count in (0, 1, 2)][2] == 200
    assert await world.told(conversation) == [("user", "hi"), ("assistant", "Hello!")]


@pytest.mark.parametrize(
    ("count", "body"),
    [(0, {}), (1, {"input": "hi!"}), (1, {"max_steps": 3}), (0, {"input": "hi!"})],
    ids=str,
)
async def test_what_is_not_said_to_be_sent_again_or_is_not_the_same_is_a_message_of_its_own(
    api: ASGIApp, scripted: httpx.AsyncClient, world: World, conversation: str, count: int, body: dict[str, Any]
) -> None:
    gate = Gate()
    world.model.scripts += [[TextPiece("Hel"), gate], say("Hello!")]
    exchange = leaving(api, conversation, 0)
    await gate.reached.wait()
    await exchange.leave()
    assert (await send(scripted, conversation, count, **body)).status_code == 200
    assert [role for role, _ in await world.told(conversation)] == ["user", "assistant", "user", "assistant"]


async def test_what_is_said_to_be_sent_again_long_after_is_a_message_of_its_own(
    scripted: httpx.AsyncClient, world: World, conversation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await send(scripted, conversation, 0)
    assert (await send(scripted, conversation, 1)).content == first.content
    monkeypatch.setattr(repeats, "WINDOW", timedelta(0))
    assert (await send(scripted, conversation, 1)).content != first.content
    assert [role for role, _ in await world.told(conversation)] == ["user", "assistant"] * 2


async def test_a_message_after_which_others_came_is_sent_again_as_a_new_one(
    api: ASGIApp, scripted: httpx.AsyncClient, world: World, conversation: str
) -> None:
    gate = Gate()
    world.model.scripts.append([TextPiece("Hel"), gate])
    exchange = leaving(api, conversation, 0)
    await gate.reached.wait()
    await exchange.leave()
    await send(scripted, conversation, 0, input="another")
    await send(scripted, conversation, 1)
    said = [text for role, text in await world.told(conversation) if role == "user"]
    assert said == ["hi", "another", "hi"]


async def test_a_message_with_an_otid_is_gone_on_with_when_its_client_gave_up(
    api: ASGIApp, scripted: httpx.AsyncClient, world: World, conversation: str
) -> None:
    gate = Gate()
    world.model.scripts += [[TextPiece("Hel"), gate], say("Hello!")]
    body = {"input": None, "messages": [{"role": "user", "content": "hi", "otid": "mine"}]}
    exchange = leaving(api, conversation, 0, **body)
    await gate.reached.wait()
    await exchange.leave()
    reply = await send(scripted, conversation, 1, **body)
    assert reply.json()["messages"][-1]["content"] == "Hello!"
    assert await world.told(conversation) == [("user", "hi"), ("assistant", "Hello!")]


async def test_a_message_that_a_user_cancelled_is_not_gone_on_with(
    api: ASGIApp, scripted: httpx.AsyncClient, world: World, conversation: str
) -> None:
    gate = Gate()
    world.model.scripts.append([TextPiece("Hel"), gate])
    exchange = leaving(api, conversation, 0)
    await gate.reached.wait()
    await scripted.post(f"/v1/conversations/{conversation}/cancel")
    await exchange.end()
    reply = await send(scripted, conversation, 1)
    assert reply.json()["stop_reason"]["stop_reason"] == "cancelled"
    assert len(world.model.requests) == 1
