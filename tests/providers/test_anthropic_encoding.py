"""A history as the turns of a Messages body, checked as the service checks it."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tertulia.domain.ids import new_message_id
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
from tertulia.domain.tools import ToolSpec
from tertulia.ports.provider import ModelRequest
from tertulia.providers.anthropic.encoding import MessagesEncoder
from tertulia.providers.anthropic.settings import HABITS
from tertulia.providers.encoding.tool_names import tool_name
from tests.support.anthropic_requests import find_violations
from tests.support.histories import any_history

HEADERS = {"x-api-key": "sk", "anthropic-version": "2023-06-01"}
SEARCH = ToolSpec(
    id="tool-1",
    name="search",
    description="Finds things.",
    parameters={"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]},
    tool_type="letta_core",
)
MINE = "anthropic/claude-sonnet-4-5"
ISSUED = {"sig+/=": "Hm.", "opaque==": "opaque=="}
MARK = {"cache_control": {"type": "ephemeral"}}


def message(role: Role, *parts: Part | str, **fields: Any) -> Message:
    return Message(
        id=new_message_id(),
        agent_id="agent-1",
        conversation_id="conv-1",
        role=role,
        content=tuple(TextPart(part) if isinstance(part, str) else part for part in parts),
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        **fields,
    )


def returned(id_: str, content: Any = "found", **fields: Any) -> ToolReturnPart:
    return ToolReturnPart(tool_call_id=id_, name="search", content=content, **fields)


def called(id_: str, arguments: str = "{}", name: str = "search") -> ToolCallPart:
    return ToolCallPart(id_, name, arguments)


def encoder(provider_type: str = "anthropic") -> MessagesEncoder:
    return MessagesEncoder(provider_type, frozenset({provider_type}), HABITS[provider_type])


def body_of(*messages: Message, encoder: MessagesEncoder | None = None, **fields: Any) -> dict[str, Any]:
    """The body, which the service would take."""
    fields = {"system": "Be terse.", "tools": (SEARCH,), **fields}
    request = ModelRequest(model="claude-sonnet-4-5", messages=messages, **fields)
    data = (encoder or globals()["encoder"]()).encode(request, 4096)
    body = msgspec.json.decode(data)
    assert not find_violations(HEADERS, body, ISSUED)
    return body


def turns_of(*messages: Message, **fields: Any) -> list[tuple[str, list[dict[str, Any]]]]:
    """Roles and blocks, without the cache marks."""
    return [
        (
            turn["role"],
            [{key: value for key, value in block.items() if key != "cache_control"} for block in turn["content"]],
        )
        for turn in body_of(*messages, **fields)["messages"]
    ]


def texts(*words: str) -> list[dict[str, Any]]:
    return [{"type": "text", "text": word} for word in words]


def test_neighbours_of_one_role_become_one_turn() -> None:
    turns = turns_of(
        message("user", "one"),
        message("system", "a note"),
        message("summary", "what was before"),
        message("assistant", "a", model=MINE),
        message("assistant", "b", model=MINE),
        message("user", "two"),
    )
    assert turns == [
        ("user", texts("one", "a note", "what was before")),
        ("assistant", texts("a", "b")),
        ("user", texts("two")),
    ]


def test_results_come_first_in_the_turn_after_their_calls() -> None:
    turns = turns_of(
        message("user", "go"),
        message("assistant", "Let me see.", called("a", '{"query": "x"}'), called("b"), model=MINE),
        message("tool", returned("a")),
        message("approval", ApprovalPart("b", approve=True), returned("b")),
        message("user", "hurry"),
        message("tool", returned("b", "no such thing", status="error")),
    )
    assert turns[1] == (
        "assistant",
        [
            *texts("Let me see."),
            {"type": "tool_use", "id": "a", "name": "search", "input": {"query": "x"}},
            {"type": "tool_use", "id": "b", "name": "search", "input": {}},
        ],
    )
    assert turns[2] == (
        "user",
        [
            {"type": "tool_result", "tool_use_id": "a", "content": "found"},
            {"type": "tool_result", "tool_use_id": "b", "is_error": True, "content": "no such thing"},
            *texts("hurry"),
        ],
    )


def test_a_history_that_the_assistant_begins_gets_an_opening() -> None:
    for messages in ((message("assistant", "Hello!", model=MINE), message("user", "hi")), ()):
        assert turns_of(*messages)[0] == ("user", texts("(The assistant speaks first.)"))


@pytest.mark.parametrize("empty", [(), ("",), (" \n",), (OmittedReasoningPart(),)])
def test_a_message_without_a_word_is_left_out(empty: Sequence[Part | str]) -> None:
    turns = turns_of(message("user", "hi"), message("assistant", *empty, model=MINE), message("user", *empty))
    assert turns == [("user", texts("hi"))]


THOUGHTS = (ReasoningPart("Hm.", signature="sig+/="), RedactedReasoningPart("opaque=="))
SENT_BACK = [
    {"type": "thinking", "thinking": "Hm.", "signature": "sig+/="},
    {"type": "redacted_thinking", "data": "opaque=="},
]


def test_thinking_goes_back_unchanged_and_in_its_place() -> None:
    reply = message("assistant", *THOUGHTS, "Yes.", called("a"), model=MINE)
    turns = turns_of(message("user", "hi"), reply, message("tool", returned("a")))
    assert turns[1][1][:3] == [*SENT_BACK, *texts("Yes.")]


@pytest.mark.parametrize("writer", [None, "openai/gpt-5", "moonshot_coding/k", "anthropic-mirror/claude"])
def test_thinking_of_others_stays_here(writer: str | None) -> None:
    foreign = (*THOUGHTS, NativePart("anthropic", {"type": "server_tool_use"}), SummarizedReasoningPart("rs_1", ()))
    turns = turns_of(message("user", "hi"), message("assistant", *foreign, "Yes.", model=writer), message("user", "?"))
    assert turns[1] == ("assistant", texts("Yes."))


def test_thinking_without_a_signature_goes_back_only_where_it_is_wanted() -> None:
    history = [message("user", "hi"), message("assistant", ReasoningPart("Hm."), "Yes.", model="anthropic/claude")]
    assert turns_of(*history, message("user", "?"))[1] == ("assistant", texts("Yes."))
    kimi = [message("user", "hi"), message("assistant", ReasoningPart("Hm."), "Yes.", model="moonshot_coding/kimi")]
    request = ModelRequest(model="kimi", system="", messages=kimi)
    sent = msgspec.json.decode(encoder("moonshot_coding").encode(request, 10))["messages"]
    assert sent[1]["content"][0] == {"type": "thinking", "thinking": "Hm.", "signature": ""}


def test_items_of_the_providers_own_go_back_verbatim() -> None:
    item = {"type": "server_tool_use", "id": "srv_1", "name": "web_search", "input": {"query": "tea"}}
    reply = message("assistant", NativePart("anthropic", item), "Yes.", model=MINE)
    request = ModelRequest(model="claude", system="", messages=[message("user", "hi"), reply])
    assert msgspec.json.decode(encoder().encode(request, 10))["messages"][1]["content"][0] == item


@pytest.mark.parametrize(
    ("arguments", "sent"),
    [
        ('{"b": 1, "a": [1.50, "é"]}', '"input":{"b": 1, "a": [1.50, "é"]}'),
        ("", '"input":{}'),
        ("  ", '"input":{}'),
        ('{"query": ', '"input":{"invalid_arguments":"{\\"query\\": "}'),
        ("[1]", '"input":{"invalid_arguments":"[1]"}'),
    ],
)
def test_arguments_are_sent_as_the_model_wrote_them_or_inside_an_object(arguments: str, sent: str) -> None:
    reply = message("assistant", called("a", arguments), model=MINE)
    request = ModelRequest(
        model="m", system="", messages=[message("user", "hi"), reply, message("tool", returned("a"))]
    )
    assert sent in encoder().encode(request, 10).decode()


@pytest.mark.parametrize("id_", ["call.1", "functions.search:0", "x" * 65, "é", "a b"])
def test_call_ids_of_other_providers_are_made_to_fit(id_: str) -> None:
    turns = turns_of(
        message("user", "hi"), message("assistant", called(id_), model=None), message("tool", returned(id_))
    )
    assert turns[1][1][0]["id"] == turns[2][1][0]["tool_use_id"] != id_


def test_names_of_tools_are_made_to_fit() -> None:
    turns = turns_of(
        message("user", "hi"), message("assistant", called("a", name="a.b c")), message("tool", returned("a"))
    )
    assert turns[1][1][0]["name"] == tool_name("a.b c")


PIXEL = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}


@pytest.mark.parametrize(
    ("source", "block"),
    [
        (Base64Image("image/png", "AAAA", "low"), PIXEL),
        (StoredImage("file-1", "image/png", "AAAA"), PIXEL),
        (StoredImage("file-1", None, "AAAA"), PIXEL),
        (UrlImage("data:image/png;base64,AAAA"), PIXEL),
        (
            UrlImage("https://a.example/x.png"),
            {"type": "image", "source": {"type": "url", "url": "https://a.example/x.png"}},
        ),
        (StoredImage("file-1"), texts("[an image is missing here: it is no longer available]")[0]),
        (Base64Image("image/tiff", "AAAA"), texts("[an image of type image/tiff, which this model cannot see]")[0]),
        (
            UrlImage("http://a.example/x.png"),
            texts("[an image at http://a.example/x.png, which cannot be shown: its address is not https]")[0],
        ),
    ],
)
def test_images_are_shown_or_named(source: Any, block: dict[str, Any]) -> None:
    part = ImagePart(source)
    assert turns_of(message("user", "look", part))[0][1] == [*texts("look"), block]
    reply = message("assistant", called("a"), model=MINE)
    turns = turns_of(message("user", "go"), reply, message("tool", returned("a", (TextPart("here"), part))))
    assert turns[2][1][0]["content"] == [*texts("here"), block]


@pytest.mark.parametrize(
    ("content", "status", "sent"),
    [
        ("", "success", {}),
        ((), "success", {}),
        ((TextPart(" "),), "success", {}),
        ("", "error", {"is_error": True, "content": "The tool failed and said nothing."}),
    ],
)
def test_a_result_without_words_is_still_a_result(content: Any, status: Any, sent: dict[str, Any]) -> None:
    history = [message("user", "go"), message("assistant", called("a"), model=MINE)]
    turns = turns_of(*history, message("tool", returned("a", content, status=status)))
    assert turns[2][1] == [{"type": "tool_result", "tool_use_id": "a", **sent}]


def test_the_system_prompt_and_the_last_two_turns_of_the_user_are_cached() -> None:
    history = [
        message("user", "one"),
        message("assistant", "a", model=MINE),
        message("user", "two"),
        message("assistant", *THOUGHTS, called("x"), model=MINE),
        message("tool", returned("x")),
        message("user", "three"),
    ]
    body = body_of(*history)
    assert body["system"] == [{**texts("Be terse.")[0], **MARK}]
    marked = [
        (turn, place)
        for turn, blocks in enumerate(body["messages"])
        for place, block in enumerate(blocks["content"])
        if "cache_control" in block
    ]
    assert marked == [(2, 0), (4, 1)]
    assert "cache_control" not in body["tools"][0]


def test_without_a_system_prompt_the_tools_are_cached() -> None:
    body = body_of(message("user", "hi"), system="")
    assert "system" not in body
    assert body["tools"][-1]["cache_control"] == {"type": "ephemeral"}


def test_the_beginning_of_the_body_is_the_same_in_the_next_request() -> None:
    shared = encoder()
    history = [message("user", "one"), message("assistant", *THOUGHTS, "a", model=MINE), message("user", "two")]
    longer = [*history, message("assistant", "b", model=MINE), message("user", "three")]
    first = shared.encode(ModelRequest(model="m", system="s", messages=history), 10)
    second = shared.encode(ModelRequest(model="m", system="s", messages=longer), 10)
    end = first.index(b'"two"')
    assert (
        first[:end].replace(_MARK, b"")
        == second[: len(first)].replace(_MARK, b"")[: len(first[:end].replace(_MARK, b""))]
    )
    assert shared.encode(ModelRequest(model="m", system="s", messages=longer), 10) == second


_MARK = b',"cache_control":{"type":"ephemeral"}'


def test_tools_of_the_past_are_named_where_none_is_on_offer() -> None:
    history = [message("user", "go"), message("assistant", called("a"), model=MINE), message("tool", returned("a"))]
    body = body_of(*history, tools=())
    assert body["tools"] == [{"name": "search", "input_schema": {"type": "object"}}]
    assert body["tool_choice"] == {"type": "none"}
    assert "tools" not in body_of(message("user", "hi"), tools=())


_PARTS: st.SearchStrategy[Part] = st.one_of(
    st.text(max_size=5).map(TextPart),
    st.just(THOUGHTS[0]),
    st.just(THOUGHTS[1]),
    st.sampled_from(
        [ReasoningPart("unsigned"), OmittedReasoningPart(), ImagePart(UrlImage("https://a.example/i.png"))]
    ),
)


@settings(deadline=None)
@given(history=any_history(_PARTS, [MINE, "openai/gpt-5", None]))
def test_any_history_is_one_the_service_takes(history: list[Message]) -> None:
    body_of(*history)
