"""Events of the Messages dialect, and what the port's events of them are."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tertulia.domain.errors import (
    ProviderConnectionLost,
    ProviderError,
    ProviderFailed,
    ProviderMalformedReply,
    ProviderOverloaded,
    ProviderRateLimited,
)
from tertulia.domain.runs import Usage
from tertulia.ports.provider import (
    Finished,
    FinishReason,
    HiddenReasoningPiece,
    NativeItem,
    ProviderEvent,
    ReasoningPiece,
    TextPiece,
    ToolCallPiece,
)
from tertulia.providers.anthropic.stream import ReplyReader, usage_of
from tertulia.providers.failures import Subject
from tertulia.providers.http.sse import EventDecoder
from tests.support.anthropic_raw import PING, START, STOP, WHOLE, begun, ended, event, filled, stopped

SUBJECT = Subject(name="anthropic", endpoint="http://127.0.0.1:1", key_hint="Set KEY.", model="m")


def read(chunks: Sequence[bytes]) -> list[ProviderEvent]:
    """What comes of a stream that arrives in these chunks."""
    decoder, reader = EventDecoder(), ReplyReader(SUBJECT)
    events = [found for chunk in chunks for data in decoder.feed(chunk) for found in reader.read(data)]
    events += [found for data in decoder.finish() for found in reader.read(data)]
    return [*events, *reader.finish("req_1")]


def finished(events: Sequence[ProviderEvent]) -> Finished:
    last = events[-1]
    assert isinstance(last, Finished)
    return last


CUTS: dict[str, Callable[[bytes], list[bytes]]] = {
    "an event each": lambda _: list(WHOLE),
    "all at once": lambda whole: [whole],
    "byte by byte": lambda whole: [bytes([byte]) for byte in whole],
    "within a character": lambda whole: [whole[: whole.index(b"\xc3") + 1], whole[whole.index(b"\xc3") + 1 :]],
    "seven bytes each": lambda whole: [whole[start : start + 7] for start in range(0, len(whole), 7)],
    "CRLF": lambda whole: [whole.replace(b"\n", b"\r\n")],
    "no event names": lambda whole: [b"\n".join(line for line in whole.split(b"\n") if not line.startswith(b"event"))],
    "no last line end": lambda whole: [whole.rstrip()],
}


@pytest.mark.parametrize("cut", CUTS)
def test_a_reply_is_the_same_however_it_is_cut(cut: str) -> None:
    events = read(CUTS[cut](b"".join(WHOLE)))
    assert events[:-1] == [TextPiece("Hél"), TextPiece("lo")]
    assert finished(events).request_id == "req_1"
    assert finished(events).reply["content"] == [{"type": "text", "text": "Héllo"}]


def test_thinking_comes_in_pieces_and_each_block_with_its_own_signature() -> None:
    events = read(
        [
            START,
            begun(0, "thinking", thinking="", signature=""),
            filled(0, "thinking", thinking="Let me "),
            filled(0, "thinking", thinking="see."),
            filled(0, "signature", signature="first+/="),
            ended(0),
            begun(1, "redacted_thinking", data="opaque=="),
            ended(1),
            begun(2, "thinking", thinking="", signature=""),
            filled(2, "signature", signature="sec"),
            filled(2, "signature", signature="ond"),
            ended(2),
            stopped(),
            STOP,
        ]
    )
    assert events[:-1] == [
        ReasoningPiece("Let me "),
        ReasoningPiece("see."),
        ReasoningPiece("", "first+/="),
        HiddenReasoningPiece("opaque=="),
        ReasoningPiece("", "second"),
    ]
    assert finished(events).reply["content"][0] == {
        "type": "thinking",
        "thinking": "Let me see.",
        "signature": "first+/=",
    }


def test_thinking_that_comes_with_the_beginning_of_its_block_is_kept() -> None:
    events = read([START, begun(0, "thinking", thinking="Hm.", signature="s"), ended(0), stopped(), STOP])
    assert events[:-1] == [ReasoningPiece("Hm."), ReasoningPiece("", "s")]


@pytest.mark.parametrize(
    ("deltas", "given", "arguments"),
    [
        (("", '{"a"', ": 1}"), {}, '{"a": 1}'),
        ((), {}, "{}"),
        (("",), {}, "{}"),
        ((), {"a": 1}, '{"a":1}'),
        (('{"a": ',), {}, '{"a": '),
    ],
)
def test_the_arguments_of_a_call_are_the_models_own_text(deltas: Sequence[str], given: Any, arguments: str) -> None:
    pieces = [filled(0, "input_json", partial_json=delta) for delta in deltas]
    events = read(
        [START, begun(0, "tool_use", id="toolu_1", name="f", input=given), *pieces, ended(0), stopped("tool_use")]
    )
    first, *rest = events[:-1]
    assert first == ToolCallPiece(0, "", "toolu_1", "f")
    assert "".join(piece.arguments for piece in rest if isinstance(piece, ToolCallPiece)) == arguments
    assert finished(events).reason == "tool_calls"


def test_calls_are_numbered_among_themselves() -> None:
    blocks = [
        chunk
        for index, name in ((1, "f"), (3, "g"))
        for chunk in (begun(index, "tool_use", id=name, name=name, input={}), ended(index))
    ]
    events = read([START, begun(0, "text", text="Well. "), ended(0), *blocks, stopped("tool_use"), STOP])
    assert [event.index for event in events if isinstance(event, ToolCallPiece)] == [0, 0, 1, 1]
    assert events[0] == TextPiece("Well. ")


def test_a_block_of_an_unknown_kind_is_kept_as_it_is() -> None:
    block: dict[str, Any] = {"id": "srv_1", "name": "web_search", "input": {}}
    events = read(
        [
            START,
            begun(0, "server_tool_use", **block),
            filled(0, "input_json", partial_json='{"query": "tea"}'),
            ended(0),
            begun(1, "web_search_tool_result", tool_use_id="srv_1", content=[]),
            ended(1),
            stopped("pause_turn"),
            STOP,
        ]
    )
    assert events[:-1] == [
        NativeItem({"type": "server_tool_use", **block, "input": {"query": "tea"}}),
        NativeItem({"type": "web_search_tool_result", "tool_use_id": "srv_1", "content": []}),
    ]
    assert finished(events).reason == "stop"


def test_unknown_events_and_deltas_are_passed_over() -> None:
    strange = [event("something_new", index=7), filled(0, "new", novelty=1), filled(9, "text", text="nowhere"), PING]
    events = read([START, begun(0, "text", text=""), *strange, filled(0, "text", text="a"), ended(0), stopped(), STOP])
    assert events[:-1] == [TextPiece("a")]


def test_citations_are_kept_in_the_reply() -> None:
    cited = [filled(0, "citations", citation={"cited_text": "x"}), filled(0, "citations", citation={"cited_text": "y"})]
    events = read([START, begun(0, "text", text=""), filled(0, "text", text="a"), *cited, ended(0), stopped(), STOP])
    block = {"type": "text", "text": "a", "citations": [{"cited_text": "x"}, {"cited_text": "y"}]}
    assert finished(events).reply["content"] == [block]


@pytest.mark.parametrize(
    ("stop_reason", "reason"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("pause_turn", "stop"),
        ("something_new", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("refusal", "content_filter"),
    ],
)
def test_every_stop_reason_has_its_meaning(stop_reason: str, reason: FinishReason) -> None:
    events = read([START, stopped(stop_reason), STOP])
    assert finished(events).reason == reason
    assert finished(events).reply["stop_reason"] == stop_reason


@pytest.mark.parametrize(
    ("counts", "usage"),
    [
        (
            {"input_tokens": 3, "output_tokens": 2},
            Usage(prompt_tokens=3, completion_tokens=2, total_tokens=5),
        ),
        (
            {
                "input_tokens": 3,
                "cache_read_input_tokens": 100,
                "cache_creation_input_tokens": 20,
                "output_tokens": 7,
                "output_tokens_details": {"thinking_tokens": 4},
            },
            Usage(
                prompt_tokens=123,
                completion_tokens=7,
                total_tokens=130,
                cached_input_tokens=100,
                cache_write_tokens=20,
                reasoning_tokens=4,
            ),
        ),
    ],
)
def test_what_the_cache_held_is_part_of_the_prompt(counts: dict[str, Any], usage: Usage) -> None:
    assert usage_of(counts) == usage


def test_later_counts_replace_earlier_ones() -> None:
    assert finished(read([START, stopped(output_tokens=9), STOP])).usage == Usage(
        prompt_tokens=3, completion_tokens=9, total_tokens=12
    )


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"type": "overloaded_error", "message": "Overloaded"}, ProviderOverloaded),
        ({"type": "rate_limit_error", "message": "slow down"}, ProviderRateLimited),
        ({"type": "api_error", "message": "Internal server error"}, ProviderFailed),
        (None, ProviderFailed),
    ],
)
def test_an_error_in_the_middle_is_raised_as_what_it_is(error: Any, kind: type[ProviderError]) -> None:
    reader = ReplyReader(SUBJECT)
    reader.read(START.partition(b"data:")[2])
    with pytest.raises(kind) as caught:
        reader.read(event("error", error=error).partition(b"data:")[2])
    assert type(caught.value) is kind


def test_a_stream_that_ends_too_early_is_a_lost_connection() -> None:
    for end in range(1, len(WHOLE) - 2):
        with pytest.raises(ProviderConnectionLost):
            read(WHOLE[:end])
    assert read(WHOLE[:-1])[:-1] == [TextPiece("Hél"), TextPiece("lo")]  # nothing is missing without message_stop


@pytest.mark.parametrize("junk", [b"data: <html>\n\n", b'data: {"type": 5}\n\n', b"data: \xff\xfe\n\n"])
def test_what_is_no_event_is_malformed(junk: bytes) -> None:
    with pytest.raises(ProviderMalformedReply):
        read([START, junk])


def test_nothing_at_all_is_malformed() -> None:
    with pytest.raises(ProviderMalformedReply, match="empty reply"):
        read([])


def test_a_call_without_a_name_is_malformed() -> None:
    with pytest.raises(ProviderMalformedReply, match="without a name"):
        read([START, begun(0, "tool_use", id="x", input={})])
