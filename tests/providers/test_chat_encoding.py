"""A request as the bytes of a Chat Completions body, checked as the service checks it."""

import re
from datetime import UTC, datetime
from itertools import count
from typing import Any

import msgspec
import pytest

from tertulia.domain.messages import (
    ApprovalPart,
    Base64Image,
    ImagePart,
    Message,
    NativePart,
    OmittedReasoningPart,
    Part,
    ReasoningPart,
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
from tertulia.providers.encoding.fragments import ENTRY_BYTES, FragmentCache
from tests.support.chat_bodies import body_of, provider, settings
from tests.support.tool_specs import ANYTHING, SEARCH

_numbers = count(1)


def message(role: Role, *parts: Part, id_: str = "", **fields: Any) -> Message:
    return Message(
        id=id_ or f"message-{next(_numbers)}",
        agent_id="agent-1",
        conversation_id="conv-1",
        role=role,
        content=parts,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        **fields,
    )


def sent(*messages: Message, **fields: Any) -> list[dict[str, Any]]:
    """What the messages become, without the system prompt."""
    system, *rest = body_of(*messages, **fields)["messages"]
    assert system == {"role": "system", "content": "Be terse."}
    return rest


def test_only_what_was_asked_for_is_sent() -> None:
    assert body_of(message("user", TextPart("Hi"))) == {
        "model": "gpt-4o",
        "messages": [{"role": "system", "content": "Be terse."}, {"role": "user", "content": "Hi"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_a_conversation_with_tools_is_sent_in_order() -> None:
    call_a, call_b = ToolCallPart("a", "search", '{"query": "x"}'), ToolCallPart("b", "search", '{"query": "y"}')
    assert sent(
        message("summary", TextPart("They spoke of cats.")),
        message("user", TextPart("Look"), TextPart("twice"), name="Zoë B"),
        message("assistant", ReasoningPart("hm"), TextPart("Looking."), call_a, call_b),
        message("tool", ToolReturnPart("a", "search", "found x")),
        message("tool", ToolReturnPart("b", "search", "nothing", status="error")),
        message("system", TextPart("It is late.")),
        message("assistant", TextPart("Found x.")),
    ) == [
        {"role": "user", "content": "They spoke of cats."},
        {"role": "user", "content": "Look\ntwice", "name": "Zo__B"},
        {
            "role": "assistant",
            "content": "Looking.",
            "tool_calls": [
                {"id": "a", "type": "function", "function": {"name": "search", "arguments": '{"query": "x"}'}},
                {"id": "b", "type": "function", "function": {"name": "search", "arguments": '{"query": "y"}'}},
            ],
        },
        {"role": "tool", "tool_call_id": "a", "content": "found x"},
        {"role": "tool", "tool_call_id": "b", "content": "nothing"},
        {"role": "system", "content": "It is late."},
        {"role": "assistant", "content": "Found x."},
    ]


def test_the_record_of_a_persons_answer_is_not_sent_only_what_came_of_it() -> None:
    assert [
        m["role"]
        for m in sent(
            message("assistant", ToolCallPart("a", "search", "{}"), ToolCallPart("b", "search", "{}")),
            message("approval", ApprovalPart("a", approve=True), ToolReturnPart("b", "search", "from the client")),
            message("tool", ToolReturnPart("a", "search", "found")),
            message("tool", ToolReturnPart("b", "search", "from the client")),
        )
    ] == ["assistant", "tool", "tool"]


@pytest.mark.parametrize(
    "parts",
    [
        (),
        (TextPart(""),),
        (ReasoningPart("hm"),),
        (RedactedReasoningPart("x"), OmittedReasoningPart()),
        (SummarizedReasoningPart("s", ()), NativePart("anthropic", {"a": 1})),
    ],
)
def test_a_reply_with_nothing_to_say_is_left_out(parts: tuple[Part, ...]) -> None:
    assert sent(message("user", TextPart("Hi")), message("assistant", *parts, partial=True)) == [
        {"role": "user", "content": "Hi"}
    ]


@pytest.mark.parametrize(
    ("at", "model", "back"),
    [
        ("v1", "v1/m", {}),
        ("groq", "groq/m", {}),
        ("deepseek", "deepseek/m", {"reasoning_content": "hm"}),
        ("deepseek", "anthropic/m", {"reasoning_content": " "}),
        ("deepseek", None, {"reasoning_content": " "}),
        ("moonshot", "moonshot/m", {"reasoning_content": "hm"}),
        ("zai", "zai/m", {"reasoning_content": "hm"}),
        ("zai", "zai_coding/m", {}),
        ("zai", "openrouter/m", {}),
        ("openrouter", "openrouter/m", {"reasoning_details": [{"type": "reasoning.text", "text": "hm"}]}),
        ("openrouter", "deepseek/m", {}),
    ],
)
def test_reasoning_goes_back_to_who_wrote_it_and_wants_it(at: str, model: str | None, back: dict[str, Any]) -> None:
    details = NativePart("openrouter", {"reasoning_details": [{"type": "reasoning.text", "text": "hm"}]})
    reply = message("assistant", ReasoningPart("hm"), TextPart("yes"), details, model=model)
    assert sent(reply, at=at) == [{"role": "assistant", "content": "yes", **back}]


def test_mistral_gets_ids_of_nine_letters_and_no_names() -> None:
    call_id = "call_0123456789abcdef"
    call = ToolCallPart(call_id, "search", "{}")
    user, reply, returned = sent(
        message("user", TextPart("Hi"), name="Zoe"),
        message("assistant", call, ToolCallPart("aB3dE6gH9", "search", "{}")),
        message("tool", ToolReturnPart(call_id, "search", "x"), ToolReturnPart("aB3dE6gH9", "search", "y")),
        at="mistral",
    )[:3]
    assert "name" not in user
    assert reply["tool_calls"][0]["id"] == returned["tool_call_id"]
    assert reply["tool_calls"][1]["id"] == "aB3dE6gH9"


def test_images_are_parts_of_what_the_user_says() -> None:
    parts = (
        TextPart("See:"),
        ImagePart(UrlImage("https://example.org/a.png")),
        ImagePart(Base64Image("image/jpeg", "QUJD", detail="low")),
        ImagePart(StoredImage("file-1", media_type="image/gif", data="REVG")),
        ImagePart(StoredImage("file-2")),
    )
    assert sent(message("user", *parts))[0]["content"] == [
        {"type": "text", "text": "See:"},
        {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
        {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,QUJD", "detail": "low"}},
        {"type": "image_url", "image_url": {"url": "data:image/gif;base64,REVG"}},
        {"type": "text", "text": "[an image is missing here: it is no longer available]"},
    ]


def test_images_that_tools_returned_follow_after_the_last_return() -> None:
    image = ImagePart(UrlImage("https://example.org/a.png"))
    roles = [
        (m["role"], m["content"])
        for m in sent(
            message("assistant", ToolCallPart("a", "photo", "{}"), ToolCallPart("b", "search", "{}")),
            message("tool", ToolReturnPart("a", "photo", (image,))),
            message("tool", ToolReturnPart("b", "search", (TextPart("one"), TextPart("two")))),
            message("assistant", TextPart("Nice.")),
        )
    ]
    assert roles == [
        ("assistant", None),
        ("tool", "The image follows."),
        ("tool", "one\ntwo"),
        (
            "user",
            [
                {"type": "text", "text": "Returned by the tool photo:"},
                {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
            ],
        ),
        ("assistant", "Nice."),
    ]


@pytest.mark.parametrize("arguments", ['{"query": ', "[1]", "query=x", '"x"'])
def test_arguments_that_are_no_object_are_sent_inside_of_one(arguments: str) -> None:
    history = sent(
        message("assistant", ToolCallPart("a", "search", arguments)),
        message("tool", ToolReturnPart("a", "search", "Bad arguments.", status="error")),
    )
    given = history[0]["tool_calls"][0]["function"]["arguments"]
    assert msgspec.json.decode(given) == {"invalid_arguments": arguments}


def test_no_arguments_are_an_empty_object() -> None:
    history = sent(message("assistant", ToolCallPart("a", "f", " ")), message("tool", ToolReturnPart("a", "f", "")))
    assert history[0]["tool_calls"][0]["function"]["arguments"] == "{}"


def test_ids_and_names_of_other_providers_are_made_to_fit_alike_in_call_and_return() -> None:
    call, returned = sent(
        message("assistant", ToolCallPart("toolu_" + "x" * 60, "weird tool!" + "y" * 99, "{}")),
        message("tool", ToolReturnPart("toolu_" + "x" * 60, "weird tool!", "ok")),
    )
    assert call["tool_calls"][0]["id"] == returned["tool_call_id"]
    assert len(returned["tool_call_id"]) <= 40
    assert re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", call["tool_calls"][0]["function"]["name"])


def test_odd_characters_survive() -> None:
    assert (
        sent(message("user", TextPart('nul \0, quote ", 💥 and \u2028')))[0]["content"]
        == 'nul \0, quote ", 💥 and \u2028'
    )


def test_tools_are_sent_as_they_are_where_strictness_was_not_set() -> None:
    body = body_of(tools=(SEARCH,))
    assert body["tools"] == [
        {
            "type": "function",
            "function": {"name": "search", "description": "Finds things.", "parameters": SEARCH.parameters},
        }
    ]
    assert "parallel_tool_calls" not in body
    assert "tool_choice" not in body


def test_strict_tools_have_strict_schemas_where_that_is_possible() -> None:
    body = body_of(tools=(SEARCH, ANYTHING), settings=settings(strict=True))
    search, anything = (tool["function"] for tool in body["tools"])
    assert search["strict"] is True
    assert search["parameters"] == {
        "type": "object",
        "properties": {"query": {"type": "string"}, "limit": {"type": ["integer", "null"]}},
        "required": ["query", "limit"],
        "additionalProperties": False,
    }
    assert anything["strict"] is False
    assert anything["parameters"] == ANYTHING.parameters


def test_not_strict_is_sent_too() -> None:
    assert body_of(tools=(SEARCH,), settings=settings(strict=False))["tools"][0]["function"]["strict"] is False


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        ("none", "none"),
        ("required", "required"),
        ("search", {"type": "function", "function": {"name": "search"}}),
    ],
)
def test_the_choice_of_tools_is_sent(choice: str, said: object) -> None:
    assert body_of(tools=(SEARCH,), tool_choice=choice)["tool_choice"] == said


def test_what_only_makes_sense_with_tools_is_sent_only_with_tools() -> None:
    wanted = settings(parallel_tool_calls=False, strict=True)
    assert body_of(tools=(SEARCH,), settings=wanted)["parallel_tool_calls"] is False
    without = body_of(settings=wanted, tool_choice="required")
    assert not {"parallel_tool_calls", "tool_choice", "tools"} & set(without)


def test_the_requests_own_word_on_parallel_calls_counts_before_the_settings() -> None:
    body = body_of(tools=(SEARCH,), settings=settings(parallel_tool_calls=True), parallel_tool_calls=False)
    assert body["parallel_tool_calls"] is False


def test_a_message_is_encoded_once() -> None:
    encoder = provider("box")
    first = message("user", TextPart("first"), id_="message-1")
    encoder.encode(ModelRequest(model="m", system="", messages=[first]))
    changed = message("user", TextPart("second"), id_="message-1")  # never happens: what has an id does not change
    assert b"first" in encoder.encode(ModelRequest(model="m", system="", messages=[changed]))


def test_what_is_kept_is_bounded_and_the_least_used_goes_first() -> None:
    cache = FragmentCache(8 * (10 + ENTRY_BYTES))
    for name in "abcdefghijklmnop":
        cache.put(name, b"x" * 10)
        assert cache.get("a")
        assert len(cache) <= 8
    assert [name for name in "bcdefgh" if cache.get(name)] == []
    cache.put("large", b"x" * 8 * ENTRY_BYTES)
    assert cache.get("large") is None


def test_messages_with_nothing_to_send_take_memory_too() -> None:
    cache = FragmentCache(10 * ENTRY_BYTES)
    for number in range(100):
        cache.put(f"message-{number}", b"")
    assert 5 <= len(cache) <= 10


def test_a_message_that_is_kept_again_is_counted_once() -> None:
    cache = FragmentCache(10 * ENTRY_BYTES)
    for _ in range(100):
        cache.put("a", b"x")
    cache.put("b", b"")
    assert (cache.get("a"), len(cache)) == (b"x", 2)


@pytest.mark.parametrize(
    ("asked", "sent"), [(None, {}), (0, {"logprobs": True}), (3, {"logprobs": True, "top_logprobs": 3})]
)
def test_log_probabilities_are_asked_for_with_their_alternatives(asked: int | None, sent: dict[str, Any]) -> None:
    body = body_of(logprobs=asked)
    assert {name: value for name, value in body.items() if "logprobs" in name} == sent
