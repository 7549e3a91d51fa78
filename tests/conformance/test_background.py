"""Runs that outlive their client: numbered frames, resumed streams, and the ways to cancel."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from letta_client import Letta
from letta_client.types import AgentState, Conversation

from tests.conformance.helpers import answer, detail, history, of_type, send, spoken, stream, types
from tests.conformance.requirements import requirement
from tests.conformance.streams import Frame
from tests.conformance.wire import Recorder
from tests.support.openai_endpoint import TIMEOUT, Gate, OpenAIEndpoint, Pause, Send, text

MISSING_RUN = "run-00000000-0000-4000-8000-000000000000"


def _numbered(frames: list[Frame]) -> list[tuple[int, str, Any]]:
    return [(f.data["seq_id"], f.type, f.data.get("content")) for f in frames if "seq_id" in f.data]


@requirement("background.frames-are-numbered")
@pytest.mark.parametrize("stream_tokens", [True, False])
def test_every_ping_and_message_frame_of_a_background_run_is_numbered_from_one(
    client: Letta, conversation: Conversation, endpoint: OpenAIEndpoint, recorder: Recorder, stream_tokens: bool
) -> None:
    endpoint.script(text("a", "b", "c"))
    events = stream(client, conversation.id, background=True, stream_tokens=stream_tokens)
    assert spoken(events) == "abc"
    frames = recorder.last.frames
    assert [number for number, _, _ in _numbered(frames)] == list(range(1, len(frames) - 1))
    assert all("seq_id" not in frame.data for frame in frames[-2:])
    assert client.runs.retrieve(events[0].run_id).background is True
    assert [run.id for run in client.runs.list(conversation_id=conversation.id, background=True)] == [events[0].run_id]


@requirement("background.outlives-its-client")
def test_a_background_run_goes_on_when_its_client_has_left(
    client: Letta, conversation: Conversation, endpoint: OpenAIEndpoint
) -> None:
    gate = Gate()
    endpoint.script([Send({"content": "still "}), Pause(gate), *text("here")])
    options: Any = {"input": "go", "background": True, "stream_tokens": True}
    with client.conversations.messages.create(conversation.id, **options) as events:
        ping: Any = next(events)
    gate.wait_reached()
    gate.open()
    with client.runs.messages.stream(path_run_id=ping.run_id, starting_after=0) as resumed:
        assert spoken(list(resumed)) == "still here"
    assert [m.content for m in history(client, conversation.id)[1:]] == ["go", "still here"]


@requirement("resume.exactly-the-frames-after")
@pytest.mark.parametrize("after", [0, 1, 3, 99])
def test_a_finished_run_replays_exactly_the_frames_after_a_number(
    client: Letta, conversation: Conversation, endpoint: OpenAIEndpoint, recorder: Recorder, after: int
) -> None:
    endpoint.script(text("a", "b", "c"))
    message: Any = {"role": "user", "content": "hello", "otid": "o-1"}
    events = stream(client, conversation.id, None, messages=[message], background=True, stream_tokens=True)
    whole = recorder.last.frames
    run_id = events[0].run_id
    expected = [row for row in _numbered(whole) if row[0] > after]
    resumed = [
        lambda: client.conversations.messages.stream(conversation.id, run_id=run_id, starting_after=after),
        lambda: client.conversations.messages.stream(conversation.id, otid="o-1", starting_after=after),
        lambda: client.runs.messages.stream(path_run_id=run_id, starting_after=after),
    ]
    for resume in resumed:
        with resume() as again:
            list(again)
        frames = recorder.last.frames
        assert _numbered(frames) == expected
        assert [frame.data for frame in frames[-2:]] == [frame.data for frame in whole[-2:]]


@requirement("resume.from-the-log-and-then-live")
def test_a_resumed_stream_gives_what_was_and_then_what_comes(
    client: Letta, conversation: Conversation, endpoint: OpenAIEndpoint
) -> None:
    gate = Gate()
    endpoint.script([Send({"content": "one "}), Pause(gate), *text("two")])
    options: Any = {"input": "go", "background": True, "stream_tokens": True}
    with client.conversations.messages.create(conversation.id, **options) as first:
        ping: Any = next(first)
        seen = [ping, next(first)]
        resume = client.conversations.messages.stream
        from_zero = resume(conversation.id, starting_after=0)
        from_one = resume(conversation.id, starting_after=1)
        was = [[next(from_zero), next(from_zero)], [next(from_one)]]
        gate.open()
        seen += list(first)
    whole = [*was[0], *from_zero]
    assert types(whole) == types(seen)
    assert spoken(whole) == spoken([*was[1], *from_one]) == "one two"
    assert spoken(resume(conversation.id, run_id=ping.run_id, starting_after=2)) == "two"


@requirement("messages.create.otid-retry-while-running")
@pytest.mark.parametrize("background", [True, False])
def test_a_retry_while_the_run_is_on_attaches_to_it(
    client: Letta, conversation: Conversation, endpoint: OpenAIEndpoint, background: bool
) -> None:
    gate = Gate()
    endpoint.script([Send({"content": "only "}), Pause(gate), *text("once")])
    message: Any = {"role": "user", "content": "hello", "otid": "o-1"}
    options: Any = {"messages": [message], "background": background, "stream_tokens": True}
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(stream, client, conversation.id, None, **options)
        gate.wait_reached()
        with client.conversations.messages.create(conversation.id, **options) as events:
            seen = [next(events)]
            gate.open()
            seen += list(events)
        assert spoken(seen) == spoken(first.result(TIMEOUT)) == "only once"
    assert len(endpoint.requests) == 1
    assert types(history(client, conversation.id)) == ["system_message", "user_message", "assistant_message"]


@requirement("resume.nothing-running")
def test_with_nothing_running_and_nothing_named_there_is_nothing_to_resume(
    client: Letta, conversation: Conversation
) -> None:
    said = detail(400, lambda: client.conversations.messages.stream(conversation.id))
    assert said == "INVALID_ARGUMENT: No active runs found for this conversation."
    assert MISSING_RUN in detail(404, lambda: client.runs.messages.stream(path_run_id=MISSING_RUN))


@requirement("cancel.conversation")
def test_a_cancelled_run_ends_its_stream_and_the_next_message_works(
    client: Letta, conversation: Conversation, endpoint: OpenAIEndpoint, recorder: Recorder
) -> None:
    gate = Gate()
    endpoint.script([Send({"content": "half "}), Pause(gate), *text("never")])
    with client.conversations.messages.create(conversation.id, input="go", stream_tokens=True) as events:
        ping: Any = next(events)
        gate.wait_reached()
        streaming = recorder.last
        assert client.conversations.cancel(conversation.id) == {ping.run_id: "cancelled"}
        rest = list(events)
    assert of_type(rest, "stop_reason")[0].stop_reason == "cancelled"
    assert not streaming.find_problems()
    run = client.runs.retrieve(ping.run_id)
    assert (run.status, run.stop_reason) == ("cancelled", "cancelled")
    assert endpoint.requests[0].left.wait(TIMEOUT)
    assert answer(send(client, conversation.id)) == "ok"


@requirement("cancel.nothing-running")
def test_with_nothing_running_there_is_nothing_to_cancel(client: Letta, conversation: Conversation) -> None:
    said = detail(409, lambda: client.conversations.cancel(conversation.id))
    assert said == f"CONFLICT: No active runs to cancel for conversation {conversation.id}"


@requirement("cancel.agent")
def test_the_runs_of_an_agent_are_cancelled_by_its_own_route(
    client: Letta, agent: AgentState, endpoint: OpenAIEndpoint
) -> None:
    gate = Gate()
    endpoint.script([Pause(gate), *text("never")])
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(client.agents.messages.create, agent.id, input="go")
        gate.wait_reached()
        (run,) = client.runs.list(agent_id=agent.id, active=True).items
        assert client.agents.messages.cancel(agent.id, run_ids=[run.id]) == {run.id: "cancelled"}
        assert waiting.result(TIMEOUT).stop_reason.stop_reason == "cancelled"
    assert client.runs.retrieve(run.id).status == "cancelled"


@requirement("conversations.recompile.returns-the-system-prompt")
def test_the_system_prompt_of_a_conversation_is_recompiled(
    client: Letta, http: httpx.Client, conversation: Conversation
) -> None:
    client.agents.blocks.update("human", agent_id=conversation.agent_id, value="Name: Grace.")
    prompt = http.post(f"/v1/conversations/{conversation.id}/recompile", json={}).json()
    assert "Name: Grace." in prompt
    assert f"\n- CONVERSATION_ID: {conversation.id}\n" in prompt
    assert history(client, conversation.id)[0].content == prompt
