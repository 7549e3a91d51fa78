"""`kill -9` in the middle of a reply: nothing acknowledged is lost, nothing is stuck, the next message works."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from letta_client import Letta

from tests.conformance.helpers import MODEL, answer, history, of_type, send, spoken, types
from tests.conformance.requirements import requirement
from tests.conformance.wire import Recorder, RecordingTransport
from tests.support.openai_endpoint import Gate, OpenAIEndpoint, Pause, Send, call, calls, text
from tests.support.server_process import ForkedServer, ServerProcess


@pytest.fixture
def mortal(tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> Iterator[ServerProcess]:
    """A server of the test's own, to be killed."""
    with ForkedServer(tmp_path_factory.mktemp("mortal") / "data", environment) as server:
        yield server


@pytest.fixture
def patient(mortal: ServerProcess, recorder: Recorder) -> Iterator[Letta]:
    with httpx.Client(transport=RecordingTransport(recorder), timeout=20) as http:
        yield Letta(base_url=mortal.url, api_key="unused", http_client=http, max_retries=0)


@requirement("crash.in-the-middle-of-a-stream")
@pytest.mark.parametrize("stream_tokens", [True, False])
def test_after_a_kill_in_the_middle_of_a_stream_the_reply_is_made_again_and_the_next_message_works(
    mortal: ServerProcess, patient: Letta, endpoint: OpenAIEndpoint, stream_tokens: bool
) -> None:
    agent = patient.agents.create(model=MODEL)
    conversation = patient.conversations.create(agent_id=agent.id)
    endpoint.script(text("first answer"))
    send(patient, conversation.id, "first question")
    before = history(patient, conversation.id)

    gate = Gate()
    endpoint.script([Send({"content": "half "}), Pause(gate)], text("second answer"), text("third answer"))
    events = patient.conversations.messages.create(
        conversation.id, input="second question", stream_tokens=stream_tokens
    )
    ping: Any = next(events)
    gate.wait_reached()
    mortal.kill()
    with pytest.raises(httpx.HTTPError):
        list(events)
    mortal.start()

    with patient.runs.messages.stream(path_run_id=ping.run_id, starting_after=0) as resumed:
        told = list(resumed)
    assert of_type(told, "event_message")[0].event_type == "resumed"
    assert spoken(told).endswith("second answer")
    assert patient.runs.retrieve(ping.run_id).status == "completed"
    assert list(patient.runs.list(agent_id=agent.id, active=True)) == []
    kept = history(patient, conversation.id)
    assert kept[: len(before)] == before
    assert of_type(kept, "user_message")[-1].content == "second question"
    assert of_type(kept, "assistant_message")[-1].content == "second answer"
    assert answer(send(patient, conversation.id, "third question")) == "third answer"
    assert "first answer" in str(endpoint.requests[-1].body)


@requirement("crash.finished-tool-calls-are-kept-and-not-repeated")
def test_a_finished_tool_call_survives_a_kill_and_is_not_repeated(
    mortal: ServerProcess, patient: Letta, endpoint: OpenAIEndpoint
) -> None:
    agent = patient.agents.create(model=MODEL, memory_blocks=[{"label": "notes", "value": "start"}])
    gate = Gate()
    append = calls(call("memory_insert", {"label": "notes", "new_string": "tea"}, "call_1"))
    endpoint.script(append, [Pause(gate)], text("back"), text("on"))
    events = patient.agents.messages.create(agent.id, input="remember tea", streaming=True)
    seen = [next(events) for _ in range(3)]
    assert types(seen) == ["ping", "tool_call_message", "tool_return_message"]
    gate.wait_reached()
    mortal.kill()
    with pytest.raises(httpx.HTTPError):
        list(events)
    mortal.start()

    ping: Any = seen[0]
    with patient.runs.messages.stream(path_run_id=ping.run_id, starting_after=0) as resumed:
        assert spoken(list(resumed)) == "back"
    assert answer(send(patient, "default", "go on", agent_id=agent.id)) == "on"
    assert endpoint.requests[-1].tool_results.keys() == {"call_1"}
    assert patient.agents.blocks.retrieve("notes", agent_id=agent.id).value == "start\ntea"


@requirement("crash.graceful-stop")
def test_what_was_stored_is_there_after_a_graceful_stop(
    mortal: ServerProcess, patient: Letta, endpoint: OpenAIEndpoint
) -> None:
    agent = patient.agents.create(model=MODEL, name="survivor", tags=["t"], metadata={"a": 1})
    conversation = patient.conversations.create(agent_id=agent.id, summary="s")
    send(patient, conversation.id)
    before = history(patient, conversation.id)
    mortal.stop()
    mortal.start()
    kept = patient.agents.retrieve(agent.id)
    assert (kept.name, kept.tags, kept.metadata) == ("survivor", ["t"], {"a": 1})
    assert patient.conversations.retrieve(conversation.id).summary == "s"
    assert history(patient, conversation.id) == before
    assert answer(send(patient, conversation.id)) == "ok"


@requirement("crash.queued-messages-are-answered")
def test_a_message_that_waited_its_turn_is_answered_after_a_kill(
    mortal: ServerProcess, patient: Letta, endpoint: OpenAIEndpoint
) -> None:
    agent = patient.agents.create(model=MODEL)
    conversation = patient.conversations.create(agent_id=agent.id)
    gate = Gate()
    endpoint.script([Pause(gate)], text("first"), text("at last"))
    options: Any = {"background": True, "extra_body": {"busy_policy": "enqueue"}}
    running = patient.conversations.messages.create(conversation.id, input="first", **options)
    gate.wait_reached()
    waiting = patient.conversations.messages.create(conversation.id, input="second", **options)
    ping: Any = next(waiting)
    mortal.kill()
    for events in (running, waiting):
        with pytest.raises(httpx.HTTPError):
            list(events)
    mortal.start()

    with patient.runs.messages.stream(path_run_id=ping.run_id, starting_after=0) as resumed:
        assert spoken(list(resumed)) == "at last"
    assert patient.runs.retrieve(ping.run_id).status == "completed"
    kept = of_type(history(patient, conversation.id), "user_message")
    assert [message.content for message in kept] == ["first", "second"]
