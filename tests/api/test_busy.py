"""Over HTTP: what becomes of a message to a busy conversation, and of a run that several clients read."""

import httpx
import pytest
from starlette.types import ASGIApp

from tertulia.api.router import build_api
from tertulia.domain.runs import Run
from tertulia.ports.provider import Finished, TextPiece
from tertulia.ports.queries import RunQuery
from tests.api.test_sending import frames, said, send
from tests.support.asgi import Exchange
from tests.support.scripted import USAGE, Gate, say
from tests.support.world import World


@pytest.fixture
def api(world: World) -> ASGIApp:
    return build_api(world.services)


@pytest.fixture
async def conversation(world: World) -> str:
    return await world.conversation((await world.agent()).agent.id)


async def runs_of(world: World, conversation: str) -> list[Run]:
    return await world.store.read(lambda tx: tx.runs.find(RunQuery(conversation_id=conversation)))


async def test_a_retry_that_leaves_does_not_take_the_run_from_its_first_reader(
    api: ASGIApp, world: World, conversation: str
) -> None:
    gate = Gate()
    world.model.scripts.append([TextPiece("Hel"), gate, TextPiece("lo!"), Finished(reason="stop", usage=USAGE)])
    body = {"messages": [{"role": "user", "content": "hi", "otid": "mine"}], "stream_tokens": True}
    path = f"/v1/conversations/{conversation}/messages"
    first = await Exchange(api, "POST", path, body).until(b"Hel")
    retry = await Exchange(api, "POST", path, body).until(b"Hel")
    await retry.leave()
    gate.go.set()
    await first.end()
    assert said(first.frames) == ["Hel", "lo!"]
    assert len(world.model.requests) == 1


async def test_a_run_that_every_reader_has_left_is_cancelled(api: ASGIApp, world: World, conversation: str) -> None:
    gate = Gate()
    world.model.scripts.append([TextPiece("Hel"), gate])
    body = {"messages": [{"role": "user", "content": "hi", "otid": "mine"}], "stream_tokens": True}
    path = f"/v1/conversations/{conversation}/messages"
    readers = [await Exchange(api, "POST", path, body).until(b"Hel") for _ in range(2)]
    for reader in readers:
        await reader.leave()
    (run,) = await runs_of(world, conversation)
    assert run.status == "cancelled"


async def test_a_message_waits_its_turn_when_the_header_or_the_body_says_so(
    api: ASGIApp, scripted: httpx.AsyncClient, world: World, conversation: str
) -> None:
    gate = Gate()
    world.model.scripts += [[TextPiece("one"), gate, Finished(reason="stop", usage=USAGE)], say("two"), say("three")]
    path = f"/v1/conversations/{conversation}/messages"
    first = await Exchange(api, "POST", path, {"input": "1", "stream_tokens": True}).until(b"one")
    assert (await send(scripted, conversation)).status_code == 409
    waiting = {"messages": [{"role": "user", "content": "2", "otid": "second"}], "busy_policy": "enqueue"}
    second = await Exchange(api, "POST", path, waiting).until(b"ping")
    third = await Exchange(api, "POST", path, {"input": "3"}, {"X-Tertulia-Busy": "enqueue"}).until(b"ping")
    resumed = await Exchange(api, "POST", f"/v1/conversations/{conversation}/stream", {"otid": "second"}).until(b"ping")
    gate.go.set()
    for exchange in (first, second, third, resumed):
        await exchange.end()
    assert [said(exchange.frames) for exchange in (second, resumed, third)] == [["two"], ["two"], ["three"]]
    assert [text for role, text in await world.told(conversation) if role == "user"] == ["1", "2", "3"]


@pytest.mark.parametrize(("policy", "kept"), [("interrupt", ["1", "2"]), ("rollback", ["2"])])
async def test_a_message_goes_before_the_one_being_answered(
    api: ASGIApp, scripted: httpx.AsyncClient, world: World, conversation: str, policy: str, kept: list[str]
) -> None:
    gate = Gate()
    world.model.scripts += [[TextPiece("one"), gate], say("two")]
    path = f"/v1/conversations/{conversation}/messages"
    first = await Exchange(api, "POST", path, {"input": "1", "stream_tokens": True}).until(b"one")
    reply = await scripted.post(path, json={"input": "2"}, headers={"X-Tertulia-Busy": policy})
    await first.end()
    assert said(frames(reply)) == ["two"]
    assert b'"stop_reason":"cancelled"' in first.body
    assert [text for role, text in await world.told(conversation) if role == "user"] == kept


async def test_a_policy_nobody_knows_is_422(scripted: httpx.AsyncClient, conversation: str) -> None:
    path = f"/v1/conversations/{conversation}/messages"
    reply = await scripted.post(path, json={"input": "2"}, headers={"X-Tertulia-Busy": "queue"})
    assert reply.status_code == 422
    assert "enqueue" in reply.json()["detail"]
    assert (await send(scripted, conversation, busy_policy="queue")).status_code == 422


async def test_an_agent_has_a_policy_of_its_own_that_a_request_can_overrule(
    api: ASGIApp, scripted: httpx.AsyncClient, world: World
) -> None:
    agent_id = (await scripted.post("/v1/agents/", json={"busy_policy": "enqueue"})).json()["id"]
    gate = Gate()
    world.model.scripts += [[TextPiece("one"), gate, Finished(reason="stop", usage=USAGE)], say("two")]
    path = f"/v1/agents/{agent_id}/messages"
    first = await Exchange(api, "POST", f"{path}/stream", {"input": "1", "stream_tokens": True}).until(b"one")
    second = await Exchange(api, "POST", f"{path}/stream", {"input": "2"}).until(b"ping")
    assert (await scripted.post(path, json={"input": "3"}, headers={"X-Tertulia-Busy": "reject"})).status_code == 409
    gate.go.set()
    await first.end()
    await second.end()
    assert said(second.frames) == ["two"]


async def test_the_policy_of_an_agent_is_shown_where_there_is_one(scripted: httpx.AsyncClient) -> None:
    agent = (await scripted.post("/v1/agents/", json={})).json()
    assert "busy_policy" not in agent
    path = f"/v1/agents/{agent['id']}"
    assert (await scripted.patch(path, json={"busy_policy": "interrupt"})).json()["busy_policy"] == "interrupt"
    assert (await scripted.get(path)).json()["busy_policy"] == "interrupt"
    assert "busy_policy" not in (await scripted.patch(path, json={"busy_policy": None})).json()
    assert (await scripted.patch(path, json={"busy_policy": "wait"})).status_code == 422
