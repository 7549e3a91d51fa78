"""A run's events as frames, to the byte."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from tertulia.api.wire.frames import Frames
from tertulia.domain.events import (
    Ended,
    Event,
    Failed,
    HiddenReasoning,
    MessageAdded,
    ReasoningDelta,
    RunStarted,
    Stopped,
    TextDelta,
    ToolCallDelta,
    UsageReported,
)
from tertulia.domain.messages import Message, TextPart, ToolReturnPart
from tertulia.domain.runs import RequestConfig, Usage
from tests.conformance.streams import find_stream_problems, parse_frames

AT = datetime(2026, 11, 21, 15, 12, 36, 250_000, UTC).timestamp()
ID = "message-793f0000-0000-4000-8000-000000000000"
OTID = ID.removeprefix("message-")
STARTED = RunStarted("run-45d0", AT)
END = (Stopped("end_turn"), UsageReported(Usage(prompt_tokens=7, completion_tokens=4, total_tokens=11), 1, 12), Ended())


def text(piece: str) -> TextDelta:
    return TextDelta(ID, OTID, "step-6226", AT, piece)


def call(piece: str, name: str = "send_message", otid: str = OTID) -> ToolCallDelta:
    return ToolCallDelta(ID, otid, "step-6226", AT, "call_1", name, piece)


def encoded(*events: Event, after: int = 0, **config: Any) -> bytes:
    return Frames("run-45d0", RequestConfig(**config), after).encode(events)


def contents(body: bytes, field: str = "content") -> list[Any]:
    return [frame.data[field] for frame in parse_frames(body)[0] if field in frame.data]


def test_a_stream_is_ping_messages_stop_reason_usage_and_done_to_the_byte() -> None:
    assert (
        encoded(STARTED, text("wö "), *END)
        == (
            'data: {"id":"ping-45d0","date":"2026-11-21T15:12:36+00:00","name":null,"message_type":"ping","otid":null,'
            '"sender_id":null,"step_id":null,"is_err":null,"seq_id":1,"run_id":"run-45d0"}\n\n'
            f'data: {{"id":"{ID}","date":"2026-11-21T15:12:36+00:00","name":null,"message_type":"assistant_message",'
            f'"otid":"{OTID}","sender_id":null,"step_id":"step-6226","is_err":null,"seq_id":2,"run_id":"run-45d0",'
            '"content":"wö "}\n\n'
            'data: {"message_type":"stop_reason","stop_reason":"end_turn"}\n\n'
            'data: {"message_type":"usage_statistics","completion_tokens":4,"prompt_tokens":7,"total_tokens":11,'
            '"step_count":1,"run_ids":["run-45d0"],"cached_input_tokens":null,"cache_write_tokens":null,'
            '"reasoning_tokens":null,"context_tokens":12}\n\n'
            "data: [DONE]\n\n"
        ).encode()
    )


def test_a_failing_model_is_an_error_frame_after_the_stop_reason() -> None:
    failed = Failed("llm_authentication", "The key is wrong.", "401")
    assert encoded(STARTED, Stopped("llm_api_error"), failed, Ended()).endswith(
        b'data: {"message_type":"stop_reason","stop_reason":"llm_api_error"}\n\n'
        b'event: error\ndata: {"message_type":"error_message","run_id":"run-45d0","error_type":"llm_authentication",'
        b'"message":"The key is wrong.","detail":"401","seq_id":null}\n\n'
        b"data: [DONE]\n\n"
    )


RETURNED = Message(
    id=ID.replace("793f", "aaaa"),
    agent_id="agent-1",
    conversation_id="conv-1",
    role="tool",
    content=(ToolReturnPart("call_1", "memory_insert", "done"),),
    created_at=datetime.fromtimestamp(AT, UTC),
    run_id="run-45d0",
)
SUMMARY = msgspec.structs.replace(RETURNED, role="summary", content=(TextPart("They met."),))
EVERYTHING = (
    STARTED,
    ReasoningDelta(ID, OTID, "step-6226", AT, "hm"),
    ReasoningDelta(ID, OTID, "step-6226", AT, "", "signature"),
    HiddenReasoning(ID, OTID, "step-6226", AT, "opaque"),
    HiddenReasoning(ID, OTID, "step-6226", AT),
    call('{"label"', "memory_insert"),
    call(':"human"}', "memory_insert"),
    MessageAdded(RETURNED),
    text("done"),
    *END,
)


def test_every_frame_is_what_the_contract_says_and_counts_up() -> None:
    body = encoded(*EVERYTHING, stream_tokens=True)
    assert not find_stream_problems(body, complete=True)
    assert contents(body, "seq_id") == list(range(1, 10))


def test_a_piece_of_a_tool_call_is_one_object_in_both_fields() -> None:
    frame = parse_frames(encoded(call('{"label"', "memory_insert")))[0][0].data
    assert frame["tool_call"] == frame["tool_calls"]
    assert frame["tool_call"] == {"name": "memory_insert", "arguments": '{"label"', "tool_call_id": "call_1"}


@pytest.mark.parametrize("after", range(11))
def test_a_resumed_stream_is_exactly_the_frames_after_the_last_one_seen(after: int) -> None:
    whole = encoded(*EVERYTHING).split(b"\n\n")
    numbered = 9
    assert encoded(*EVERYTHING, after=after).split(b"\n\n") == whole[min(after, numbered) :]


def test_frames_that_are_not_shown_are_not_counted() -> None:
    body = encoded(*EVERYTHING, include_return_message_types=("assistant_message",))
    assert contents(body, "seq_id") == [1, 2]
    assert contents(body) == ["done"]


def test_summaries_are_shown_to_those_who_ask() -> None:
    assert contents(encoded(MessageAdded(SUMMARY)), "summary") == []
    assert contents(encoded(MessageAdded(SUMMARY), include_compaction_messages=True), "summary") == ["They met."]


def test_a_sign_of_life_repeats_the_last_number() -> None:
    frames = Frames("run-45d0", RequestConfig())
    frames.encode([STARTED, text("a")])
    ping = parse_frames(frames.keep_alive())[0][0].data
    assert (ping["message_type"], ping["seq_id"], ping["run_id"]) == ("ping", 2, "run-45d0")


def test_what_the_message_tool_says_is_streamed_as_it_is_written() -> None:
    pieces = ['{"mess', 'age": "', "Hel", "lo \\ud8", '3d\\ude00"', "}"]
    assert contents(encoded(*(call(piece) for piece in pieces))) == ["Hel", "lo ", "😀"]


def test_calls_of_the_message_tool_side_by_side_do_not_mix() -> None:
    other = OTID[:-2] + "01"
    events = [call('{"message": "a'), call('{"message": "x', otid=other), call('b"}'), call('y"}', otid=other)]
    assert contents(encoded(*events)) == ["a", "x", "b", "y"]


def test_the_message_tool_is_a_tool_like_any_other_for_those_who_ask() -> None:
    body = encoded(call('{"message": "Hi"}'), use_assistant_message=False)
    assert contents(body, "message_type") == ["tool_call_message"]
