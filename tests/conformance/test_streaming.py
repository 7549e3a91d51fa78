"""The server-sent events of a reply. Form, order and contents of every frame are checked by the recorder as well."""

import json
from typing import Any

import httpx
import pytest
from letta_client import APIStatusError, Letta
from letta_client.types import AgentState, Conversation

from tests.conformance.helpers import history, of_type, spoken, stream, stream_agent, types
from tests.conformance.requirements import requirement
from tests.conformance.streams import DONE
from tests.conformance.wire import Recorder
from tests.support.openai_endpoint import Gate, OpenAIEndpoint, Pause, Refuse, Send, call, calls, text, think, usage


@requirement("stream.frames-in-order")
def test_a_stream_is_ping_messages_stop_reason_usage_done(
    client: Letta, conversation: Conversation, endpoint: OpenAIEndpoint, recorder: Recorder
) -> None:
    endpoint.script(text("Hello ", "you.", usage=usage(12, 3)))
    events = stream(client, conversation.id)
    assert types(events) == ["ping", "assistant_message", "stop_reason", "usage_statistics"]
    assert spoken(events) == "Hello you."
    assert events[2].stop_reason == "end_turn"
    assert (events[3].prompt_tokens, events[3].completion_tokens, events[3].step_count) == (12, 3, 1)
    assert events[3].run_ids == [events[0].run_id]
    assert recorder.last.headers["content-type"].startswith("text/event-stream")
    assert recorder.last.body.endswith(DONE)


@requirement("stream.is-the-default")
def test_a_conversation_streams_unless_told_otherwise(http: httpx.Client, conversation: Conversation) -> None:
    reply = http.post(f"/v1/conversations/{conversation.id}/messages", json={"input": "hello"})
    assert reply.headers["content-type"].startswith("text/event-stream")
    assert reply.content.endswith(DONE)


@requirement("stream.tokens-share-id-and-otid")
def test_with_tokens_each_delta_is_a_message_with_the_new_text_alone(
    client: Letta, conversation: Conversation, endpoint: OpenAIEndpoint
) -> None:
    endpoint.script(text("one ", "two ", "three"))
    deltas = of_type(stream(client, conversation.id, stream_tokens=True), "assistant_message")
    assert [delta.content for delta in deltas] == ["one ", "two ", "three"]
    assert len({(delta.id, delta.otid, delta.step_id) for delta in deltas}) == 1


@requirement("stream.tokens-come-at-once")
@pytest.mark.parametrize("stream_tokens", [True, False])
def test_a_token_is_on_the_wire_while_the_model_still_talks(
    client: Letta, conversation: Conversation, endpoint: OpenAIEndpoint, stream_tokens: bool
) -> None:
    gate = Gate()
    endpoint.script([Send({"content": "first"}), Pause(gate), *text(" last")])
    seen: list[Any] = []
    with client.conversations.messages.create(conversation.id, input="go", stream_tokens=stream_tokens) as events:
        for event in events:
            seen.append(event)
            # With tokens the first word comes while the model waits; without, the ping alone does.
            if not gate.opened.done() and (event.message_type == "assistant_message" or not stream_tokens):
                gate.open()
    said = of_type(seen, "assistant_message")
    assert [message.content for message in said] == (["first", " last"] if stream_tokens else ["first last"])


@requirement("stream.same-ids-as-the-list")
@pytest.mark.parametrize("stream_tokens", [True, False])
def test_a_streamed_message_has_the_id_and_otid_it_is_listed_with(
    client: Letta, conversation: Conversation, endpoint: OpenAIEndpoint, stream_tokens: bool
) -> None:
    endpoint.script(calls(call("conversation_search", {"query": "x"})), think("hm", answer="done"))
    events = stream(client, conversation.id, stream_tokens=stream_tokens)
    streamed = list(dict.fromkeys((e.message_type, e.id, e.otid) for e in events if hasattr(e, "otid")))[1:]
    listed = [(m.message_type, m.id, m.otid) for m in history(client, conversation.id)]
    assert streamed == listed[2:]


@requirement("stream.parts-of-one-reply")
def test_reasoning_text_and_tool_call_of_one_reply_share_the_id_and_differ_in_otid(
    client: Letta, conversation: Conversation, endpoint: OpenAIEndpoint
) -> None:
    reply = calls(call("conversation_search", {"query": "x"}), say="Let me look.")
    endpoint.script([Send({"reasoning_content": "Search?"}), *reply], text("Nothing."))
    events = stream(client, conversation.id)
    assert types(events)[1:6] == [
        "reasoning_message",
        "assistant_message",
        "tool_call_message",
        "tool_return_message",
        "assistant_message",
    ]
    parts = events[1:4]
    assert len({part.id for part in parts}) == 1
    assert len({part.otid for part in parts}) == 3
    assert len({part.step_id for part in parts}) == 1
    assert events[5].step_id != events[1].step_id


@requirement("stream.tool-calls")
@pytest.mark.parametrize("stream_tokens", [True, False])
def test_a_tool_call_is_one_delta_object_in_both_fields(
    client: Letta, conversation: Conversation, endpoint: OpenAIEndpoint, recorder: Recorder, stream_tokens: bool
) -> None:
    endpoint.script(calls(call("conversation_search", {"query": "tea"}, "call_7")), text("done"))
    stream(client, conversation.id, stream_tokens=stream_tokens)
    frames = [frame.data for frame in recorder.last.frames if frame.type == "tool_call_message"]
    assert all(frame["tool_call"] == frame["tool_calls"] for frame in frames)
    assert json.loads("".join(frame["tool_call"]["arguments"] or "" for frame in frames)) == {"query": "tea"}
    assert frames[0]["tool_call"]["name"] == "conversation_search"
    assert frames[0]["tool_call"]["tool_call_id"] == "call_7"
    assert stream_tokens or len(frames) == 1


@requirement("stream.tool-returns")
def test_a_tool_return_is_in_the_old_fields_and_in_the_list(
    client: Letta, conversation: Conversation, endpoint: OpenAIEndpoint
) -> None:
    endpoint.script(calls(call("memory_insert", {"label": "human", "new_string": "Likes tea."}, "call_9")))
    (returned,) = of_type(stream(client, conversation.id), "tool_return_message")
    assert returned.status == "success"
    assert returned.tool_call_id == "call_9"
    (entry,) = returned.tool_returns
    assert (entry.tool_call_id, entry.status) == ("call_9", "success")
    assert entry.tool_return == returned.tool_return


@requirement("stream.one-run-one-seq")
def test_every_frame_of_a_stream_names_the_run(
    client: Letta, conversation: Conversation, endpoint: OpenAIEndpoint
) -> None:
    endpoint.script(text("a", "b", "c"))
    events = stream(client, conversation.id, stream_tokens=True)
    run = client.runs.retrieve(events[0].run_id)
    assert {event.run_id for event in events[:-2]} == {run.id}
    numbers = [event.seq_id for event in events[:-2]]
    assert numbers == list(range(1, len(numbers) + 1))


@requirement("stream.unicode")
def test_text_beyond_ascii_arrives_whole(client: Letta, conversation: Conversation, endpoint: OpenAIEndpoint) -> None:
    said = 'naïve “quotes” \\ \n\r 日本 \u2028 🫖 "'
    endpoint.script(text(*said))
    assert spoken(stream(client, conversation.id, said, stream_tokens=True)) == said
    assert [m.content for m in history(client, conversation.id)[1:]] == [said, said]


@requirement("stream.failure")
@pytest.mark.parametrize("stream_tokens", [True, False])
def test_a_failing_model_ends_the_stream_with_stop_reason_error_and_done(
    http: httpx.Client, conversation: Conversation, endpoint: OpenAIEndpoint, recorder: Recorder, stream_tokens: bool
) -> None:
    endpoint.script([Refuse(401, "Incorrect API key provided", code="invalid_api_key")])
    body = {"input": "hello", "stream_tokens": stream_tokens}
    reply = http.post(f"/v1/conversations/{conversation.id}/messages", json=body)
    assert reply.status_code == 200
    frames = recorder.last.frames
    assert [frame.type for frame in frames if frame.type != "usage_statistics"] == [
        "ping",
        "stop_reason",
        "error_message",
    ]
    stop, error = (frame for frame in frames if frame.type in {"stop_reason", "error_message"})
    assert stop.data["stop_reason"] == "llm_api_error"
    assert error.data["error_type"] == "llm_authentication"
    assert error.data["run_id"] == frames[0].data["run_id"]
    assert "Incorrect API key" in error.data["detail"]
    assert reply.content.endswith(DONE)


@requirement("stream.failure-in-the-sdk")
def test_the_sdk_raises_the_error_of_a_failed_stream(
    client: Letta, conversation: Conversation, endpoint: OpenAIEndpoint
) -> None:
    endpoint.script([Refuse(500, "broken")])
    with pytest.raises(APIStatusError) as caught:
        stream(client, conversation.id)
    told: Any = caught.value.body
    assert told["message_type"] == "error_message"


@requirement("stream.pings")
def test_a_stream_with_pings_is_otherwise_the_same(
    client: Letta, conversation: Conversation, endpoint: OpenAIEndpoint
) -> None:
    endpoint.script(text("hello"))
    events = stream(client, conversation.id, include_pings=True)
    assert [kind for kind in types(events) if kind != "ping"] == [
        "assistant_message",
        "stop_reason",
        "usage_statistics",
    ]


@requirement("agents.messages.stream")
def test_the_streaming_route_of_an_agent_streams(client: Letta, agent: AgentState, endpoint: OpenAIEndpoint) -> None:
    endpoint.script(text("a", "b"), text("c", "d"))
    said = of_type(stream_agent(client, agent.id, stream_tokens=True), "assistant_message")
    assert [message.content for message in said] == ["a", "b"]
    with client.agents.messages.create(agent.id, input="hello", streaming=True) as events:
        assert types(events) == ["ping", "assistant_message", "stop_reason", "usage_statistics"]
