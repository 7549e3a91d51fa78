"""The events of a Responses stream become the port's events."""

import json
from typing import Any

import pytest

from tertulia.domain.errors import (
    ContextTooLong,
    ProviderBadRequest,
    ProviderConnectionLost,
    ProviderContentFiltered,
    ProviderError,
    ProviderFailed,
    ProviderMalformedReply,
    ProviderOverloaded,
    ProviderPermissionError,
    ProviderQuotaUsedUp,
    ProviderRateLimited,
)
from tertulia.domain.runs import Usage
from tertulia.ports.provider import (
    CitationsPiece,
    Finished,
    HiddenReasoningPiece,
    NativeItem,
    ProviderEvent,
    ReasoningPiece,
    TextPiece,
    ToolCallPiece,
)
from tertulia.providers.failures import Subject
from tertulia.providers.openai.responses_stream import ReplyReader
from tests.support.responses_endpoint import (
    Act,
    Begin,
    End,
    Events,
    Failure,
    Fill,
    Finish,
    Reply,
    called,
    reasoning_item,
    refused,
    reply,
    said,
    thought,
    usage,
)
from tests.support.responses_requests import Issued
from tests.support.scripted_endpoint import Raw

SUBJECT = Subject(name="openai", endpoint="http://x", key_hint="Set it.", model="gpt-5")


def wire(acts: Reply) -> list[bytes]:
    """The data of each event, as the endpoint sends it."""
    events = Events({"model": "gpt-5", "instructions": "long"}, Issued())
    encoded = [data for act in acts for data in events.encode(act)]
    return [data if data.startswith(b"{") else data.partition(b"data: ")[2].removesuffix(b"\n\n") for data in encoded]


def read(acts: Reply) -> list[ProviderEvent]:
    reader = ReplyReader(SUBJECT)
    events = [event for data in wire(acts) for event in reader.read(data)]
    return events + reader.finish("req_1")


def pieces(acts: Reply) -> list[ProviderEvent]:
    return read(acts)[:-1]


def finished(acts: Reply) -> Finished:
    last = read(acts)[-1]
    assert isinstance(last, Finished)
    return last


def untyped(fields: dict[str, Any]) -> Raw:
    return Raw(json.dumps(fields).encode())


def test_a_whole_reply_comes_in_its_order() -> None:
    acts = reply(
        thought(0, "rs_1", "Think.", "Again."),
        said(1, "Let ", "me see."),
        called(2, "call_a", "look", {"at": "é"}),
        called(3, "call_b", "look", ""),
        usage=usage(20, 5, cached=8, reasoning=2),
    )
    assert pieces(acts) == [
        ReasoningPiece("Thi"),
        ReasoningPiece("nk."),
        ReasoningPiece("\n\nAga"),
        ReasoningPiece("in."),
        NativeItem(reasoning_item("rs_1", "Think.", "Again.")),
        TextPiece("Let "),
        TextPiece("me see."),
        ToolCallPiece(0, "", "call_a", "look"),
        ToolCallPiece(0, '{"at": "'),
        ToolCallPiece(0, '\\u00e9"}'),
        ToolCallPiece(1, "", "call_b", "look"),
        ToolCallPiece(1, "{}"),
    ]
    last = finished(acts)
    assert (last.reason, last.request_id) == ("tool_calls", "req_1")
    assert last.usage == Usage(
        prompt_tokens=20, completion_tokens=5, total_tokens=25, cached_input_tokens=8, reasoning_tokens=2
    )


def test_the_reply_is_told_as_one_object_without_what_it_repeats_of_the_request() -> None:
    told = finished(reply(said(0, "Hi"))).reply
    assert (told["id"], told["status"], told["output"][0]["content"][0]["text"]) == ("resp_1", "completed", "Hi")
    assert not {"instructions", "tools"} & set(told)


def test_an_end_that_lists_no_items_is_told_with_those_that_came() -> None:
    told = finished([*said(0, "Hi"), Finish(extra={"output": []})]).reply
    assert [item["type"] for item in told["output"]] == ["message"]


def test_reasoning_of_which_nothing_is_shown_is_told_to_be_there() -> None:
    assert pieces(reply(thought(0, "rs_1"), said(1, "Yes"))) == [
        HiddenReasoningPiece(),
        NativeItem(reasoning_item("rs_1")),
        TextPiece("Yes"),
    ]


def test_reasoning_that_is_shown_as_it_is_thought_is_reasoning_too() -> None:
    deltas = [Fill(0, "reasoning_text.delta", {"content_index": 0, "delta": text}) for text in ("I ", "see")]
    acts = reply(
        [Begin(0, {"id": "rs_1", "type": "reasoning", "summary": []}), *deltas, End(0, reasoning_item("rs_1"))]
    )
    assert pieces(acts)[:2] == [ReasoningPiece("I "), ReasoningPiece("see")]


def test_a_refusal_is_the_models_answer() -> None:
    assert pieces(reply(refused(0, "I ", "cannot."))) == [TextPiece("I "), TextPiece("cannot.")]


def test_the_phase_of_a_message_is_kept_before_its_text() -> None:
    assert pieces(reply(said(0, "Hm", phase="commentary"))) == [
        NativeItem({"type": "message", "phase": "commentary"}),
        TextPiece("Hm"),
    ]


def test_sources_come_together_after_the_text_that_they_are_of() -> None:
    one, two = ({"type": "url_citation", "url": f"https://e.org/{n}", "start_index": n} for n in (1, 2))
    assert pieces(reply(said(0, "So it ", "is.", annotations=[one, two]))) == [
        TextPiece("So it "),
        TextPiece("is."),
        CitationsPiece((one, two)),
    ]
    silent: Reply = [
        act for act in said(0, "So.", annotations=[one]) if "annotation.added" not in getattr(act, "kind", "")
    ]
    assert pieces(reply(silent))[-1] == CitationsPiece((one,))
    endless: Reply = [act for act in said(0, "So.", annotations=[one]) if not isinstance(act, End)]
    assert pieces(reply(endless))[-1] == CitationsPiece((one,))


def test_items_of_kinds_not_known_are_kept_as_they_are() -> None:
    item = {"type": "web_search_call", "id": "ws_1", "status": "completed"}
    assert pieces(reply([Begin(0, item), End(0, item)], said(1, "Found."))) == [NativeItem(item), TextPiece("Found.")]


def test_events_of_kinds_not_known_are_passed_over() -> None:
    odd = [
        untyped({"type": "response.heartbeat", "delta": {"x": 1}, "output_index": "?", "item": 7, "response": []}),
        untyped({"type": "keepalive", "sequence_number": 3}),
        untyped({"unknown": True}),
        Raw(b'{"type": "response.queued"}'),
        Fill(0, "output_text.delta", {"delta": None}),
        Fill(0, "output_text.delta", {"delta": ""}),
        Fill(9, "function_call_arguments.delta", {"delta": "{"}),
        untyped({"type": "response.output_item.added", "item": None}),
    ]
    assert pieces([*odd, *reply(said(0, "Hi"))]) == [TextPiece("Hi")]


def test_what_no_delta_brought_is_taken_from_the_item_that_is_whole() -> None:
    acts = reply(thought(0, "rs_1", "Think."), said(1, "Hello"), called(2, "call_a", "look", {"a": 1}))
    whole: list[Act] = [act for act in acts if isinstance(act, End | Finish)]
    assert pieces(whole) == [
        ReasoningPiece("Think."),
        NativeItem(reasoning_item("rs_1", "Think.")),
        TextPiece("Hello"),
        ToolCallPiece(0, "", "call_a", "look"),
        ToolCallPiece(0, '{"a": 1}'),
    ]


def test_what_no_event_brought_is_taken_from_the_end() -> None:
    acts = reply(thought(0, "rs_1", "Think."), refused(1, "No."))
    output = [act.item for act in acts if isinstance(act, End)]
    expected = [ReasoningPiece("Think."), NativeItem(reasoning_item("rs_1", "Think.")), TextPiece("No.")]
    assert pieces([Finish(extra={"output": output})]) == expected
    response = {"object": "response", "status": "completed", "output": output, "usage": usage()}
    assert pieces([untyped(response)]) == expected


def test_items_are_told_apart_by_their_ids_where_they_have_no_places() -> None:
    def event(kind: str, **fields: Any) -> Raw:
        return untyped({"type": f"response.{kind}", **fields})

    call = {"type": "function_call", "call_id": "call_a", "name": "look", "id": "fc_1"}
    acts: Reply = [
        event("output_item.added", item=call),
        event("output_text.delta", item_id="msg_1", delta="Hm"),
        event("function_call_arguments.delta", item_id="fc_1", delta="{}"),
        event("output_item.done", item={**call, "arguments": "{}"}),
        Finish(),
    ]
    assert pieces(acts) == [
        ToolCallPiece(0, "", "call_a", "look"),
        TextPiece("Hm"),
        ToolCallPiece(0, "{}"),
    ]


def test_events_without_the_empty_line_between_them_are_read_each() -> None:
    reader = ReplyReader(SUBJECT)
    lines = wire(reply(said(0, "Hi")))
    assert reader.read(b"\n".join(lines)) == [TextPiece("Hi")]
    assert reader.done


@pytest.mark.parametrize(
    ("reason", "told"), [("max_output_tokens", "length"), ("content_filter", "content_filter"), ("steered", "stop")]
)
def test_an_incomplete_reply_says_why(reason: str, told: str) -> None:
    assert finished(reply(said(0, "Once"), reason=reason)).reason == told


def test_the_end_of_chat_completions_is_no_event_and_needs_not_come() -> None:
    assert pieces([*said(0, "Hi"), Raw(b"{}"), Finish()]) == [TextPiece("Hi")]
    reader = ReplyReader(SUBJECT)
    assert reader.read(b" [DONE]") == []
    assert not reader.done


def test_a_call_without_an_id_gets_one() -> None:
    call = {"type": "function_call", "name": "look", "arguments": "{}"}
    first = pieces(reply([Begin(0, call), End(0, call)]))[0]
    assert isinstance(first, ToolCallPiece)
    assert first.id


@pytest.mark.parametrize("as_event", [False, True])
@pytest.mark.parametrize(
    ("code", "words", "kind"),
    [
        ("server_error", "The server had an error", ProviderFailed),
        ("server_is_overloaded", "Our servers are currently overloaded.", ProviderOverloaded),
        ("slow_down", "later", ProviderOverloaded),
        ("context_length_exceeded", "Your input exceeds the context window of this model.", ContextTooLong),
        ("insufficient_quota", "You exceeded your current quota", ProviderQuotaUsedUp),
        ("invalid_prompt", "Invalid prompt: flagged", ProviderContentFiltered),
        ("cyber_policy", "no", ProviderContentFiltered),
        ("image_content_policy_violation", "no", ProviderContentFiltered),
        ("invalid_image_url", "no image there", ProviderBadRequest),
        ("usage_limit_reached", "The usage limit has been reached", ProviderRateLimited),
        ("usage_not_included", "no", ProviderPermissionError),
        ("something_new", "odd", ProviderFailed),
    ],
)
def test_a_failure_within_a_reply_is_of_its_kind(
    code: str, words: str, kind: type[ProviderError], *, as_event: bool
) -> None:
    with pytest.raises(kind) as caught:
        read([*said(0, "Once"), Failure(code, words, as_event)])
    assert type(caught.value) is kind
    assert words in caught.value.detail


@pytest.mark.parametrize(("words", "wait"), [("in 1.5s.", 1.5), ("in 250ms.", 0.25), ("soon", None)])
def test_a_rate_limit_within_a_reply_says_how_long_to_wait(words: str, wait: float | None) -> None:
    with pytest.raises(ProviderRateLimited) as caught:
        read([Failure("rate_limit_exceeded", f"Rate limit reached. Please try again {words}")])
    assert caught.value.retry_after == wait


@pytest.mark.parametrize(
    "failure",
    [
        {"type": "error", "error": {"type": "server_error", "message": "broken"}},
        {"error": {"message": "broken"}},
        {"error": "broken"},
        {"object": "response", "status": "failed", "error": {"code": "server_error", "message": "broken"}},
        {"type": "response.failed", "response": None},
    ],
)
def test_a_failure_is_found_in_every_form(failure: dict[str, Any]) -> None:
    with pytest.raises(ProviderFailed):
        read([untyped(failure)])


@pytest.mark.parametrize("data", [b"{", b"nonsense", b'{"type": 7}', b"[1]", b'{"type": "\xff"}'])
def test_what_is_no_event_is_malformed(data: bytes) -> None:
    with pytest.raises(ProviderMalformedReply):
        ReplyReader(SUBJECT).read(data)


def test_a_call_without_a_name_is_malformed() -> None:
    with pytest.raises(ProviderMalformedReply):
        read([Begin(0, {"type": "function_call", "call_id": "a"})])


def test_a_stream_that_ends_before_its_reply_is_a_lost_connection() -> None:
    with pytest.raises(ProviderConnectionLost):
        read(said(0, "Once"))
    with pytest.raises(ProviderMalformedReply):
        ReplyReader(SUBJECT).finish()
