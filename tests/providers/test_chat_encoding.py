"""A request as the bytes of a Chat Completions body, checked as the service checks it."""

import re
from datetime import UTC, datetime
from itertools import count
from typing import Any

import msgspec
import pytest

from tertulia.domain.errors import InvalidArgument
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
from tertulia.domain.models import ModelSettings
from tertulia.domain.tools import ToolSpec
from tertulia.ports.provider import ModelRequest
from tertulia.providers.chat_encoding import ChatEncoder, FragmentCache
from tertulia.providers.quirks import Quirks, quirks_of
from tests.support.openai_requests import find_violations

SEARCH = ToolSpec(
    id="tool-1",
    name="search",
    description="Finds things.",
    parameters={
        "type": "object",
        "properties": {"query": {"type": "string"}, "limit": {"type": "integer", "default": 5}},
        "required": ["query"],
    },
    tool_type="letta_core",
)
ANYTHING = ToolSpec(
    id="tool-2",
    name="anything",
    description="Takes any object.",
    parameters={"type": "object", "properties": {}, "additionalProperties": True},
    tool_type="custom",
)


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


def body_of(
    *messages: Message, quirks: Quirks | None = None, stream_usage: bool = True, **fields: Any
) -> dict[str, Any]:
    request = ModelRequest(model=fields.pop("model", "gpt-4o"), system="Be terse.", messages=messages, **fields)
    encoder = ChatEncoder("box", quirks or Quirks())
    encoded = encoder.encode(request, stream_usage=stream_usage)
    assert encoder.encode(request, stream_usage=stream_usage) == encoded, "kept fragments must not change the bytes"
    body: dict[str, Any] = msgspec.json.decode(encoded)
    path = "/v1/chat/completions" if not (quirks and quirks.reasoning_back) else "/compatible/v1/chat/completions"
    assert find_violations(path, {"authorization": "Bearer k"}, body) == []
    return body


def sent(*messages: Message, **fields: Any) -> list[dict[str, Any]]:
    """What the messages become, without the system prompt."""
    system, *rest = body_of(*messages, **fields)["messages"]
    assert system == {"role": "system", "content": "Be terse."}
    return rest


def settings(**fields: Any) -> ModelSettings:
    return ModelSettings(provider_type="openai", **fields)


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


def test_reasoning_goes_back_only_to_servers_that_want_it() -> None:
    reply = message("assistant", ReasoningPart("hm"), TextPart("yes"))
    assert sent(reply) == [{"role": "assistant", "content": "yes"}]
    assert sent(reply, quirks=Quirks(reasoning_back=True)) == [
        {"role": "assistant", "content": "yes", "reasoning_content": "hm"}
    ]


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
        {"type": "text", "text": "[an image that is no longer available]"},
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


def test_every_setting_that_was_set_is_sent() -> None:
    body = body_of(
        settings=settings(
            temperature=0.0,
            max_output_tokens=100,
            reasoning={"reasoning_effort": "low"},
            verbosity="high",
            response_format={"type": "json_object"},
        )
    )
    assert {key: body[key] for key in body if key not in {"model", "messages", "stream", "stream_options"}} == {
        "temperature": 0.0,
        "max_tokens": 100,
        "reasoning_effort": "low",
        "verbosity": "high",
        "response_format": {"type": "json_object"},
    }


@pytest.mark.parametrize(
    ("model", "quirks", "name"),
    [
        ("gpt-4o", Quirks(max_tokens="max_completion_tokens"), "max_completion_tokens"),
        ("llama3", Quirks(), "max_tokens"),
        ("gpt-5-mini", Quirks(), "max_completion_tokens"),
        ("openai/o3-mini", Quirks(), "max_completion_tokens"),
    ],
)
def test_the_length_of_a_reply_is_limited_under_the_name_that_is_understood(
    model: str, quirks: Quirks, name: str
) -> None:
    body = body_of(model=model, quirks=quirks, settings=settings(max_output_tokens=7))
    assert {key: body[key] for key in body if key.startswith("max_")} == {name: 7}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"type": "text"}, {"type": "text"}),
        ({"type": "json_object"}, {"type": "json_object"}),
        (
            {"type": "json_schema", "json_schema": {"type": "object"}},
            {"type": "json_schema", "json_schema": {"name": "response", "schema": {"type": "object"}}},
        ),
        (
            {"type": "json_schema", "json_schema": {"name": "n", "strict": True, "schema": {"type": "object"}}},
            {"type": "json_schema", "json_schema": {"name": "n", "strict": True, "schema": {"type": "object"}}},
        ),
    ],
)
def test_response_formats_are_wrapped_as_the_dialect_wants(given: dict[str, Any], said: dict[str, Any]) -> None:
    assert body_of(settings=settings(response_format=given))["response_format"] == said


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"effort": "high"}, "effort"),
        ({"thinking": {"type": "enabled"}}, "thinking"),
        ({"thinking_config": {"include_thoughts": True}}, "thinking_config"),
        ({"response_schema": {"type": "text"}}, "response_schema"),
        ({"tool_call_parser": "glm47"}, "tool_call_parser"),
        ({"reasoning": {"reasoning_effort": "low", "summary": "auto"}}, "reasoning.summary"),
        ({"response_format": {"type": "json_schema"}}, "response_format"),
        ({"response_format": {"type": "xml"}}, "response_format"),
    ],
)
def test_a_setting_that_cannot_be_said_is_refused_by_name(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidArgument, match=named):
        body_of(settings=settings(**wrong))


def test_servers_without_stream_options_get_none() -> None:
    assert "stream_options" not in body_of(stream_usage=False)


def test_the_cache_key_goes_only_where_it_is_known() -> None:
    assert "prompt_cache_key" not in body_of(cache_key="conv-1")
    assert body_of(cache_key="conv-1", quirks=Quirks(cache_key=True))["prompt_cache_key"] == "conv-1"


@pytest.mark.parametrize(
    ("base_url", "quirks"),
    [
        ("https://api.openai.com/v1", Quirks(max_tokens="max_completion_tokens", cache_key=True)),
        ("https://mine.openai.azure.com/openai/v1", Quirks(max_tokens="max_completion_tokens", cache_key=True)),
        ("https://notopenai.com/v1", Quirks()),
        ("http://127.0.0.1:11434/v1", Quirks()),
        ("https://api.deepseek.com/v1", Quirks(reasoning_back=True)),
        ("https://api.moonshot.ai/v1", Quirks(reasoning_back=True)),
    ],
)
def test_quirks_go_with_the_host_that_answers(base_url: str, quirks: Quirks) -> None:
    assert quirks_of(base_url) == quirks


def test_a_message_is_encoded_once() -> None:
    encoder = ChatEncoder("box", Quirks())
    first = message("user", TextPart("first"), id_="message-1")
    encoder.encode(ModelRequest(model="m", system="", messages=[first]))
    changed = message("user", TextPart("second"), id_="message-1")  # never happens: what has an id does not change
    assert b"first" in encoder.encode(ModelRequest(model="m", system="", messages=[changed]))


def test_what_is_kept_is_bounded_and_the_least_used_goes_first() -> None:
    cache = FragmentCache(80)
    for name in "abcdefgh":
        cache.put(name, b"x" * 10)
    assert cache.get("a")
    cache.put("i", b"x" * 10)
    assert cache.get("b") is None
    assert cache.get("a")
    cache.put("large", b"x" * 79)
    assert cache.get("large") is None
    assert len(cache) == 8


@pytest.mark.parametrize(
    ("asked", "sent"), [(None, {}), (0, {"logprobs": True}), (3, {"logprobs": True, "top_logprobs": 3})]
)
def test_log_probabilities_are_asked_for_with_their_alternatives(asked: int | None, sent: dict[str, Any]) -> None:
    body = body_of(logprobs=asked)
    assert {name: value for name, value in body.items() if "logprobs" in name} == sent
