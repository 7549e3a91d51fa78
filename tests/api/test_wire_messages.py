"""What a stored message becomes on the wire."""

import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec.structs import replace

from tertulia.api.wire.documented import model_of
from tertulia.api.wire.frames import encode
from tertulia.api.wire.messages import WireMessage, roles_of, wire_messages
from tertulia.domain.ids import part_otid
from tertulia.domain.messages import (
    Base64Image,
    ImagePart,
    Message,
    NativePart,
    OmittedReasoningPart,
    Part,
    ReasoningPart,
    ReasoningSummary,
    RedactedReasoningPart,
    Role,
    SummarizedReasoningPart,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
)
from tertulia.domain.runs import RequestConfig
from tests.conformance.schema import find_problems, reference
from tests.conformance.streams import COMMON_FIELDS, MESSAGE_SCHEMAS

ID = "message-793f0000-0000-4000-8000-000000000000"


def stored(role: Role, *content: Part, **fields: Any) -> Message:
    return replace(
        Message(
            id=ID,
            agent_id="agent-1",
            conversation_id="conv-1",
            role=role,
            content=content,
            created_at=datetime(2026, 11, 21, 15, 12, 35, 987654, UTC),
            run_id="run-1",
            step_id="step-1",
        ),
        **fields,
    )


def shown(message: Message, config: RequestConfig | None = None) -> list[dict[str, Any]]:
    return json.loads(encode(wire_messages(message, config or RequestConfig())))


EVERY_PART = (
    ReasoningPart("hm", signature="sig"),
    SummarizedReasoningPart("rs_1", (ReasoningSummary(0, "first"), ReasoningSummary(1, "then"))),
    RedactedReasoningPart("opaque"),
    OmittedReasoningPart(),
    NativePart("openai", {"type": "web_search_call"}),
    TextPart("Hello"),
    ToolCallPart("call_1", "memory_insert", '{"label":"human"}'),
    ToolCallPart("call_2", "conversation_search", "{"),
)
EVERY_MESSAGE = (
    stored("system", TextPart("You are Ada.")),
    stored("user", TextPart("hi"), otid="mine", name="Ann", sender_id="user-1"),
    stored("user", TextPart("look"), ImagePart(Base64Image("image/png", "aGk="))),
    stored("assistant", *EVERY_PART),
    stored("tool", ToolReturnPart("call_1", "memory_insert", "done", stdout=("printed",))),
    stored("tool", ToolReturnPart("call_1", "look", (TextPart("a"), TextPart("b")), status="error"), is_err=True),
    stored("summary", TextPart("They met.")),
)


@pytest.mark.parametrize("message", EVERY_MESSAGE, ids=lambda message: message.role)
def test_every_message_has_every_field_of_the_contract_in_the_clients_order(message: Message) -> None:
    for wire in shown(message):
        assert not find_problems(wire, reference(MESSAGE_SCHEMAS[wire["message_type"]]))
        assert tuple(wire)[: len(COMMON_FIELDS)] == COMMON_FIELDS


@pytest.mark.parametrize("message", EVERY_MESSAGE, ids=lambda message: message.role)
def test_the_documented_models_are_what_is_sent(message: Message) -> None:
    for wire in wire_messages(message, RequestConfig()):
        assert model_of(type(wire)).model_validate_json(encode(wire)).model_dump(mode="json") == json.loads(
            encode(wire)
        )


def test_a_reply_is_one_message_a_part_told_apart_by_otid() -> None:
    messages = shown(stored("assistant", *EVERY_PART))
    assert [message["message_type"] for message in messages] == [
        "reasoning_message",
        "reasoning_message",
        "hidden_reasoning_message",
        "hidden_reasoning_message",
        "assistant_message",
        "tool_call_message",
        "tool_call_message",
    ]
    assert {message["id"] for message in messages} == {ID}
    # The provider's own item is shown to nobody, but has its place in the count.
    assert [message["otid"] for message in messages] == [part_otid(ID, index) for index in (0, 1, 2, 3, 5, 6, 7)]
    assert messages[1]["reasoning"] == "first\n\nthen"
    assert messages[5]["tool_calls"] == [messages[5]["tool_call"]]


def test_dates_are_whole_seconds_with_an_offset() -> None:
    assert shown(stored("user", TextPart("hi")))[0]["date"] == "2026-11-21T15:12:35+00:00"


def test_an_input_message_keeps_its_own_otid_and_text_alone_is_a_string() -> None:
    (message,) = shown(stored("user", TextPart("hi"), otid="mine"))
    assert (message["otid"], message["content"]) == ("mine", "hi")


def test_several_parts_of_a_user_message_are_a_list() -> None:
    (message,) = shown(stored("user", TextPart("look"), ImagePart(Base64Image("image/png", "aGk="))))
    assert message["content"] == [
        {"type": "text", "text": "look", "signature": None},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk=", "detail": None}},
    ]


def test_returns_that_are_stored_together_are_listed_together() -> None:
    returns = (ToolReturnPart("call_1", "a", "one"), ToolReturnPart("call_2", "b", "two", status="error"))
    (message,) = shown(stored("tool", *returns))
    assert (message["tool_call_id"], message["tool_return"], message["name"]) == ("call_1", "one", "a")
    assert [part["tool_call_id"] for part in message["tool_returns"]] == ["call_1", "call_2"]


SPEAKING = stored("assistant", ToolCallPart("call_1", "send_message", '{"message": "Hello"}'))
SPOKEN = stored("tool", ToolReturnPart("call_1", "send_message", "Sent."))


def test_calling_the_message_tool_is_speaking_and_its_return_is_not_shown() -> None:
    (message,) = shown(SPEAKING)
    assert (message["message_type"], message["content"]) == ("assistant_message", "Hello")
    assert shown(SPOKEN) == []


def test_a_message_tool_that_failed_is_shown_failing() -> None:
    failed = stored("tool", ToolReturnPart("call_1", "send_message", "no such argument", status="error"))
    assert shown(failed)[0]["message_type"] == "tool_return_message"
    assert (
        shown(stored("assistant", ToolCallPart("call_1", "send_message", "[1]")))[0]["tool_call"]["arguments"] == "[1]"
    )


@pytest.mark.parametrize(
    "config",
    [RequestConfig(use_assistant_message=False), RequestConfig(assistant_message_tool_name="say")],
    ids=["not wanted", "another tool"],
)
def test_the_message_tool_is_a_tool_like_any_other_for_those_who_ask(config: RequestConfig) -> None:
    assert [message["message_type"] for message in shown(SPEAKING, config) + shown(SPOKEN, config)] == [
        "tool_call_message",
        "tool_return_message",
    ]


def test_only_the_wanted_types_are_shown() -> None:
    config = RequestConfig(include_return_message_types=("assistant_message",))
    assert [message["content"] for message in shown(stored("assistant", *EVERY_PART), config)] == ["Hello"]


def test_a_filter_by_type_asks_the_store_for_roles() -> None:
    assert roles_of(None) == ()
    assert roles_of(("assistant_message", "reasoning_message", "user_message")) == ("assistant", "user")
    assert roles_of(("event_message",)) is None


@pytest.mark.parametrize("struct", WireMessage.__subclasses__(), ids=lambda struct: struct.__name__)
def test_the_document_says_which_type_a_message_is_of(struct: type[WireMessage]) -> None:
    expected = re.sub(r"(?<!^)(?=[A-Z])", "_", struct.__name__).lower()
    assert model_of(struct).model_json_schema()["properties"]["message_type"]["const"] == expected


@pytest.mark.parametrize("blank", ["", " "])
def test_a_call_that_was_stored_without_arguments_is_shown_with_an_empty_object(blank: str) -> None:
    (asked,) = shown(stored("assistant", ToolCallPart("c1", "Bash", blank, awaits="client")))
    assert [call["arguments"] for call in [asked["tool_call"], *asked["tool_calls"]]] == ["{}", "{}"]
    (called,) = shown(stored("assistant", ToolCallPart("c1", "find", blank)))
    assert called["tool_call"]["arguments"] == "{}"
