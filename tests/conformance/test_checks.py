"""The checks themselves: what they let pass and what they report."""

import json
from typing import Any

import pytest

from tests.conformance.schema import Json, find_operation, find_problems, reference
from tests.conformance.streams import DONE, find_stream_problems
from tests.conformance.wire import find_error_problems

MESSAGE: dict[str, Any] = {
    "id": "message-1",
    "date": "2026-11-21T15:12:36+00:00",
    "name": None,
    "message_type": "assistant_message",
    "otid": None,
    "sender_id": None,
    "step_id": None,
    "is_err": None,
    "seq_id": None,
    "run_id": "run-1",
    "content": "hi",
}
PING: dict[str, Any] = {key: value for key, value in MESSAGE.items() if key != "content"} | {"message_type": "ping"}
STOP: dict[str, Any] = {"message_type": "stop_reason", "stop_reason": "end_turn"}
USAGE: dict[str, Any] = {
    "message_type": "usage_statistics",
    "completion_tokens": 1,
    "prompt_tokens": 1,
    "total_tokens": 2,
    "step_count": 1,
    "run_ids": None,
    "cached_input_tokens": None,
    "cache_write_tokens": None,
    "reasoning_tokens": None,
    "context_tokens": None,
}
ERROR: dict[str, Any] = {
    "message_type": "error_message",
    "run_id": "run-1",
    "error_type": "llm_error",
    "message": "m",
    "detail": "d",
    "seq_id": None,
}


def _kinds(value: Json, schema: str) -> list[tuple[str, str]]:
    return [(problem.path, problem.kind) for problem in find_problems(value, reference(schema))]


def test_a_whole_message_has_no_problems() -> None:
    assert _kinds(MESSAGE, "LettaMessage") == []


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"surprise": 1}, ("$.surprise", "unknown")),
        ({"content": 3}, ("$.content", "wrong")),
        ({"date": "2026-11-21T15:12:36.000000Z"}, ("$.date", "wrong")),
        ({"seq_id": True}, ("$.seq_id", "wrong")),
    ],
)
def test_a_deviation_is_reported_with_its_place(change: dict[str, Any], problem: tuple[str, str]) -> None:
    assert _kinds(MESSAGE | change, "LettaMessage") == [problem]


def test_an_absent_field_is_missing_even_if_it_may_be_null() -> None:
    value = {key: item for key, item in MESSAGE.items() if key != "otid"}
    assert _kinds(value, "LettaMessage") == [("$.otid", "missing")]


def test_a_timestamp_has_microseconds_and_z() -> None:
    problems = find_problems({"created_at": "2026-11-21T15:12:36Z"}, reference("Run"))
    assert [problem.path for problem in problems if problem.kind == "wrong"] == ["$.created_at"]


def test_an_operation_is_found_by_its_path() -> None:
    found = {
        path: getattr(find_operation("GET", path), "sdk", None)
        for path in ("/v1/models/embedding", "/v1/models/", "/v1/models", "/v1/agents/agent-1/tools", "/v1/nothing")
    }
    assert list(found.values()) == ["models.embeddings.list", "models.list", "models.list", "agents.tools.list", None]


def _stream(*frames: dict[str, Any], end: bytes = DONE) -> bytes:
    lines = [
        (b"event: error\n" if frame["message_type"] == "error_message" else b"")
        + b"data: "
        + json.dumps(frame, separators=(",", ":")).encode()
        + b"\n\n"
        for frame in frames
    ]
    return b"".join(lines) + end


@pytest.mark.parametrize("frames", [(PING, MESSAGE, STOP, USAGE), (PING, STOP), (PING, STOP, ERROR)])
def test_a_stream_in_order_has_no_problems(frames: tuple[dict[str, Any], ...]) -> None:
    assert find_stream_problems(_stream(*frames), complete=True) == []


@pytest.mark.parametrize(
    "body",
    [
        _stream(MESSAGE, STOP, USAGE),
        _stream(PING, MESSAGE, USAGE, STOP),
        _stream(PING, STOP, USAGE, MESSAGE),
        _stream(PING, MESSAGE, STOP, USAGE, end=b""),
        _stream(PING, MESSAGE | {"run_id": "run-2"}, STOP, USAGE),
        _stream(PING | {"seq_id": 1}, MESSAGE | {"seq_id": 3}, STOP, USAGE),
        _stream(PING, dict(reversed(MESSAGE.items())), STOP, USAGE),
        b"id: 1\n" + _stream(PING, STOP, USAGE),
        _stream(PING, STOP, USAGE).replace(b'":', b'": ', 1),
        _stream(PING, STOP, ERROR).replace(b"event: error\n", b""),
    ],
)
def test_a_stream_out_of_form_is_reported(body: bytes) -> None:
    assert find_stream_problems(body, complete=True) != []


def test_a_stream_that_was_left_is_checked_as_far_as_it_came() -> None:
    body = _stream(PING, MESSAGE, end=b'data: {"id":"mess')
    assert find_stream_problems(body, complete=False) == []


@pytest.mark.parametrize(
    "body",
    [b"", b"Internal Server Error", b"{}", b'{"detail": []}', b'{"detail": ""}', b'{"detail": "<class \'int\'>"}'],
)
def test_an_error_without_a_sentence_or_with_our_insides_is_reported(body: bytes) -> None:
    assert find_error_problems(body) != []


def test_an_error_with_a_sentence_has_no_problems() -> None:
    assert find_error_problems(b'{"detail": "The block is too long.", "limit": 3}') == []
    assert find_error_problems(b'{"error": {"type": "llm_error", "message": "m", "detail": "d"}}') == []
