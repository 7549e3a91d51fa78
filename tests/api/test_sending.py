"""Sending messages over HTTP, reading the reply in every form, leaving it, and coming back for it."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest
from starlette.types import ASGIApp

from tertulia.api.router import build_api
from tertulia.api.sse import EventStream
from tertulia.domain.errors import ProviderRateLimited
from tertulia.domain.runs import Run
from tertulia.engine.retention import prune_events
from tertulia.ports.provider import Finished, ReasoningPiece, TextPiece
from tests.conformance.schema import find_problems, reference
from tests.conformance.streams import find_stream_problems, parse_frames
from tests.support.asgi import Exchange
from tests.support.scripted import USAGE, Gate, calls, say
from tests.support.world import World

FORMS: tuple[dict[str, Any], ...] = ({"streaming": False}, {}, {"stream_tokens": True})


@pytest.fixture
def api(world: World) -> ASGIApp:
    return build_api(world.services)


@pytest.fixture
async def conversation(world: World) -> str:
    return await world.conversation((await world.agent()).agent.id)


async def send(client: httpx.AsyncClient, conversation: str, **fields: Any) -> httpx.Response:
    return await client.post(f"/v1/conversations/{conversation}/messages", json={"input": "hi"} | fields)


def frames(reply: httpx.Response) -> list[dict[str, Any]]:
    assert reply.headers["content-type"] == "text/event-stream"
    assert not find_stream_problems(reply.content, complete=True)
    return [frame.data for frame in parse_frames(reply.content)[0]]


def said(messages: list[dict[str, Any]]) -> list[str]:
    return [message["content"] for message in messages if message["message_type"] == "assistant_message"]


async def test_a_blocking_reply_is_one_object_with_everything(
    scripted: httpx.AsyncClient, world: World, conversation: str
) -> None:
    world.model.scripts += [
        calls(("call_1", "memory_insert", '{"label": "human", "new_str": "Likes tea."}')),
        [ReasoningPiece("So. "), ReasoningPiece("", "sig"), TextPiece("No"), TextPiece("ted."),
         Finished(reason="stop", usage=USAGE)],
    ]  # fmt: skip
    reply = (await send(scripted, conversation, streaming=False)).json()
    assert not find_problems(reply, reference("LettaResponse"))
    assert [message["message_type"] for message in reply["messages"]] == [
        "tool_call_message",
        "tool_return_message",
        "reasoning_message",
        "assistant_message",
    ]
    call, returned, reasoning, _ = reply["messages"]
    assert call["tool_calls"] == [call["tool_call"]]
    assert returned["tool_call_id"] == "call_1"
    assert (reasoning["reasoning"], reasoning["signature"]) == ("So. ", "sig")
    assert said(reply["messages"]) == ["Noted."]
    assert reply["stop_reason"] == {"message_type": "stop_reason", "stop_reason": "end_turn"}
    assert (reply["usage"]["step_count"], reply["usage"]["total_tokens"]) == (2, 2 * USAGE.total_tokens)


async def test_tokens_come_in_pieces_and_otherwise_messages_come_whole(
    scripted: httpx.AsyncClient, world: World, conversation: str
) -> None:
    world.model.scripts += [say("Hello!"), say("Hello!")]
    pieces = frames(await send(scripted, conversation, stream_tokens=True))
    whole = frames(await send(scripted, conversation))
    assert (said(pieces), said(whole)) == (["Hel", "lo!"], ["Hello!"])
    assert [frame["seq_id"] for frame in pieces[:-2]] == [1, 2, 3]
    assert [frame["seq_id"] for frame in whole[:-2]] == [1, 2]


@pytest.mark.parametrize("form", FORMS, ids=str)
async def test_a_listing_shows_the_messages_of_the_reply_under_the_same_ids(
    scripted: httpx.AsyncClient, world: World, conversation: str, form: dict[str, Any]
) -> None:
    world.model.scripts += [[ReasoningPiece("hm"), *calls(("a", "x", "{}"), ("b", "y", "{}"))], say("done")]
    reply = await send(scripted, conversation, **form)
    shown = reply.json()["messages"] if "streaming" in form else frames(reply)[1:-2]
    listed = (await scripted.get(f"/v1/conversations/{conversation}/messages?order=asc")).json()[2:]
    assert list(dict.fromkeys((m["id"], m["otid"], m["message_type"], m["date"]) for m in shown)) == [
        (m["id"], m["otid"], m["message_type"], m["date"]) for m in listed
    ]


async def test_a_failing_model_is_an_error_frame_or_an_error_body(
    scripted: httpx.AsyncClient, world: World, conversation: str
) -> None:
    failure = ProviderRateLimited("Too many requests.", detail="quota", retry_after=1.5)
    world.model.scripts += [[TextPiece("Hal"), failure], [failure]]
    streamed = await send(scripted, conversation)
    assert [frame["message_type"] for frame in frames(streamed) if frame["message_type"] != "usage_statistics"] == [
        "ping",
        "assistant_message",
        "stop_reason",
        "error_message",
    ]
    blocking = await send(scripted, conversation, streaming=False)
    assert (blocking.status_code, blocking.headers["retry-after"]) == (429, "2")
    assert blocking.json() == {"error": {"type": "llm_rate_limit", "message": "Too many requests.", "detail": "quota"}}


@pytest.mark.parametrize("form", FORMS, ids=str)
async def test_only_the_wanted_types_are_in_a_reply(
    scripted: httpx.AsyncClient, world: World, conversation: str, form: dict[str, Any]
) -> None:
    world.model.scripts += [[ReasoningPiece("hm"), *say("Hello!")]]
    reply = await send(scripted, conversation, include_return_message_types=["assistant_message"], **form)
    shown = reply.json()["messages"] if "streaming" in form else frames(reply)[1:-2]
    assert {message["message_type"] for message in shown} == {"assistant_message"}


async def test_the_default_conversation_has_one_history_behind_all_its_paths(
    scripted: httpx.AsyncClient, world: World
) -> None:
    agent_id = (await world.agent()).agent.id
    await send(scripted, "default", input="one", agent_id=agent_id)
    await send(scripted, agent_id, input="two")
    await scripted.post(f"/v1/agents/{agent_id}/messages", json={"input": "three"})
    await scripted.post(f"/v1/agents/{agent_id}/messages/stream", json={"input": "four"})
    lists = [
        (await scripted.get(path)).json()
        for path in (
            f"/v1/conversations/default/messages?agent_id={agent_id}&order=asc",
            f"/v1/conversations/{agent_id}/messages?order=asc",
            f"/v1/agents/{agent_id}/messages?order=asc",
            f"/v1/agents/{agent_id}/messages?order=asc&conversation_id=default",
        )
    ]
    assert lists[0] == lists[1] == lists[2] == lists[3]
    inputs = [message["content"] for message in lists[0] if message["message_type"] == "user_message"]
    assert inputs == ["one", "two", "three", "four"]


async def test_default_without_an_agent_is_refused(scripted: httpx.AsyncClient) -> None:
    reply = await send(scripted, "default")
    assert (reply.status_code, "agent_id" in reply.json()["detail"]) == (400, True)


async def test_an_id_that_is_too_long_is_422(scripted: httpx.AsyncClient) -> None:
    assert (await send(scripted, "c" * 42)).status_code == 422
    assert (await send(scripted, "c" * 41)).status_code == 404


@pytest.mark.parametrize("form", FORMS, ids=str)
async def test_a_client_that_leaves_takes_a_foreground_run_with_it(
    api: ASGIApp, world: World, conversation: str, form: dict[str, Any]
) -> None:
    gate = Gate()
    world.model.scripts.append([TextPiece("Hel"), gate])
    exchange = Exchange(api, "POST", f"/v1/conversations/{conversation}/messages", {"input": "hi"} | form)
    await gate.reached.wait()
    await exchange.leave()
    assert world.model.open == 0
    (run,) = await runs_of(world, conversation)
    assert (run.status, run.stop_reason) == ("cancelled", "cancelled")
    assert (await world.told(conversation))[0] == ("user", "hi")


async def test_a_background_run_goes_on_without_its_client_and_is_read_later(
    api: ASGIApp, world: World, conversation: str
) -> None:
    gate = Gate()
    world.model.scripts.append([TextPiece("Hel"), gate, TextPiece("lo!"), Finished(reason="stop", usage=USAGE)])
    body = {"input": "hi", "background": True, "stream_tokens": True}
    left = Exchange(api, "POST", f"/v1/conversations/{conversation}/messages", body)
    await left.until(b"Hel")
    await left.leave()
    resumed = Exchange(api, "POST", f"/v1/conversations/{conversation}/stream", {"starting_after": 1})
    await resumed.until(b"Hel")
    gate.go.set()
    await resumed.end()
    assert [(frame["seq_id"], frame["content"]) for frame in resumed.frames[:-2]] == [(2, "Hel"), (3, "lo!")]
    assert resumed.body.endswith(b"data: [DONE]\n\n")
    assert said(left.frames) == ["Hel"]


@pytest.mark.parametrize("form", FORMS[1:], ids=str)
async def test_a_finished_run_is_replayed_to_the_byte_when_it_is_named(
    scripted: httpx.AsyncClient, world: World, conversation: str, form: dict[str, Any]
) -> None:
    world.model.scripts += [calls(("a", "x", "{}")), say("Hello!")]
    message = {"role": "user", "content": "hi", "otid": "mine"}
    first = await send(scripted, conversation, input=None, messages=[message], background=True, **form)
    run_id = frames(first)[0]["run_id"]
    for path, body in (
        (f"/v1/runs/{run_id}/stream", None),
        (f"/v1/conversations/{conversation}/stream", {"run_id": run_id}),
        (f"/v1/conversations/{conversation}/stream", {"otid": "mine"}),
    ):
        assert (await scripted.post(path, json=body)).content == first.content
    later = await scripted.post(f"/v1/runs/{run_id}/stream", json={"starting_after": 2})
    assert later.content == b"\n\n".join(first.content.split(b"\n\n")[2:])


async def test_there_is_nothing_to_resume_when_nothing_runs(scripted: httpx.AsyncClient, conversation: str) -> None:
    reply = await scripted.post(f"/v1/conversations/{conversation}/stream")
    assert reply.status_code == 400
    assert reply.json() == {"detail": "INVALID_ARGUMENT: No active runs found for this conversation."}


async def test_a_run_of_another_conversation_is_not_found(
    scripted: httpx.AsyncClient, world: World, conversation: str
) -> None:
    run_id = frames(await send(scripted, conversation))[0]["run_id"]
    other = await world.conversation((await world.agent()).agent.id)
    for body in ({"run_id": run_id}, {"otid": "unheard of"}):
        assert (await scripted.post(f"/v1/conversations/{other}/stream", json=body)).status_code == 404
    contradicting = await scripted.post(f"/v1/runs/{run_id}/stream", json={"run_id": "run-other"})
    assert contradicting.status_code == 422


async def test_signs_of_life_come_to_those_who_ask(world: World, conversation: str) -> None:
    gate = Gate()
    world.model.scripts.append([gate, *say("Hello!")])
    run = await world.start(conversation, "hi")
    stream = EventStream(world.services.runs, run, include_pings=True, ping_seconds=0.001)
    exchange = Exchange(stream, "POST", "/")
    await exchange.until(b'"message_type":"ping"', times=3)
    gate.go.set()
    await exchange.end()
    assert not [
        problem for problem in find_stream_problems(exchange.body, complete=True) if "seq_id" not in str(problem)
    ]


async def test_cancelling_ends_the_stream_and_says_so(
    api: ASGIApp, scripted: httpx.AsyncClient, world: World, conversation: str
) -> None:
    gate = Gate()
    world.model.scripts.append([TextPiece("Hel"), gate])
    exchange = Exchange(api, "POST", f"/v1/conversations/{conversation}/messages", {"input": "hi"})
    await gate.reached.wait()
    reply = await scripted.post(f"/v1/conversations/{conversation}/cancel")
    await exchange.end()
    assert reply.json() == {exchange.frames[0]["run_id"]: "cancelled"}
    assert b'"stop_reason":"cancelled"' in exchange.body
    assert exchange.body.endswith(b"data: [DONE]\n\n")
    again = await scripted.post(f"/v1/conversations/{conversation}/cancel")
    assert again.status_code == 409
    assert again.json() == {"detail": f"CONFLICT: No active runs to cancel for conversation {conversation}"}


async def test_an_agents_runs_are_cancelled_together_or_by_name(scripted: httpx.AsyncClient, world: World) -> None:
    agent_id = (await world.agent()).agent.id
    path = f"/v1/agents/{agent_id}/messages/cancel"

    async def running() -> str:
        gate = Gate()
        world.model.scripts.append([gate])
        run = await world.start(await world.conversation(agent_id), "hi")
        await gate.reached.wait()
        return run.id

    first, second, third = [await running() for _ in range(3)]
    assert (await scripted.post(path, json={"run_ids": [second]})).json() == {second: "cancelled"}
    assert (await scripted.post(path)).json() == {first: "cancelled", third: "cancelled"}
    assert (await scripted.post(path)).status_code == 409
    assert (await scripted.post(path, json={"run_ids": ["run-unknown"]})).status_code == 404


SENDERS: tuple[Callable[[httpx.AsyncClient, str], Awaitable[httpx.Response]], ...] = (
    lambda client, agent_id: send(client, "default", agent_id=agent_id),
    lambda client, agent_id: send(client, "default", agent_id=agent_id, streaming=False),
    lambda client, agent_id: send(client, agent_id, background=True),
    lambda client, agent_id: client.post(f"/v1/agents/{agent_id}/messages", json={"input": "hi"}),
    lambda client, agent_id: client.post(f"/v1/agents/{agent_id}/messages/stream", json={"input": "hi"}),
)


async def test_a_second_message_is_told_of_the_first_on_every_route(scripted: httpx.AsyncClient, world: World) -> None:
    agent_id = (await world.agent()).agent.id
    gate = Gate()
    world.model.scripts.append([gate, *say("Hello!")])
    run = await world.start(agent_id, "first")
    await gate.reached.wait()
    for sender in SENDERS:
        reply = await sender(scripted, agent_id)
        assert (reply.status_code, reply.json()["run_id"]) == (409, run.id)
        assert "is currently being processed" in reply.json()["detail"]
    gate.go.set()
    await world.events(run.id)


async def runs_of(world: World, conversation: str) -> list[Run]:
    ids = {message.run_id for message in await world.history(conversation)}
    return [await world.run(run_id) for run_id in sorted(id_ for id_ in ids if id_)]


async def test_a_stream_that_is_kept_no_longer_is_410(
    scripted: httpx.AsyncClient, world: World, conversation: str
) -> None:
    message = {"role": "user", "content": "hi", "otid": "mine"}
    run_id = frames(await send(scripted, conversation, input=None, messages=[message]))[0]["run_id"]
    assert await prune_events(world.store, timedelta(seconds=-1)) == 1
    gone = (
        await scripted.post(f"/v1/runs/{run_id}/stream"),
        await scripted.post(f"/v1/conversations/{conversation}/stream", json={"otid": "mine"}),
        await send(scripted, conversation, input=None, messages=[message]),
    )
    assert [(reply.status_code, reply.json()["run_id"]) for reply in gone] == [(410, run_id)] * 3
    assert (await scripted.get(f"/v1/runs/{run_id}/messages")).status_code == 200


LOGPROBS: dict[str, Any] = {
    "content": [{"token": "Hi", "logprob": -0.1, "bytes": None, "top_logprobs": []}],
    "refusal": None,
}


async def test_log_probabilities_of_the_last_reply_come_with_a_reply_in_one_piece(
    scripted: httpx.AsyncClient, world: World, conversation: str
) -> None:
    world.model.gives_logprobs = True
    world.model.scripts.append([TextPiece("Hi"), Finished(reason="stop", usage=USAGE, logprobs=LOGPROBS)])
    reply = await send(scripted, conversation, streaming=False, return_logprobs=True, top_logprobs=2)
    assert reply.json()["logprobs"] == LOGPROBS
    assert not find_problems(reply.json(), reference("LettaResponse"))
    await send(scripted, conversation, streaming=False)
    assert [request.logprobs for request in world.model.requests] == [2, None]


@pytest.mark.parametrize(
    "fields",
    [
        {"streaming": False, "return_logprobs": True},
        {"streaming": True, "return_logprobs": True},
        {"streaming": False, "top_logprobs": 2},
    ],
    ids=["a model that gives none", "a stream", "alternatives alone"],
)
async def test_log_probabilities_that_cannot_be_had_are_400(
    scripted: httpx.AsyncClient, world: World, conversation: str, fields: dict[str, Any]
) -> None:
    world.model.gives_logprobs = fields["streaming"]
    reply = await send(scripted, conversation, **fields)
    assert (reply.status_code, "logprobs" in reply.json()["detail"]) == (400, True)
    assert not world.model.requests
