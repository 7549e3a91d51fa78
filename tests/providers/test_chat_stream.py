"""What the many servers of the dialect send, and what it comes to."""

from typing import Any

import msgspec
import pytest

from tertulia.domain.errors import (
    ContextTooLong,
    ProviderConnectionLost,
    ProviderError,
    ProviderMalformedReply,
    ProviderOverloaded,
    ProviderRateLimited,
)
from tertulia.domain.runs import Usage
from tertulia.ports.provider import (
    CitationsPiece,
    Finished,
    NativeItem,
    ProviderEvent,
    ReasoningPiece,
    TextPiece,
    ToolCallPiece,
)
from tertulia.providers.endpoint import EndpointConfig
from tertulia.providers.openai.chat_stream import ReplyReader

SUBJECT = EndpointConfig(name="box", base_url="http://127.0.0.1:1/v1").subject("some-model")


def chunk(finish: str | None = None, **delta: Any) -> dict[str, Any]:
    return {"id": "c1", "created": 5, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def call(index: int | None = None, **fields: Any) -> dict[str, Any]:
    """A delta with one piece of a tool call; name and arguments go into the function."""
    function = {key: fields.pop(key) for key in ("name", "arguments") if key in fields}
    piece = ({"index": index} if index is not None else {}) | fields | {"function": function}
    return chunk(tool_calls=[piece])


def read(
    *chunks: dict[str, Any] | bytes, done: bool = True, keeps_details: bool = False
) -> tuple[list[ProviderEvent], Finished]:
    reader = ReplyReader(SUBJECT, keeps_details=keeps_details)
    events: list[ProviderEvent] = []
    for data in chunks:
        events += reader.read(data if isinstance(data, bytes) else msgspec.json.encode(data))
    if done:
        assert reader.read(b" [DONE]") == []
    *rest, finished = reader.finish("req_1")
    assert isinstance(finished, Finished)
    return events + rest, finished


def calls_of(events: list[ProviderEvent]) -> list[tuple[str | None, str]]:
    """Name and joined arguments of each call."""
    calls: dict[int, tuple[str | None, str]] = {}
    for event in events:
        assert isinstance(event, ToolCallPiece)
        name, arguments = calls.get(event.index, (event.name, ""))
        calls[event.index] = (name, arguments + event.arguments)
    assert list(calls) == list(range(len(calls)))
    return list(calls.values())


def test_null_and_empty_content_are_no_pieces() -> None:
    events, _ = read(chunk(role="assistant", content=""), chunk(content=None), chunk(content="Hi"), chunk("stop"))
    assert events == [TextPiece("Hi")]


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_reasoning_is_known_under_both_of_its_names(name: str) -> None:
    events, finished = read(chunk(**{name: "hm"}), chunk("stop", content="yes"))
    assert events == [ReasoningPiece("hm"), TextPiece("yes")]
    assert finished.reply["choices"][0]["message"]["reasoning_content"] == "hm"


def test_reasoning_sent_under_both_names_at_once_is_read_once() -> None:
    events, _ = read(chunk(reasoning="hm", reasoning_content="hm"), chunk("stop"))
    assert events == [ReasoningPiece("hm")]


def test_details_of_reasoning_are_put_together_and_kept_for_who_wants_them_back() -> None:
    chunks = [
        chunk(
            reasoning="h",
            reasoning_details=[{"type": "reasoning.text", "text": "h", "format": "x-v1", "index": 0, "id": None}],
        ),
        chunk(reasoning="m", reasoning_details=[{"type": "reasoning.text", "text": "m", "index": 0}]),
        chunk(reasoning_details=[{"type": "reasoning.text", "signature": "sig", "index": 0}]),
        chunk(reasoning_details=[{"type": "reasoning.encrypted", "data": "abc", "id": "rs_1", "index": 1}]),
        chunk("stop", content="yes", reasoning_details=[]),
    ]
    details = [
        {"type": "reasoning.text", "text": "hm", "format": "x-v1", "index": 0, "id": None, "signature": "sig"},
        {"type": "reasoning.encrypted", "data": "abc", "id": "rs_1", "index": 1},
    ]
    said = [ReasoningPiece("h"), ReasoningPiece("m"), TextPiece("yes")]
    events, finished = read(*chunks, keeps_details=True)
    assert events == [*said, NativeItem({"reasoning_details": details})]
    assert finished.reply["choices"][0]["message"]["reasoning_details"] == details
    assert read(*chunks)[0] == said


def test_the_sources_of_a_text_are_told_after_it() -> None:
    source = {"type": "url_citation", "url_citation": {"url": "https://example.org", "title": "A page"}}
    events, _ = read(chunk(content="It says so."), chunk(annotations=[source]), chunk("stop", annotations=[]))
    assert events == [TextPiece("It says so."), CitationsPiece((source,))]


def test_content_may_be_a_list_of_thinking_and_text() -> None:
    parts = [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "yes"}]
    events, _ = read(chunk("stop", content=parts))
    assert events == [ReasoningPiece("hm"), TextPiece("yes")]


def test_a_refusal_is_shown_as_text() -> None:
    events, _ = read(chunk(refusal="I cannot."), chunk("stop"))
    assert events == [TextPiece("I cannot.")]


def test_unknown_fields_are_no_concern() -> None:
    events, _ = read({"new": 1} | chunk("stop", content="a", other={"x": []}))
    assert events == [TextPiece("a")]


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param([call(0, id="a", name="f", arguments=""), call(0, arguments='{"x"'), call(0, arguments=":1}")]),
        pytest.param([call(0, id="a", name="f", arguments='{"x":1}')], id="whole"),
        pytest.param([call(id="a", name="f", arguments='{"x"'), call(arguments=":1}")], id="no index"),
        pytest.param([call(name="f", arguments='{"x":1}')], id="no index, no id"),
        pytest.param([call(0, name="f"), call(0, arguments='{"x":1}')], id="no id"),
        pytest.param([call(0, id="", name="f", arguments='{"x":1}')], id="empty id"),
        pytest.param([call(3, id="a", name="f", arguments='{"x":1}')], id="indices that start anywhere"),
        pytest.param([call(0, id="a", name="f", arguments={"x": 1})], id="arguments as an object"),
        pytest.param([call(0, id="a"), call(0, arguments='{"x"'), call(0, name="f", arguments=":1}")], id="late name"),
        pytest.param(
            [call(0, id="a", name="f", arguments='{"x"'), call(0, id="a", name="f", arguments=":1}")],
            id="id and name again on each piece",
        ),
    ],
)
def test_one_tool_call_is_one_however_it_is_told(pieces: list[dict[str, Any]]) -> None:
    events, finished = read(*pieces, chunk("tool_calls"))
    assert calls_of(events) == [("f", '{"x":1}')]
    first = events[0]
    assert isinstance(first, ToolCallPiece)
    assert first.id
    assert finished.reason == "tool_calls"
    assert finished.reply["choices"][0]["message"]["tool_calls"] == [
        {"id": first.id, "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}}
    ]


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param([call(0, id="a", name="f", arguments="{}"), call(0, id="b", name="g", arguments="{}")]),
        pytest.param([call(id="a", name="f", arguments="{}"), call(id="b", name="g", arguments="{}")], id="no index"),
        pytest.param([call(name="f", arguments="{}"), call(name="g", arguments="{}")], id="no index, no id"),
        pytest.param([call(1, id="a", name="f", arguments="{}"), call(0, id="b", name="g", arguments="{}")]),
        pytest.param(
            [call(0, id="a", name="f"), call(1, id="b", name="g"), call(1, arguments="{}"), call(0, arguments="{}")]
        ),
    ],
)
def test_two_tool_calls_are_two_however_they_are_told(pieces: list[dict[str, Any]]) -> None:
    events, _ = read(*pieces, chunk("tool_calls"))
    assert calls_of(events) == [("f", "{}"), ("g", "{}")]


def test_a_tool_call_without_arguments_has_an_empty_object() -> None:
    events, _ = read(call(0, id="a", name="f"), chunk("tool_calls"))
    assert calls_of(events) == [("f", "{}")]


def test_a_tool_call_without_a_name_is_malformed() -> None:
    with pytest.raises(ProviderMalformedReply, match="without a name"):
        read(call(0, id="a", arguments="{}"), chunk("tool_calls"))


@pytest.mark.parametrize(
    ("told", "meant"),
    [
        ("stop", "stop"),
        ("eos", "stop"),
        ("end_turn", "stop"),
        ("length", "length"),
        ("max_tokens", "length"),
        ("content_filter", "content_filter"),
        ("tool_calls", "stop"),
    ],
)
def test_finish_reasons_of_a_reply_of_text(told: str, meant: str) -> None:
    assert read(chunk(content="a"), chunk(told))[1].reason == meant


def test_a_reply_with_calls_ends_for_its_calls_even_where_the_server_says_stop() -> None:
    assert read(call(0, id="a", name="f", arguments="{}"), chunk("stop"))[1].reason == "tool_calls"


NO_CHOICES: list[dict[str, Any]] = []
USAGE = {
    "prompt_tokens": 9,
    "completion_tokens": 3,
    "total_tokens": 12,
    "prompt_tokens_details": {"cached_tokens": 4},
    "completion_tokens_details": {"reasoning_tokens": 2},
}


@pytest.mark.parametrize(
    "chunks",
    [
        pytest.param([chunk("stop"), {"choices": NO_CHOICES, "usage": USAGE}], id="a chunk of its own"),
        pytest.param([chunk("stop") | {"usage": USAGE}], id="the last choice"),
        pytest.param([chunk(content="a") | {"usage": {"prompt_tokens": 1}}, chunk("stop") | {"usage": USAGE}]),
    ],
)
def test_usage_is_found_wherever_it_is(chunks: list[dict[str, Any]]) -> None:
    assert read(*chunks)[1].usage == Usage(
        prompt_tokens=9, completion_tokens=3, total_tokens=12, cached_input_tokens=4, reasoning_tokens=2
    )


def test_no_usage_is_no_usage() -> None:
    assert read(chunk("stop"))[1].usage is None


def test_counts_under_other_names_are_understood() -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 1, "prompt_cache_hit_tokens": 5, "prompt_tokens_details": None}
    assert read(chunk("stop") | {"usage": usage})[1].usage == Usage(
        prompt_tokens=9, completion_tokens=1, total_tokens=10, cached_input_tokens=5
    )


def test_the_reply_is_kept_as_it_would_have_come_in_one_piece() -> None:
    _, finished = read(chunk(content="a"), chunk(content="b"), chunk("stop") | {"usage": USAGE})
    assert finished.request_id == "req_1"
    assert finished.reply == {
        "id": "c1",
        "created": 5,
        "object": "chat.completion",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "ab"}, "finish_reason": "stop"}],
        "usage": USAGE,
    }


def test_a_server_that_does_not_stream_is_understood() -> None:
    message = {"role": "assistant", "content": "Hi", "tool_calls": None}
    reply = {"id": "x", "object": "chat.completion", "choices": [{"message": message, "finish_reason": "stop"}]}
    events, finished = read(reply, done=False)
    assert events == [TextPiece("Hi")]
    assert finished.reason == "stop"


def test_done_is_optional_after_a_finish_reason_and_a_finish_reason_before_done() -> None:
    assert read(chunk(content="a"), chunk("stop"), done=False)[1].reason == "stop"
    assert read(chunk(content="a"), done=True)[1].reason == "stop"


def test_a_stream_that_ends_before_the_reply_does_is_a_lost_connection() -> None:
    with pytest.raises(ProviderConnectionLost):
        read(chunk(content="Once"), done=False)


def test_a_stream_of_nothing_is_malformed() -> None:
    with pytest.raises(ProviderMalformedReply):
        read(done=False)


@pytest.mark.parametrize(
    "data",
    [b'{"choices": [{"del', b"42", b'{"choices": "none"}', b"nonsense", b'{"choices":[{"delta":{"content":[1]}}]}'],
)
def test_what_is_no_chunk_is_malformed_and_quoted(data: bytes) -> None:
    with pytest.raises(ProviderMalformedReply) as caught:
        read(data)
    assert caught.value.detail


def test_chunks_without_an_empty_line_between_them_are_taken_apart() -> None:
    joined = b"\n".join(map(msgspec.json.encode, (chunk(content="a"), chunk("stop", content="b")))) + b"\n [DONE]"
    assert read(joined, done=False)[0] == [TextPiece("a"), TextPiece("b")]


@pytest.mark.parametrize("broken", [b"a\\ud83d", b"a\xff", b"a\xe2\x82"])
def test_half_a_character_does_not_end_the_reply(broken: bytes) -> None:
    events, _ = read(b'{"choices":[{"delta":{"content":"' + broken + b'"},"finish_reason":"stop"}]}')
    assert events == [TextPiece("a\ufffd")]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"error": {"message": "exploded", "type": "server_error"}}, ProviderError),
        ({"error": "exploded"}, ProviderError),
        ({"object": "error", "message": "exploded", "code": 50001}, ProviderError),
        ({"error": {"message": "The server is overloaded", "code": 503}}, ProviderOverloaded),
        ({"error": {"message": "exploded", "code": "429"}}, ProviderRateLimited),
        ({"error": {"message": "Rate limit reached", "type": "rate_limit_error"}}, ProviderRateLimited),
        ({"error": {"message": "too long", "code": "context_length_exceeded"}}, ContextTooLong),
        ({"choices": [{"error": {"message": "exploded", "code": 502}, "finish_reason": "error"}]}, ProviderError),
    ],
)
def test_an_error_in_the_stream_is_raised_with_the_servers_words(error: dict[str, Any], kind: type[Exception]) -> None:
    with pytest.raises(kind) as caught:
        read(chunk(content="Once"), error)
    assert isinstance(caught.value, ProviderError)
    assert caught.value.detail in {"exploded", "too long", "The server is overloaded", "Rate limit reached"}


def test_log_probabilities_are_gathered_from_all_chunks() -> None:
    def piece(*tokens: str, finish: str | None = None) -> dict[str, Any]:
        made = chunk(finish, content="".join(tokens))
        made["choices"][0]["logprobs"] = {"content": [{"token": token, "logprob": -0.5} for token in tokens]}
        return made

    _, finished = read(piece("a", "b"), piece("c", finish="stop"))
    assert finished.logprobs is not None
    assert [entry["token"] for entry in finished.logprobs["content"]] == ["a", "b", "c"]
    assert finished.logprobs["refusal"] is None
    assert read(chunk(content="a"), chunk("stop"))[1].logprobs is None
