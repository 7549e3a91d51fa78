"""The events of a ConverseStream, as the SDK reads them, to the port's events."""

from typing import Any

import pytest

from tertulia.domain.errors import ProviderConnectionLost, ProviderError, ProviderFailed, ProviderMalformedReply
from tertulia.domain.runs import Usage
from tertulia.ports.provider import (
    CitationsPiece,
    Finished,
    HiddenReasoningPiece,
    ProviderEvent,
    ReasoningPiece,
    TextPiece,
    ToolCallPiece,
)
from tertulia.providers.bedrock.stream import ReplyReader, usage_of
from tertulia.providers.bedrock.whole import events_of
from tertulia.providers.failures import Subject

SUBJECT = Subject(name="bedrock", endpoint="https://bedrock", key_hint="Set a key.", model="amazon.nova-pro-v1:0")
Fields = dict[str, Any]


def begun(index: int, call_id: str, name: str | None, **fields: Any) -> Fields:
    start = {"toolUse": {"toolUseId": call_id, "name": name, **fields}}
    return {"contentBlockStart": {"contentBlockIndex": index, "start": start}}


def filled(index: int, **delta: Any) -> Fields:
    return {"contentBlockDelta": {"contentBlockIndex": index, "delta": delta}}


def reasoned(index: int, **delta: Any) -> Fields:
    return filled(index, reasoningContent=delta)


def ended(index: int) -> Fields:
    return {"contentBlockStop": {"contentBlockIndex": index}}


START = {"messageStart": {"role": "assistant"}}
COUNTS = {"inputTokens": 3, "outputTokens": 4, "totalTokens": 7}
METADATA = {"metadata": {"usage": COUNTS, "metrics": {"latencyMs": 1}}}


def stop(reason: str = "end_turn") -> Fields:
    return {"messageStop": {"stopReason": reason}}


def read(*events: Fields) -> list[ProviderEvent]:
    reader = ReplyReader(SUBJECT)
    found = [event for told in (START, *events) for event in reader.read(told)]
    return [*found, *reader.finish("req-1")]


def finished(*events: Fields) -> Finished:
    last = read(*events)[-1]
    assert isinstance(last, Finished)
    return last


def test_text_and_reasoning_come_as_they_are_told() -> None:
    events = read(
        reasoned(0, text="Hm. "),
        reasoned(0, text="Yes."),
        reasoned(0, signature="sig"),
        reasoned(0, signature="+/="),
        ended(0),
        reasoned(1, redactedContent=b"\x00\xff"),
        reasoned(1, redactedContent=b"\x01"),
        ended(1),
        filled(2, text="Hé"),
        filled(2, text="llo"),
        ended(2),
        stop(),
        METADATA,
    )
    assert events[:-1] == [
        ReasoningPiece("Hm. "),
        ReasoningPiece("Yes."),
        ReasoningPiece("", "sig+/="),
        HiddenReasoningPiece("AP8B"),
        TextPiece("Hé"),
        TextPiece("llo"),
    ]
    last = events[-1]
    assert isinstance(last, Finished)
    assert (last.reason, last.request_id) == ("stop", "req-1")
    assert last.usage == Usage(prompt_tokens=3, completion_tokens=4, total_tokens=7)
    assert last.reply == {
        "output": {
            "message": {
                "role": "assistant",
                "content": [
                    {"reasoningContent": {"reasoningText": {"text": "Hm. Yes.", "signature": "sig+/="}}},
                    {"reasoningContent": {"redactedContent": "AP8B"}},
                    {"text": "Héllo"},
                ],
            }
        },
        "stopReason": "end_turn",
        **METADATA["metadata"],
    }


def test_calls_keep_their_index_and_a_call_without_arguments_gets_none() -> None:
    events = read(
        filled(0, text="Let me see."),
        ended(0),
        begun(1, "a", "look"),
        filled(1, toolUse={"input": ""}),
        filled(1, toolUse={"input": '{"at": '}),
        begun(2, "b", "wait"),
        filled(1, toolUse={"input": '"é"}'}),
        ended(1),
        ended(2),
        stop("tool_use"),
    )
    assert events[1:-1] == [
        ToolCallPiece(0, "", "a", "look"),
        ToolCallPiece(0, '{"at": '),
        ToolCallPiece(1, "", "b", "wait"),
        ToolCallPiece(0, '"é"}'),
        ToolCallPiece(1, "{}"),
    ]
    last = events[-1]
    assert isinstance(last, Finished)
    assert last.reason == "tool_calls"
    assert [block["toolUse"]["input"] for block in last.reply["output"]["message"]["content"][1:]] == [{"at": "é"}, {}]


def test_arguments_that_are_no_json_are_kept_as_they_came() -> None:
    last = finished(begun(0, "a", "look"), filled(0, toolUse={"input": '{"at'}), stop("max_tokens"))
    assert last.reason == "length"
    assert last.reply["output"]["message"]["content"][0]["toolUse"]["input"] == '{"at'


def test_citations_follow_the_text_they_are_of() -> None:
    source = {"title": "Tea", "location": {"web": {"url": "https://tea.example"}}}
    events = read(filled(0, citation=source), filled(1, text="Tea."), filled(1, citation=source), ended(1), stop())
    assert events[:-1] == [TextPiece("Tea."), CitationsPiece((source,))]
    last = events[-1]
    assert isinstance(last, Finished)
    assert last.reply["output"]["message"]["content"] == [
        {"citationsContent": {"content": [{"text": "Tea."}], "citations": [source]}}
    ]


def test_what_is_not_known_is_passed_over() -> None:
    events = read(
        {"somethingNew": {"a": 1}},
        {},
        {"contentBlockStart": {"contentBlockIndex": 0, "start": {"SDK_UNKNOWN_MEMBER": {"name": "video"}}}},
        filled(0, image={"source": {"bytes": b"x"}}),
        ended(0),
        begun(1, "srv", "web_grounding", type="server_tool_use"),
        filled(1, toolUse={"input": "{}"}),
        ended(1),
        filled(2, text=""),
        filled(2, text="ok"),
        stop(),
    )
    assert events[:-1] == [TextPiece("ok")]


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("guardrail_intervened", "content_filter"),
        ("content_filtered", "content_filter"),
        ("something_new", "stop"),
    ],
)
def test_why_a_reply_ended_is_told_in_our_words(told: str, reason: str) -> None:
    assert finished(filled(0, text="So"), stop(told)).reason == reason


@pytest.mark.parametrize("reason", ["malformed_tool_use", "malformed_model_output"])
def test_what_the_model_wrote_wrongly_is_a_failure(reason: str) -> None:
    with pytest.raises(ProviderFailed, match="could not read"):
        read(filled(0, text="So"), stop(reason))


@pytest.mark.parametrize(
    ("events", "kind"),
    [
        ([filled(0, text="Once")], ProviderConnectionLost),
        ([begun(0, "a", None)], ProviderMalformedReply),
    ],
)
def test_a_reply_that_is_not_whole_is_a_failure(events: list[Fields], kind: type[ProviderError]) -> None:
    with pytest.raises(kind):
        read(*events)
    with pytest.raises(ProviderMalformedReply, match="empty"):
        ReplyReader(SUBJECT).finish()


def test_a_reply_without_counts_has_no_usage() -> None:
    assert finished(filled(0, text="So"), stop()).usage is None


def test_what_the_cache_held_and_took_in_is_part_of_the_prompt() -> None:
    counts = {**COUNTS, "cacheReadInputTokens": 10, "cacheWriteInputTokens": 100}
    assert usage_of(counts) == Usage(
        prompt_tokens=113, completion_tokens=4, total_tokens=117, cached_input_tokens=10, cache_write_tokens=100
    )


def test_a_reply_that_came_whole_is_read_as_if_it_had_streamed() -> None:
    source = {"title": "Tea"}
    content: list[Fields] = [
        {"reasoningContent": {"reasoningText": {"text": "Hm.", "signature": "sig"}}},
        {"reasoningContent": {"redactedContent": b"\x00"}},
        {"citationsContent": {"content": [{"text": "Tea."}], "citations": [source]}},
        {"text": "Hi."},
        {"image": {"format": "png"}},
        {"toolUse": {"toolUseId": "a", "name": "look", "input": {"at": "é"}}},
    ]
    reply = {"output": {"message": {"content": content}}, "stopReason": "tool_use", **METADATA["metadata"]}
    events = read(*events_of(reply))
    assert events[:-1] == [
        ReasoningPiece("Hm."),
        ReasoningPiece("", "sig"),
        HiddenReasoningPiece("AA=="),
        TextPiece("Tea."),
        CitationsPiece((source,)),
        TextPiece("Hi."),
        ToolCallPiece(0, "", "a", "look"),
        ToolCallPiece(0, '{"at":"é"}'),
    ]
    last = events[-1]
    assert isinstance(last, Finished)
    assert last.usage == Usage(prompt_tokens=3, completion_tokens=4, total_tokens=7)
    with pytest.raises(ProviderConnectionLost):
        read(*events_of({}))
