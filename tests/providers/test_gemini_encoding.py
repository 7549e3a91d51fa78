"""A history as the contents of a Gemini body, checked as the service checks it."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tertulia.context.pairing import paired
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
    RedactedReasoningPart,
    Role,
    TextPart,
    ToolReturnPart,
    UrlImage,
)
from tertulia.ports.provider import ModelRequest
from tertulia.providers.encoding.tool_names import tool_name
from tertulia.providers.gemini.encoding import NO_SIGNATURE, UNNAMED
from tests.support.gemini_bodies import (
    MINE,
    NEW,
    OLD,
    body_of,
    called,
    contents_of,
    message,
    new_encoder,
    returned,
    texts,
)
from tests.support.tool_specs import SEARCH


def test_the_system_prompt_is_the_system_instruction() -> None:
    assert body_of(message("user", "hi"))["systemInstruction"] == {"parts": texts("Be terse.")}
    assert "systemInstruction" not in body_of(message("user", "hi"), system=" ")


def test_neighbours_of_one_side_become_one_content() -> None:
    contents = contents_of(
        message("user", "one"),
        message("system", "a note"),
        message("summary", "what was before"),
        message("assistant", "a", model=MINE),
        message("assistant", "b", model="openai/gpt-5"),
        message("user", "two"),
    )
    assert contents == [
        ("user", texts("one", "a note", "what was before")),
        ("model", texts("a", "b")),
        ("user", texts("two")),
    ]


def test_results_come_first_and_in_the_order_of_their_calls() -> None:
    contents = contents_of(
        message("user", "go"),
        message("assistant", "Let me see.", called("a", '{"query": "x"}'), called("b"), called("c")),
        message("tool", returned("c")),
        message("approval", ApprovalPart("b", approve=True), returned("b")),
        message("user", "hurry"),
        message("tool", returned("b", "no such thing", status="error"), returned("a")),
    )
    calls: list[dict[str, Any]] = [{"functionCall": {"id": id_, "name": "search", "args": {}}} for id_ in "abc"]
    calls[0]["functionCall"]["args"] = {"query": "x"}
    assert contents[1] == ("model", [*texts("Let me see."), {**calls[0], "thoughtSignature": NO_SIGNATURE}, *calls[1:]])
    found = [part.get("functionResponse", part) for part in contents[2][1]]
    assert found == [
        {"id": "a", "name": "search", "response": {"output": "found"}},
        {"id": "b", "name": "search", "response": {"error": "no such thing"}},
        {"id": "c", "name": "search", "response": {"output": "found"}},
        *texts("hurry"),
    ]


def test_ids_that_gemini_did_not_give_stay_here() -> None:
    id_ = f"{UNNAMED}1"
    reply = message("assistant", called(id_, signature="sig=="), model=MINE)
    sent: dict[str, Any] = {"functionCall": {"name": "search", "args": {}}, "thoughtSignature": "sig=="}
    contents = contents_of(message("user", "go"), reply, message("tool", returned(id_)), issued=[sent])
    assert contents[1][1] == [sent]
    assert "id" not in contents[2][1][0]["functionResponse"]


def test_a_history_that_the_model_begins_gets_an_opening() -> None:
    for messages in ((message("assistant", "Hello!", model=MINE), message("user", "hi")), ()):
        assert contents_of(*messages)[0] == ("user", texts("(The assistant speaks first.)"))


@pytest.mark.parametrize("empty", [(), ("",), (" \n",), (OmittedReasoningPart(),), (CitationsPart(({},)),)])
def test_a_message_without_a_word_is_left_out(empty: Sequence[Part | str]) -> None:
    contents = contents_of(message("user", "hi"), message("assistant", *empty, model=MINE), message("user", "", *empty))
    assert contents == [("user", texts("hi"))]


SIGNED = (
    ReasoningPart("Hm.", signature="of the thought=="),
    TextPart("Yes.", "of the text=="),
    called("a", '{"query": "é"}', signature="of the call=="),
    called("b"),
)
SENT_BACK: list[dict[str, Any]] = [
    {"text": "Hm.", "thought": True, "thoughtSignature": "of the thought=="},
    {"text": "Yes.", "thoughtSignature": "of the text=="},
    {
        "functionCall": {"id": "a", "name": "search", "args": {"query": "é"}},
        "thoughtSignature": "of the call==",
    },
    {"functionCall": {"id": "b", "name": "search", "args": {}}},
]
ANSWERS = (message("tool", returned("a")), message("tool", returned("b")))


@pytest.mark.parametrize("model", [NEW, OLD])
def test_signatures_go_back_on_the_part_they_came_on(model: str) -> None:
    reply = message("assistant", *SIGNED, model=MINE)
    contents = contents_of(message("user", "hi"), reply, *ANSWERS, issued=SENT_BACK[:3], model=model)
    assert contents[1][1] == SENT_BACK


@pytest.mark.parametrize(
    ("text", "signature", "parts"),
    [
        ("Héllo", "s==#2", [{"text": "Hél"}, {"text": "lo", "thoughtSignature": "s=="}]),
        ("Héllo", "s==#0", [{"text": "Héllo"}, {"text": "", "thoughtSignature": "s=="}]),
        ("", "s==", [{"text": "", "thoughtSignature": "s=="}]),
        ("lo", "s==#5", [{"text": "lo", "thoughtSignature": "s=="}]),
    ],
)
def test_a_text_that_was_signed_in_part_goes_back_in_its_parts(
    text: str, signature: str, parts: list[dict[str, Any]]
) -> None:
    history = (message("user", "hi"), message("assistant", TextPart(text, signature), model=MINE), message("user", "?"))
    assert contents_of(*history, issued=parts[-1:])[1] == ("model", parts)


FOREIGN = [
    {"text": "Yes."},
    {**SENT_BACK[2], "thoughtSignature": NO_SIGNATURE},
    SENT_BACK[3],
]


@pytest.mark.parametrize("writer", [None, "openai/gpt-5", "anthropic/claude", "google_vertex/gemini-3", "google_ai2/g"])
def test_signatures_of_others_stay_here_and_their_first_call_gets_the_stand_in(writer: str | None) -> None:
    native = NativePart("google_ai", {"executableCode": {"code": "1"}})
    reply = message("assistant", native, RedactedReasoningPart("opaque"), *SIGNED, model=writer)
    assert contents_of(message("user", "hi"), reply, *ANSWERS)[1] == ("model", FOREIGN)


def test_models_before_gemini_3_need_no_stand_in() -> None:
    contents = contents_of(message("user", "hi"), message("assistant", *SIGNED, model=None), *ANSWERS, model=OLD)
    assert [part for part in contents[1][1] if "thoughtSignature" in part] == []


def test_a_conversation_may_go_on_with_a_newer_model() -> None:
    shared = new_encoder()
    history = (message("user", "hi"), message("assistant", called("a"), called("b"), model=MINE), *ANSWERS)
    for model, signed in ((OLD, 0), (NEW, 1), (OLD, 0)):
        contents = contents_of(*history, encoder=shared, model=model)
        assert sum("thoughtSignature" in part for part in contents[1][1]) == signed


@pytest.mark.parametrize(
    ("model", "older"),
    [
        ("gemini-2.5-pro", True),
        ("models/gemini-1.5-flash", True),
        ("publishers/google/models/gemini-2.0-flash-001", True),
        ("gemini-pro", True),
        ("gemma-3-27b-it", True),
        ("gemini-3-flash", False),
        ("gemini-3.7-flash", False),
        ("gemini-4-pro", False),
        ("gemini-10-pro", False),
        ("gemini-pro-latest", False),
        ("gemini-flash-latest", False),
        ("endpoints/12", False),
    ],
)
def test_the_generation_of_a_model_is_told_by_its_name(model: str, *, older: bool) -> None:
    history = [message("user", "hi"), message("assistant", called("a")), *ANSWERS[:1]]
    body = new_encoder().encode(ModelRequest(model=model, system="", messages=history))
    assert (NO_SIGNATURE.encode() not in body) is older


def test_thoughts_without_a_signature_are_left_out() -> None:
    history = (message("user", "hi"), message("assistant", ReasoningPart("Hm."), "Yes.", model=MINE))
    assert contents_of(*history, message("user", "?"))[1] == ("model", texts("Yes."))


def test_items_of_the_providers_own_go_back_verbatim() -> None:
    item = {"executableCode": {"language": "PYTHON", "code": "print(1)"}, "thoughtSignature": "s=="}
    reply = message("assistant", NativePart("google_ai", item), "1", model=MINE)
    contents = contents_of(message("user", "hi"), reply, message("user", "?"), issued=[item])
    assert contents[1][1] == [item, *texts("1")]


@pytest.mark.parametrize(
    ("arguments", "sent"),
    [
        ('{"b": 1, "a": [1.50, "é"]}', '"args":{"b": 1, "a": [1.50, "é"]}'),
        ("", '"args":{}'),
        ('{"query": ', '"args":{"invalid_arguments":"{\\"query\\": "}'),
        ("[1]", '"args":{"invalid_arguments":"[1]"}'),
    ],
)
def test_arguments_are_sent_as_the_model_wrote_them_or_inside_an_object(arguments: str, sent: str) -> None:
    history = [message("user", "hi"), message("assistant", called("a", arguments)), message("tool", returned("a"))]
    assert sent in new_encoder().encode(ModelRequest(model="m", system="", messages=history)).decode()


@pytest.mark.parametrize("name", ["a.b c", "1st", "_x", "é"])
def test_names_of_tools_are_made_to_fit(name: str) -> None:
    sent = tool_name(name)
    tool = msgspec.structs.replace(SEARCH, name=name)
    answer = ToolReturnPart(tool_call_id="a", name=name, content="found")
    history = (message("user", "hi"), message("assistant", called("a", name=name)), message("tool", answer))
    body = body_of(*history, tools=(tool,), tool_choice=name)
    assert body["tools"][0]["functionDeclarations"][0]["name"] == sent
    assert body["contents"][1]["parts"][0]["functionCall"]["name"] == sent
    assert body["toolConfig"] == {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": [sent]}}


@pytest.mark.parametrize(
    ("choice", "config"),
    [("auto", None), ("none", {"mode": "NONE"}), ("required", {"mode": "ANY"})],
)
def test_the_choice_of_tools_is_a_mode(choice: str, config: dict[str, Any] | None) -> None:
    body = body_of(message("user", "hi"), tool_choice=choice)
    assert body.get("toolConfig") == (config and {"functionCallingConfig": config})
    assert "toolConfig" not in body_of(message("user", "hi"), tool_choice=choice, tools=())


def test_the_beginning_of_the_body_is_the_same_in_the_next_request() -> None:
    shared = new_encoder()
    history = [message("user", "one"), message("assistant", *SIGNED, model=MINE), *ANSWERS, message("user", "two")]
    longer = [*history, message("assistant", "b", model=MINE), message("user", "three")]
    first = shared.encode(ModelRequest(model=NEW, system="s", tools=(SEARCH,), messages=history))
    second = shared.encode(ModelRequest(model=NEW, system="s", tools=(SEARCH,), messages=longer))
    assert second.startswith(first.removesuffix(b"]}"))
    assert new_encoder().encode(ModelRequest(model=NEW, system="s", tools=(SEARCH,), messages=longer)) == second


_TEXT = st.text(max_size=5)
_PARTS = st.one_of(
    _TEXT.map(TextPart),
    st.sampled_from(
        [
            *SIGNED[:2],
            ReasoningPart("unsigned"),
            RedactedReasoningPart("opaque"),
            NativePart("google_ai", {"executableCode": {"code": "1"}}),
            ImagePart(UrlImage("https://a.example/i.png")),
            ImagePart(Base64Image("image/png", "AAAA")),
        ]
    ),
)


@st.composite
def any_history(draw: st.DrawFn) -> list[Message]:
    """Any order of roles, with calls that are answered sooner, later or never."""
    found: list[Message] = []
    open_calls: list[str] = []
    for number in range(draw(st.integers(0, 12))):
        role: Role = draw(st.sampled_from(["user", "assistant", "system", "tool", "approval", "summary"]))
        parts = draw(st.lists(_PARTS, max_size=3))
        if role == "assistant":
            calls = [f"call.{number}.{index}" for index in range(draw(st.integers(0, 2)))]
            open_calls += calls
            model = draw(st.sampled_from([MINE, "openai/gpt-5", None]))
            found.append(message(role, *parts, *map(called, calls), model=model))
        elif role == "tool":
            if open_calls:
                answered = draw(st.sampled_from(open_calls))
                open_calls.remove(answered)
                found.append(message(role, returned(answered, draw(_TEXT))))
        elif role == "approval":
            found.append(message(role, ApprovalPart("x", approve=True)))
        else:
            shown = [part for part in parts if isinstance(part, TextPart | ImagePart)]
            found.append(message(role, *shown))
    return [*paired(found), message("user", "go on")]


@settings(deadline=None)
@given(history=any_history(), model=st.sampled_from([NEW, OLD]))
def test_any_history_is_one_the_service_takes(history: list[Message], model: str) -> None:
    body_of(*history, model=model, issued=SENT_BACK[:2])
