"""A history as the turns of a Converse body, checked as the service checks it."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tertulia.domain.messages import (
    Base64Image,
    ImagePart,
    Message,
    NativePart,
    OmittedReasoningPart,
    Part,
    ReasoningPart,
    RedactedReasoningPart,
    StoredImage,
    SummarizedReasoningPart,
    TextPart,
    UrlImage,
)
from tertulia.ports.provider import ModelRequest
from tertulia.providers.encoding.tool_names import tool_name
from tests.support.bedrock_bodies import (
    CLAUDE,
    EARLY_CLAUDE,
    LLAMA,
    MINE,
    MISTRAL,
    NOVA,
    POINT,
    body_of,
    encoder,
    result,
    returned,
    texts,
    turns_of,
    written,
)
from tests.support.histories import answer, any_history, call, message

PIXEL = "iVBORw0KGgo="


def test_neighbours_of_one_role_become_one_turn() -> None:
    turns = turns_of(
        message("user", "one"),
        message("system", "a note"),
        message("summary", "what was before"),
        written("a"),
        written("b"),
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
        written("Let me see.", call("a", arguments='{"at": "x"}'), call("b")),
        answer("a"),
        message("user", "hurry"),
        returned("b", "no such thing", status="error"),
    )
    assert turns[1] == (
        "assistant",
        [
            *texts("Let me see."),
            {"toolUse": {"toolUseId": "a", "name": "look", "input": {"at": "x"}}},
            {"toolUse": {"toolUseId": "b", "name": "look", "input": {}}},
        ],
    )
    assert turns[2] == (
        "user",
        [result("a", *texts("done")), result("b", *texts("no such thing"), status="error"), *texts("hurry")],
    )


def test_a_history_that_the_assistant_begins_or_ends_gets_a_turn_of_the_users() -> None:
    turns = turns_of(written("Hello!"), message("user", "hi"), written("So?"))
    assert turns[0] == ("user", texts("(The assistant speaks first.)"))
    assert turns[-1] == ("user", texts("(Please go on.)"))
    assert turns_of() == [turns[0]]


@pytest.mark.parametrize(
    "empty", [(), ("",), (" \n",), (OmittedReasoningPart(),), (ReasoningPart("Hm.", signature="sig+/="),)]
)
def test_a_message_without_a_word_is_left_out(empty: Sequence[Part | str]) -> None:
    turns = turns_of(message("user", "hi"), written(*empty), message("user", *empty))
    assert turns == [("user", texts("hi"))]


THOUGHTS = (ReasoningPart("Hm.", signature="sig+/="), RedactedReasoningPart("b3BhcXVl"))
SENT_BACK = [
    {"reasoningContent": {"reasoningText": {"text": "Hm.", "signature": "sig+/="}}},
    {"reasoningContent": {"redactedContent": "b3BhcXVl"}},
]


def test_reasoning_goes_back_unchanged_and_in_its_place() -> None:
    turns = turns_of(message("user", "hi"), written(*THOUGHTS, "Yes.", call("a")), answer("a"))
    assert turns[1][1][:3] == [*SENT_BACK, *texts("Yes.")]


@pytest.mark.parametrize("writer", [None, "anthropic/claude-sonnet-4-5", f"bedrock/{NOVA}", f"bedrock-2/{CLAUDE}"])
def test_reasoning_of_others_stays_here(writer: str | None) -> None:
    foreign = (*THOUGHTS, NativePart("bedrock", {"a": 1}), SummarizedReasoningPart("rs_1", ()), "Yes.")
    turns = turns_of(message("user", "hi"), written(*foreign, by=writer), message("user", "?"))
    assert turns[1] == ("assistant", texts("Yes."))


def test_reasoning_goes_back_to_other_models_of_its_maker_and_to_none_of_others() -> None:
    history = [message("user", "hi"), written(*THOUGHTS, "Yes."), message("user", "?")]
    assert turns_of(*history, model="anthropic.claude-3-7-sonnet-20250219-v1:0")[1][1] == [*SENT_BACK, *texts("Yes.")]
    for model in (NOVA, LLAMA):
        assert turns_of(*history, model=model)[1][1] == texts("Yes.")


def test_reasoning_that_nobody_signed_stays_here() -> None:
    history = [message("user", "hi"), written(ReasoningPart("Hm."), "Yes."), message("user", "?")]
    assert turns_of(*history)[1][1] == texts("Yes.")


@pytest.mark.parametrize(
    ("arguments", "sent"),
    [
        ('{"b": 1, "a": [1.50, "é"]}', '"input":{"b": 1, "a": [1.50, "é"]}'),
        ("  ", '"input":{}'),
        ('{"query": ', '"input":{"invalid_arguments":"{\\"query\\": "}'),
        ("[1]", '"input":{"invalid_arguments":"[1]"}'),
    ],
)
def test_arguments_are_sent_as_the_model_wrote_them_or_inside_an_object(arguments: str, sent: str) -> None:
    history = [message("user", "hi"), written(call("a", arguments=arguments)), answer("a")]
    request = ModelRequest(model=CLAUDE, system="", messages=history)
    assert sent in encoder().encode(request).decode()


@pytest.mark.parametrize("id_", ["call.1", "functions.search:0", "x" * 65, "é", "a b"])
def test_call_ids_of_other_providers_are_made_to_fit(id_: str) -> None:
    turns = turns_of(message("user", "hi"), written(call(id_), by="openai/gpt-5"), answer(id_))
    assert turns[1][1][0]["toolUse"]["toolUseId"] == turns[2][1][0]["toolResult"]["toolUseId"] != id_


def test_names_of_tools_are_made_to_fit() -> None:
    turns = turns_of(message("user", "hi"), written(call("a", "a.b c")), answer("a"))
    assert turns[1][1][0]["toolUse"]["name"] == tool_name("a.b c")


IMAGE = {"image": {"format": "png", "source": {"bytes": PIXEL}}}
REMOTE = UrlImage("https://a.example/x.png")


@pytest.mark.parametrize(
    ("source", "block"),
    [
        (Base64Image("image/png", PIXEL, "low"), IMAGE),
        (Base64Image("image/jpeg", PIXEL), IMAGE),
        (Base64Image("image/jpg", "QUJD"), {"image": {"format": "jpeg", "source": {"bytes": "QUJD"}}}),
        (StoredImage("file-1", None, PIXEL), IMAGE),
        (UrlImage(f"data:image/png;base64,{PIXEL}"), IMAGE),
        (REMOTE, IMAGE),
        (UrlImage("https://a.example/gone.png"), texts("[an image is missing here: status 404]")[0]),
        (StoredImage("file-1"), texts("[an image is missing here: it is no longer available]")[0]),
        (Base64Image("image/tiff", "QUJD"), texts("[an image of type image/tiff, which this model cannot see]")[0]),
    ],
)
def test_images_are_shown_or_named(source: Any, block: dict[str, Any]) -> None:
    images = {REMOTE.url: Base64Image("image/png", PIXEL), "https://a.example/gone.png": "status 404"}
    part = ImagePart(source)
    assert turns_of(message("user", "look", part), images=images)[0][1] == [*texts("look"), block]
    history = [message("user", "go"), written(call("a")), returned("a", (TextPart("here"), part))]
    assert turns_of(*history, images=images)[2][1] == [result("a", *texts("here"), block)]


def test_a_message_whose_image_was_not_loaded_is_encoded_anew_when_it_is() -> None:
    shared = encoder()
    request = ModelRequest(model=CLAUDE, system="", messages=[message("user", ImagePart(REMOTE))])
    assert b"it has not been loaded" in shared.encode(request)
    loaded = {REMOTE.url: Base64Image("image/png", PIXEL)}
    assert PIXEL.encode() in shared.encode(
        ModelRequest(model=CLAUDE, system="", messages=request.messages, images=loaded)
    )


@pytest.mark.parametrize(
    ("content", "status", "words"),
    [
        ("", "success", "(The tool returned nothing.)"),
        ((), "success", "(The tool returned nothing.)"),
        ((TextPart(" "),), "success", "(The tool returned nothing.)"),
        ("", "error", "(The tool failed and said nothing.)"),
    ],
)
def test_a_result_without_words_gets_some(content: Any, status: Any, words: str) -> None:
    turns = turns_of(message("user", "go"), written(call("a")), returned("a", content, status=status))
    assert turns[2][1][0]["toolResult"]["content"] == texts(words)


def test_models_that_take_words_alone_in_results_get_them() -> None:
    content = (TextPart("here"), ImagePart(Base64Image("image/png", PIXEL)))
    history = [message("user", "go"), written(call("a")), returned("a", content, status="error")]
    words = texts("The tool failed.", "here", "[an image, which this model cannot see in what a tool returns]")
    assert turns_of(*history, model=LLAMA)[2][1] == [result("a", *words)]


def marked(body: dict[str, Any]) -> list[int]:
    """The turns that end in a cache point."""
    return [index for index, turn in enumerate(body["messages"]) if turn["content"][-1] == POINT]


def test_the_system_prompt_and_the_last_two_turns_of_the_user_are_cached() -> None:
    history = [message("user", "one"), written("a"), message("user", "two"), written(call("x")), answer("x")]
    body = body_of(*history)
    assert body["system"] == [*texts("Be terse."), POINT]
    assert marked(body) == [2, 4]
    assert marked(body_of(*history, written("b"))) == [2, 4], "a turn that was made up will not come again"


def test_nova_takes_no_cache_point_right_after_a_result() -> None:
    history = [message("user", "one"), written(call("x")), answer("x"), written(call("y")), answer("y")]
    assert marked(body_of(*history, model=NOVA)) == [0]
    assert marked(body_of(*history, message("user", "two"), model=NOVA)) == [0, 4]


@pytest.mark.parametrize("model", [LLAMA, MISTRAL, EARLY_CLAUDE])
def test_models_without_a_cache_get_no_cache_points(model: str) -> None:
    body = body_of(message("user", "one"), written("a"), message("user", "two"), model=model)
    assert POINT not in body["system"]
    assert marked(body) == []


def test_the_beginning_of_the_body_is_the_same_in_the_next_request() -> None:
    shared = encoder()
    history = [message("user", "one"), written(*THOUGHTS, "a"), message("user", "two")]
    longer = [*history, written("b"), message("user", "three")]
    first = shared.encode(ModelRequest(model=CLAUDE, system="s", messages=history))
    second = shared.encode(ModelRequest(model=CLAUDE, system="s", messages=longer))
    point = msgspec.json.encode(POINT)
    shared_part = first[: first.index(b'"two"')].replace(b"," + point, b"")
    assert second.replace(b"," + point, b"").startswith(shared_part)
    assert shared.encode(ModelRequest(model=CLAUDE, system="s", messages=longer)) == second


def test_one_message_is_worded_for_each_family_of_models() -> None:
    shared = encoder()
    history = [message("user", "go"), written(*THOUGHTS, call("a")), returned("a", "no", status="error")]
    bodies = [
        shared.encode(ModelRequest(model=model, system="", messages=history)) for model in (CLAUDE, LLAMA, CLAUDE)
    ]
    assert bodies[0] == bodies[2] != bodies[1]


_PARTS: st.SearchStrategy[Part] = st.one_of(
    st.text(max_size=5).map(TextPart),
    st.sampled_from([*THOUGHTS, ReasoningPart("unsigned"), OmittedReasoningPart(), ImagePart(REMOTE)]),
)


@settings(deadline=None, max_examples=60)
@given(
    history=any_history(_PARTS, [MINE, f"bedrock/{NOVA}", "openai/gpt-5", None]),
    model=st.sampled_from([CLAUDE, NOVA, LLAMA]),
)
def test_any_history_is_one_the_service_takes(history: list[Message], model: str) -> None:
    body_of(*history, model=model)
