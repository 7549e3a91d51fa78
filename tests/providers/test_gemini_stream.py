"""Chunks of the Gemini dialect, and what the port's events of them are."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest

from tertulia.domain.errors import (
    ProviderBadRequest,
    ProviderConnectionLost,
    ProviderContentFiltered,
    ProviderError,
    ProviderMalformedReply,
    ProviderOverloaded,
    ProviderPermissionError,
)
from tertulia.domain.runs import Usage
from tertulia.ports.provider import (
    CitationsPiece,
    Finished,
    FinishReason,
    NativeItem,
    ProviderEvent,
    ReasoningPiece,
    TextPiece,
    ToolCallPiece,
)
from tertulia.providers.failures import Subject
from tertulia.providers.gemini.encoding import UNNAMED
from tertulia.providers.gemini.stream import ReplyReader, usage_of
from tertulia.providers.http.sse import EventDecoder
from tests.support.gemini_raw import WHOLE, event, parts, said, stopped

SUBJECT = Subject(name="google_ai", endpoint="http://127.0.0.1:1", key_hint="Set KEY.", model="m")


def read(chunks: Sequence[bytes]) -> list[ProviderEvent]:
    """What comes of a stream that arrives in these chunks."""
    decoder, reader = EventDecoder(), ReplyReader(SUBJECT)
    events = [found for chunk in chunks for data in decoder.feed(chunk) for found in reader.read(data)]
    events += [found for data in decoder.finish() for found in reader.read(data)]
    return [*events, *reader.finish()]


def finished(events: Sequence[ProviderEvent]) -> Finished:
    last = events[-1]
    assert isinstance(last, Finished)
    return last


def parts_of(events: Sequence[ProviderEvent]) -> list[dict[str, Any]]:
    """The parts of the whole reply, as the trace has it."""
    return finished(events).reply["candidates"][0]["content"]["parts"]


CUTS: dict[str, Callable[[bytes], list[bytes]]] = {
    "an event each": lambda _: list(WHOLE),
    "all at once": lambda whole: [whole],
    "byte by byte": lambda whole: [bytes([byte]) for byte in whole],
    "within a character": lambda whole: [whole[: whole.index(b"\xc3") + 1], whole[whole.index(b"\xc3") + 1 :]],
    "seven bytes each": lambda whole: [whole[start : start + 7] for start in range(0, len(whole), 7)],
    "LF": lambda whole: [whole.replace(b"\r\n", b"\n")],
    "no last line end": lambda whole: [whole.rstrip()],
    "an end like OpenAI's": lambda whole: [whole, b"data: [DONE]\n\n"],
    "unknown fields and events": lambda whole: [event(news={"a": 1}), whole, event(candidates=[], later=True)],
}


@pytest.mark.parametrize("cut", CUTS)
def test_a_reply_is_the_same_however_it_is_cut(cut: str) -> None:
    events = read(CUTS[cut](b"".join(WHOLE)))
    assert events[:-1] == [TextPiece("Hél"), TextPiece("lo")]
    assert finished(events).request_id == "resp_1"
    assert parts_of(events) == [{"text": "Héllo"}]


def test_thoughts_are_told_apart_from_text() -> None:
    events = read(
        [parts({"text": "Hm. ", "thought": True}), parts({"text": "So.", "thought": True}), said("Ja"), stopped()]
    )
    assert events[:-1] == [ReasoningPiece("Hm. "), ReasoningPiece("So."), TextPiece("Ja")]
    assert parts_of(events) == [{"text": "Hm. So.", "thought": True}, {"text": "Ja"}]


@pytest.mark.parametrize(
    ("chunks", "pieces"),
    [
        ([said("Ja", finishReason="STOP")], [TextPiece("Ja")]),
        ([parts({"text": "Ja", "thoughtSignature": "s=="})], [TextPiece("Ja", "s==")]),
        (
            [said("J"), parts({"text": "a", "thoughtSignature": "s=="})],
            [TextPiece("J"), TextPiece("a", "s==#1")],
        ),
        (
            [said("Ja"), parts({"text": "", "thoughtSignature": "s=="})],
            [TextPiece("Ja"), TextPiece("", "s==#0")],
        ),
        ([parts({"text": "", "thoughtSignature": "s=="})], [TextPiece("", "s==")]),
        (
            [parts({"text": "a", "thoughtSignature": "1"}, {"text": "b", "thoughtSignature": "2"})],
            [TextPiece("a", "1"), TextPiece("b", "2")],
        ),
        (
            [said("x"), parts({"text": "Hm.", "thought": True, "thoughtSignature": "s=="})],
            [TextPiece("x"), ReasoningPiece("Hm.", "s==")],
        ),
        (
            [parts({"text": "Hm. ", "thought": True}, {"text": "So.", "thought": True, "thoughtSignature": "s=="})],
            [ReasoningPiece("Hm. "), ReasoningPiece("So.", "s==#3")],
        ),
        ([parts({"text": ""}, {"text": "a"}), parts({"text": ""})], [TextPiece("a")]),
    ],
)
def test_a_signature_is_of_the_part_it_comes_on(chunks: list[bytes], pieces: list[ProviderEvent]) -> None:
    assert read([*chunks, stopped()])[:-1] == pieces


def test_calls_come_whole_with_their_signatures() -> None:
    first = {"functionCall": {"id": "jm4o", "name": "f", "args": {"a": 1.50, "ü": [None]}}, "thoughtSignature": "s=="}
    second = {"functionCall": {"name": "g"}}
    events = read([parts(first, second), stopped()])
    one, two = events[:-1]
    assert one == ToolCallPiece(0, '{"a":1.5,"ü":[null]}', "jm4o", "f", "s==")
    assert isinstance(two, ToolCallPiece)
    assert (two.index, two.arguments, two.name, two.signature) == (1, "{}", "g", None)
    assert (two.id or "").startswith(UNNAMED)
    assert finished(events).reason == "tool_calls"
    assert parts_of(events) == [first, {"functionCall": {"name": "g", "args": {}}}]


def test_arguments_are_kept_as_they_were_written() -> None:
    call = b'{"functionCall":{"name":"f","args":{"b": 1.50,  "a":"\\u00e9"}}}'
    piece = read([b'data: {"candidates":[{"content":{"parts":[%b]}}]}\n\n' % call, stopped()])[0]
    assert isinstance(piece, ToolCallPiece)
    assert piece.arguments == '{"b": 1.50,  "a":"\\u00e9"}'


def test_what_is_neither_text_nor_call_is_kept_as_it_is() -> None:
    code = {"executableCode": {"language": "PYTHON", "code": "1"}, "thoughtSignature": "s=="}
    picture = {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}
    events = read([said("a"), parts(code, picture, {}), said("b"), stopped()])
    assert events[:-1] == [TextPiece("a"), NativeItem(code), NativeItem(picture), TextPiece("b")]


def test_sources_are_told_after_the_text() -> None:
    source = {"startIndex": 0, "endIndex": 9, "uri": "https://a.example"}
    ground = {"groundingChunks": [{"web": {"uri": "https://b.example", "title": "B"}}], "webSearchQueries": ["b"]}
    chunks = [said("a", citationMetadata={"citationSources": [source]}), said("b", groundingMetadata=ground), stopped()]
    *_, cited, last = read(chunks)
    assert cited == CitationsPiece((source, {"groundingMetadata": ground}))
    assert isinstance(last, Finished)
    assert last.reply["candidates"][0]["groundingMetadata"] == ground


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("STOP", "stop"),
        ("OTHER", "stop"),
        ("SOMETHING_NEW", "stop"),
        ("MAX_TOKENS", "length"),
        *((reason, "content_filter") for reason in ("SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII")),
    ],
)
def test_reasons_to_finish_are_told_in_the_ports_words(reason: str, told: FinishReason) -> None:
    assert finished(read([said("a"), stopped(reason)])).reason == told


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("MALFORMED_FUNCTION_CALL", ProviderMalformedReply),
        ("UNEXPECTED_TOOL_CALL", ProviderMalformedReply),
        ("MISSING_THOUGHT_SIGNATURE", ProviderBadRequest),
        ("PUP_LIMITED_DISABLED", ProviderPermissionError),
    ],
)
def test_some_reasons_are_failures(reason: str, kind: type[ProviderError]) -> None:
    with pytest.raises(kind) as caught:
        read([said("a"), event(candidates=[{"finishReason": reason, "finishMessage": "print(f(1"}])])
    assert caught.value.detail == "print(f(1"


def test_a_prompt_that_is_blocked_is_filtered() -> None:
    with pytest.raises(ProviderContentFiltered, match="PROHIBITED_CONTENT"):
        read([event(promptFeedback={"blockReason": "PROHIBITED_CONTENT"}, usageMetadata={"promptTokenCount": 4})])


def test_an_error_in_the_middle_is_what_it_says() -> None:
    with pytest.raises(ProviderOverloaded):
        read([said("a"), event(error={"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"})])


@pytest.mark.parametrize(
    ("chunks", "kind"),
    [
        ([], ProviderMalformedReply),
        ([event(news=1)], ProviderMalformedReply),
        ([said("a")], ProviderConnectionLost),
        ([said("a", finishReason="FINISH_REASON_UNSPECIFIED")], ProviderConnectionLost),
        ([b"data: {\n\n"], ProviderMalformedReply),
        ([b'data: {"candidates": 1}\n\n'], ProviderMalformedReply),
        ([parts({"text": 1})], ProviderMalformedReply),
        ([parts({"functionCall": {"args": {}}})], ProviderMalformedReply),
    ],
)
def test_what_is_no_reply_or_no_whole_one_is_told(chunks: list[bytes], kind: type[ProviderError]) -> None:
    with pytest.raises(kind):
        read(chunks)


def test_counts_of_later_chunks_replace_those_of_earlier_ones() -> None:
    early = event(candidates=[], usageMetadata={"promptTokenCount": 9, "totalTokenCount": 9})
    last = stopped(promptTokenCount=9, candidatesTokenCount=4, thoughtsTokenCount=6, totalTokenCount=19)
    assert finished(read([early, said("a"), last])).usage == Usage(
        prompt_tokens=9, completion_tokens=10, total_tokens=19, reasoning_tokens=6
    )


def test_all_that_was_read_is_the_prompt_and_all_that_was_written_the_completion() -> None:
    counts = {
        "promptTokenCount": 100,
        "cachedContentTokenCount": 80,
        "toolUsePromptTokenCount": 10,
        "candidatesTokenCount": 5,
        "thoughtsTokenCount": 7,
    }
    assert usage_of(counts) == Usage(
        prompt_tokens=110, completion_tokens=12, total_tokens=122, cached_input_tokens=80, reasoning_tokens=7
    )


def test_the_reply_of_a_trace_is_one_object() -> None:
    reply = finished(read([event(modelVersion="gemini-3", responseId="r"), *WHOLE])).reply
    assert reply == msgspec.json.decode(msgspec.json.encode(reply))
    assert reply["modelVersion"] == "gemini-3"
    assert reply["candidates"][0]["finishReason"] == "STOP"
