"""A request as the bytes of a Responses body, checked as the service checks it."""

import json
import re
from collections.abc import Sequence
from itertools import count, pairwise
from typing import Any

import msgspec
import pytest

from tertulia.domain.errors import InvalidArgument
from tertulia.domain.messages import (
    ApprovalPart,
    Base64Image,
    CitationsPart,
    ImagePart,
    Message,
    NativePart,
    OmittedReasoningPart,
    Part,
    ReasoningPart,
    ReasoningSummary,
    RedactedReasoningPart,
    Role,
    StoredImage,
    SummarizedReasoningPart,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UrlImage,
)
from tertulia.ports.provider import ModelRequest
from tertulia.providers.openai.responses_encoding import HEAD, ResponsesEncoder
from tertulia.providers.openai.responses_settings import RULES
from tests.support.histories import NOON
from tests.support.responses_endpoint import reasoning_item
from tests.support.responses_requests import Issued, find_violations, mark_of
from tests.support.tool_specs import SEARCH

USER = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]}
HEADERS = {"authorization": "Bearer sk"}
_numbers = count(1)


def message(role: Role, *parts: Part, id_: str = "", **fields: Any) -> Message:
    return Message(
        id=id_ or f"message-{next(_numbers)}",
        agent_id="agent-1",
        conversation_id="conv-1",
        role=role,
        content=parts,
        created_at=NOON,
        **fields,
    )


def reply(*parts: Part, model: str = "openai/gpt-5") -> Message:
    return message("assistant", *parts, model=model)


def native(id_: str, provider_type: str = "openai") -> NativePart:
    return NativePart(provider_type, reasoning_item(id_, "Hm."))


def encoder(**fields: Any) -> ResponsesEncoder:
    return ResponsesEncoder("openai", frozenset({"openai", "openai-proxy"}), RULES, **fields)


def body_of(*messages: Message, **fields: Any) -> dict[str, Any]:
    """The body, which is what the service takes if it has issued all the reasoning of the messages."""
    with_reasoning = fields.pop("with_reasoning", True)
    request = ModelRequest(model="gpt-5", system=fields.pop("system", "Be terse."), messages=messages, **fields)
    under_test = encoder()
    encoded = under_test.encode(request, with_reasoning=with_reasoning)
    assert under_test.encode(request, with_reasoning=with_reasoning) == encoded, "kept fragments change no bytes"
    assert encoded.startswith(HEAD)
    body: dict[str, Any] = msgspec.json.decode(encoded)
    assert find_violations(HEADERS, body, issued_in(messages, body["input"])) == []
    return body


def issued_in(messages: Sequence[Message], items: list[dict[str, Any]]) -> Issued:
    issued = Issued()
    for part in (part for message in messages for part in message.content):
        if isinstance(part, NativePart) and part.item.get("type") == "reasoning":
            issued.reasoning[part.item["id"]] = json.dumps(part.item)
    for item, after in pairwise(items):
        if item["type"] == "reasoning":
            issued.followers[item["id"]] = mark_of(after)
    return issued


def sent(*messages: Message, **fields: Any) -> list[dict[str, Any]]:
    return body_of(*messages, **fields)["input"]


def said(text: str, **fields: Any) -> dict[str, Any]:
    part: dict[str, Any] = {"type": "output_text", "text": text, "annotations": []}
    return {"type": "message", "role": "assistant", "content": [part], **fields}


def test_only_what_was_asked_for_is_sent_and_nothing_is_to_be_kept() -> None:
    assert body_of(message("user", TextPart("Hi"))) == {
        "store": False,
        "stream": True,
        "model": "gpt-5",
        "instructions": "Be terse.",
        "input": [USER],
        "include": ["reasoning.encrypted_content"],
    }


def test_a_conversation_with_tools_is_sent_in_order() -> None:
    assert sent(
        message("summary", TextPart("They spoke of cats.")),
        message("user", TextPart("Look"), TextPart("twice"), name="Zoë"),
        reply(
            OmittedReasoningPart(),
            native("rs_1"),
            TextPart("Looking."),
            ToolCallPart("a", "search", '{"query": "x"}'),
            ToolCallPart("b", "search", '{"query": "y"}'),
        ),
        message("tool", ToolReturnPart("a", "search", "found x")),
        message("tool", ToolReturnPart("b", "search", "nothing", status="error")),
        message("system", TextPart("It is late.")),
        reply(TextPart("Found x.")),
    ) == [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "They spoke of cats."}]},
        {
            "type": "message",
            "role": "user",
            "content": [{"type": "input_text", "text": "Look"}, {"type": "input_text", "text": "twice"}],
        },
        reasoning_item("rs_1", "Hm."),
        said("Looking."),
        {"type": "function_call", "call_id": "a", "name": "search", "arguments": '{"query": "x"}'},
        {"type": "function_call", "call_id": "b", "name": "search", "arguments": '{"query": "y"}'},
        {"type": "function_call_output", "call_id": "a", "output": "found x"},
        {"type": "function_call_output", "call_id": "b", "output": "nothing"},
        {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "It is late."}]},
        said("Found x."),
    ]


def test_reasoning_goes_back_byte_for_byte_each_before_what_it_led_to() -> None:
    first, second = native("rs_1"), native("rs_2")
    request = ModelRequest(
        model="gpt-5",
        system="",
        messages=(
            reply(first, ToolCallPart("a", "look", "{}"), second, ToolCallPart("b", "look", "{}")),
            message("tool", ToolReturnPart("a", "look", "x"), ToolReturnPart("b", "look", "y")),
        ),
    )
    body = encoder().encode(request)
    for part in (first, second):
        assert msgspec.json.encode(part.item) in body
    kinds = [item["type"] for item in sent(*request.messages)]
    assert kinds == ["reasoning", "function_call", "reasoning", "function_call", *["function_call_output"] * 2]


@pytest.mark.parametrize(
    ("model", "provider_type"),
    [("anthropic/claude", "openai"), ("azure/gpt-5", "openai"), ("openai/gpt-5", "azure"), ("chatgpt/gpt-5", "openai")],
)
def test_reasoning_that_another_provider_wrote_is_left_out(model: str, provider_type: str) -> None:
    part = native("rs_1", provider_type)
    assert sent(reply(ReasoningPart("hm", signature="s"), part, TextPart("yes"), model=model)) == [said("yes")]


def test_a_reply_of_an_unknown_model_keeps_its_reasoning_to_itself() -> None:
    assert sent(message("assistant", native("rs_1"), TextPart("yes"))) == [said("yes")]


def test_reasoning_that_led_to_nothing_is_left_out() -> None:
    assert sent(message("user", TextPart("Hi")), reply(native("rs_1"))) == [USER]
    assert sent(reply(native("rs_1"), TextPart("So"), native("rs_2"), native("rs_3"))) == [
        reasoning_item("rs_1", "Hm."),
        said("So"),
    ]


def test_reasoning_that_is_not_encrypted_would_be_looked_up_and_is_left_out() -> None:
    bare = NativePart("openai", {"id": "rs_1", "type": "reasoning", "summary": [], "encrypted_content": None})
    assert sent(reply(bare, TextPart("yes"))) == [said("yes")]


def test_calls_of_other_kinds_of_tools_whose_output_nobody_gave_are_left_out() -> None:
    other = NativePart("openai", {"id": "ctc_1", "type": "custom_tool_call", "call_id": "c", "input": "x"})
    assert sent(reply(other, TextPart("yes"))) == [said("yes")]


def test_reasoning_as_other_servers_stored_it_becomes_an_item_again() -> None:
    part = SummarizedReasoningPart("rs_9", (ReasoningSummary(0, "So so."),), "gAAAA")
    request = ModelRequest(model="gpt-5", system="", messages=(reply(part, TextPart("yes")),))
    assert msgspec.json.decode(encoder().encode(request))["input"][0] == {
        "type": "reasoning",
        "id": "rs_9",
        "summary": [{"type": "summary_text", "text": "So so."}],
        "encrypted_content": "gAAAA",
    }
    assert sent(reply(SummarizedReasoningPart("rs_9", ()), TextPart("yes"))) == [said("yes")]


def test_all_reasoning_can_be_left_out() -> None:
    history = reply(native("rs_1"), TextPart("yes"))
    assert sent(history, with_reasoning=False) == [said("yes")]


def test_the_phase_of_a_message_goes_back_with_it() -> None:
    assert sent(
        reply(
            NativePart("openai", {"type": "message", "phase": "commentary"}),
            TextPart("Let me see."),
            NativePart("openai", {"type": "message", "phase": "final_answer"}),
            TextPart("There."),
            CitationsPart(({"type": "url_citation"},)),
        )
    ) == [said("Let me see.", phase="commentary"), said("There.", phase="final_answer")]


@pytest.mark.parametrize(
    "parts",
    [
        (),
        (TextPart(""),),
        (ReasoningPart("hm"),),
        (RedactedReasoningPart("x"), OmittedReasoningPart()),
        (NativePart("anthropic", {"a": 1}), CitationsPart(({"a": 1},))),
    ],
)
def test_a_reply_with_nothing_to_say_is_left_out(parts: tuple[Part, ...]) -> None:
    assert sent(message("user", TextPart("Hi")), reply(*parts)) == [USER]


def test_the_record_of_a_persons_answer_is_not_sent_only_what_came_of_it() -> None:
    assert [
        item["type"]
        for item in sent(
            reply(ToolCallPart("a", "search", "{}"), ToolCallPart("b", "search", "{}")),
            message("approval", ApprovalPart("a", approve=True), ToolReturnPart("b", "search", "from the client")),
            message("tool", ToolReturnPart("a", "search", "found")),
            message("tool", ToolReturnPart("b", "search", "from the client")),
        )
    ] == ["function_call", "function_call", "function_call_output", "function_call_output"]


def test_images_are_parts_of_what_the_user_says() -> None:
    (item,) = sent(
        message(
            "user",
            TextPart("See:"),
            ImagePart(UrlImage("https://example.org/a.png")),
            ImagePart(Base64Image("image/jpeg", "QUJD", detail="low")),
            ImagePart(StoredImage("file-1", media_type="image/gif", data="REVG")),
            ImagePart(StoredImage("file-2")),
            ImagePart(Base64Image("image/svg+xml", "QUJD")),
            TextPart(""),
        )
    )
    assert item["content"] == [
        {"type": "input_text", "text": "See:"},
        {"type": "input_image", "image_url": "https://example.org/a.png", "detail": "auto"},
        {"type": "input_image", "image_url": "data:image/jpeg;base64,QUJD", "detail": "low"},
        {"type": "input_image", "image_url": "data:image/gif;base64,REVG", "detail": "auto"},
        {"type": "input_text", "text": "[an image is missing here: it is no longer available]"},
        {"type": "input_text", "text": "[an image of type image/svg+xml, which this model cannot see]"},
    ]


def test_images_that_tools_returned_are_part_of_the_output() -> None:
    image = ImagePart(UrlImage("https://example.org/a.png"))
    outputs = [
        item["output"]
        for item in sent(
            reply(ToolCallPart("a", "photo", "{}"), ToolCallPart("b", "search", "{}"), ToolCallPart("c", "search", "")),
            message("tool", ToolReturnPart("a", "photo", (TextPart("Here:"), image))),
            message("tool", ToolReturnPart("b", "search", (TextPart("one"), TextPart("two")))),
            message("tool", ToolReturnPart("c", "search", ())),
        )
        if item["type"] == "function_call_output"
    ]
    assert outputs == [
        [
            {"type": "input_text", "text": "Here:"},
            {"type": "input_image", "image_url": "https://example.org/a.png", "detail": "auto"},
        ],
        "one\ntwo",
        "",
    ]


@pytest.mark.parametrize("arguments", ['{"query": ', "[1]", "query=x", '"x"'])
def test_arguments_that_are_no_object_are_sent_inside_of_one(arguments: str) -> None:
    call, _ = sent(
        reply(ToolCallPart("a", "search", arguments)),
        message("tool", ToolReturnPart("a", "search", "Bad arguments.", status="error")),
    )
    assert msgspec.json.decode(call["arguments"]) == {"invalid_arguments": arguments}


def test_ids_and_names_of_other_providers_are_made_to_fit_alike_in_call_and_return() -> None:
    call, returned = sent(
        reply(ToolCallPart("weird id " + "x" * 60, "weird tool!" + "y" * 99, "{}")),
        message("tool", ToolReturnPart("weird id " + "x" * 60, "weird tool!", "ok")),
    )
    assert call["call_id"] == returned["call_id"]
    assert re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", call["call_id"])
    assert re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", call["name"])


def test_odd_characters_survive() -> None:
    text = 'nul \0, quote ", 💥 and \u2028'
    assert sent(message("user", TextPart(text)))[0]["content"][0]["text"] == text


def test_a_request_without_a_system_prompt_has_no_instructions_unless_the_service_insists() -> None:
    assert "instructions" not in body_of(message("user", TextPart("Hi")), system=" ")
    request = ModelRequest(model="gpt-5", system="", messages=())
    assert msgspec.json.decode(encoder(instructions="Help.").encode(request))["instructions"] == "Help."


def test_what_a_request_begins_with_is_the_same_in_the_next_turn() -> None:
    under_test = encoder()
    first = [message("user", TextPart("Hi")), reply(native("rs_1"), TextPart("Hello"))]
    later = [*first, message("user", TextPart("More"))]
    bodies = [
        under_test.encode(ModelRequest(model="gpt-5", system="Be terse.", messages=messages, tools=(SEARCH,)))
        for messages in (first, later)
    ]
    shared = bodies[0].index(b'],"include"')
    assert bodies[1][:shared] == bodies[0][:shared]


def test_a_tool_always_says_whether_it_is_strict() -> None:
    untyped = msgspec.structs.replace(SEARCH, name="untyped", parameters={"properties": {}})
    search, other = body_of(tools=(SEARCH, untyped))["tools"]
    assert search == {
        "type": "function",
        "name": "search",
        "description": "Finds things.",
        "parameters": SEARCH.parameters,
        "strict": False,
    }
    assert other["parameters"] == {"type": "object", "properties": {}}


@pytest.mark.parametrize(
    ("choice", "said"),
    [("none", "none"), ("required", "required"), ("search", {"type": "function", "name": "search"})],
)
def test_the_choice_of_tools_is_sent(choice: str, said: object) -> None:
    assert body_of(tools=(SEARCH,), tool_choice=choice)["tool_choice"] == said
    assert "tool_choice" not in body_of(tool_choice=choice)


def test_the_cache_key_is_the_conversations_and_never_too_long() -> None:
    assert body_of(cache_key="conv-1")["prompt_cache_key"] == "conv-1"
    long = body_of(cache_key="c" * 65)["prompt_cache_key"]
    assert long == body_of(cache_key="c" * 65)["prompt_cache_key"]
    assert len(long) == 64


def test_log_probabilities_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="log probabilities"):
        body_of(logprobs=0)


def test_a_message_is_encoded_once() -> None:
    under_test = encoder()
    first = message("user", TextPart("first"), id_="message-1")
    under_test.encode(ModelRequest(model="m", system="", messages=[first]))
    changed = message("user", TextPart("second"), id_="message-1")  # never happens: what has an id does not change
    assert b"first" in under_test.encode(ModelRequest(model="m", system="", messages=[changed]))
