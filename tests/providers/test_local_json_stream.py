import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tertulia.domain.errors import InvalidArgument
from tertulia.domain.tools import ToolSpec
from tertulia.ports.provider import ProviderEvent, TextPiece, ToolCallPiece
from tertulia.providers.local.constraint import Constraint, Opens, constraint
from tertulia.providers.local.envelope import EnvelopeReader, NotHeld
from tertulia.providers.local.json_stream import JsonString, JsonText

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
_CUTS = st.lists(st.integers(min_value=1, max_value=7), min_size=1, max_size=20)


def _split(text: str, cuts: list[int]) -> list[str]:
    """The text in pieces of these lengths, over and over."""
    pieces: list[str] = []
    at = 0
    while at < len(text):
        length = cuts[len(pieces) % len(cuts)]
        pieces.append(text[at : at + length])
        at += length
    return pieces


def _tool(name: str, parameters: dict[str, Any]) -> ToolSpec:
    return ToolSpec(id=f"tool-{name}", name=name, description=name, parameters=parameters, tool_type="custom")


def _schema(held_to: Constraint | None) -> dict[str, Any]:
    assert held_to is not None
    return held_to.schema


_SEARCH = _tool("search", {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]})
_SAVE = _tool("save", {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]})


@settings(deadline=None)
@given(st.text(), _CUTS, st.booleans())
def test_a_string_comes_out_the_same_however_its_stream_is_split(text: str, cuts: list[int], ascii_only: bool) -> None:
    encoded = json.dumps(text, ensure_ascii=ascii_only)[1:]
    decoder = JsonString()
    pieces = [decoder.feed(piece)[0] for piece in _split(encoded, cuts)]
    assert "".join(pieces) == text
    assert decoder.done


@settings(deadline=None)
@given(st.text(alphabet='ab\\"/bnrtu0d8f\n', max_size=40), _CUTS)
def test_even_what_no_encoder_writes_comes_out_the_same_however_it_is_split(raw: str, cuts: list[int]) -> None:
    whole, split = JsonString(), JsonString()
    expected = whole.feed(raw)[0]
    assert "".join(split.feed(piece)[0] for piece in _split(raw, cuts)) == expected
    assert split.done == whole.done


def test_half_a_surrogate_pair_becomes_a_replacement_character() -> None:
    decoder = JsonString()
    assert decoder.feed('a\\ud83dz"') == ("a\ufffdz", "")


def test_plain_characters_are_given_on_at_once_and_an_escape_when_it_is_whole() -> None:
    decoder = JsonString()
    assert decoder.feed("so \\")[0] == "so "
    assert decoder.feed("u00e")[0] == ""
    assert decoder.feed("9 it")[0] == "é it"
    assert decoder.feed('"}') == ("", "}")


@settings(deadline=None)
@given(st.dictionaries(st.text(), _JSON, max_size=4), _CUTS)
def test_an_objects_text_is_passed_on_up_to_its_last_bracket(value: dict[str, Any], cuts: list[int]) -> None:
    encoded = json.dumps(value)
    reader = JsonText()
    pieces = [reader.feed(piece)[0] for piece in _split(encoded + "}", cuts)]
    assert "".join(pieces) == encoded
    assert reader.done


def _read(text: str, cuts: list[int], opens: Opens = '"') -> tuple[list[ProviderEvent], EnvelopeReader]:
    reader = EnvelopeReader("call-1", opens)
    events = [event for piece in _split(text, cuts) for event in reader.feed(piece)]
    return events, reader


@settings(deadline=None)
@given(st.text(), _CUTS, st.sampled_from([None, 1]))
def test_a_reply_object_is_read_as_its_text(text: str, cuts: list[int], indent: int | None) -> None:
    events, reader = _read(json.dumps({"reply": text}, indent=indent), cuts)
    assert "".join(event.text for event in events if isinstance(event, TextPiece)) == text
    assert all(isinstance(event, TextPiece) for event in events)
    assert reader.complete
    assert not reader.called


@settings(deadline=None)
@given(st.dictionaries(st.text(), _JSON, max_size=4), _CUTS, st.text(min_size=1))
def test_a_call_object_is_read_as_one_tool_call(arguments: dict[str, Any], cuts: list[int], name: str) -> None:
    events, reader = _read(json.dumps({"call": name, "arguments": arguments}), cuts)
    calls = [event for event in events if isinstance(event, ToolCallPiece)]
    assert calls == events
    assert (calls[0].id, calls[0].name) == ("call-1", name)
    assert json.loads("".join(call.arguments for call in calls)) == arguments
    assert reader.complete
    assert reader.called


@settings(deadline=None)
@given(st.dictionaries(st.text(), _JSON, max_size=4), _CUTS)
def test_a_reply_that_is_an_object_is_read_as_its_json(value: dict[str, Any], cuts: list[int]) -> None:
    events, reader = _read(json.dumps({"reply": value}), cuts, "{")
    text = "".join(event.text for event in events if isinstance(event, TextPiece))
    assert json.loads(text) == value
    assert reader.complete


def test_text_begins_to_come_before_the_object_ends() -> None:
    reader = EnvelopeReader("call-1", '"')
    assert reader.feed('{"reply": "Hel') == [TextPiece("Hel")]
    assert reader.feed("lo") == [TextPiece("lo")]
    assert not reader.complete


@pytest.mark.parametrize("opens", ["{", None])
def test_a_reply_of_another_kind_than_was_asked_for_is_not_passed_on(opens: Opens | None) -> None:
    with pytest.raises(NotHeld):
        EnvelopeReader("call-1", opens).feed('{"reply": "Hello')


def test_without_tools_and_format_a_model_may_write_what_it_likes() -> None:
    assert constraint((), "auto", None) is None
    assert constraint((), "auto", {"type": "text"}) is None
    assert constraint((_SEARCH,), "none", None) is None


def test_with_tools_a_model_may_reply_or_call() -> None:
    schema = _schema(constraint((_SEARCH, _SAVE), "auto", None))
    assert [sorted(choice["properties"]) for choice in schema["anyOf"]] == [
        ["reply"],
        ["arguments", "call"],
        ["arguments", "call"],
    ]


def test_a_reply_object_can_be_asked_for_without_tools() -> None:
    held_to = constraint((), "auto", None, always_enveloped=True)
    assert list(_schema(held_to)["properties"]) == ["reply"]
    assert held_to
    assert held_to.enveloped


def test_a_model_that_must_call_cannot_reply() -> None:
    schema = _schema(constraint((_SEARCH, _SAVE), "required", None))
    assert all("reply" not in choice["properties"] for choice in schema["anyOf"])


def test_a_named_tool_is_the_only_one_that_can_be_called() -> None:
    schema = _schema(constraint((_SEARCH, _SAVE), "save", None))
    assert schema["properties"]["call"] == {"const": "save"}


def test_a_tool_choice_that_names_no_tool_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="'fly'"):
        constraint((_SEARCH,), "fly", None)


def test_a_json_schema_is_what_the_reply_is_held_to() -> None:
    wanted = {"type": "object", "properties": {"n": {"type": "integer"}}}
    response_format = {"type": "json_schema", "json_schema": {"name": "n", "schema": wanted}}
    alone = constraint((), "auto", response_format)
    assert _schema(alone) == wanted
    assert not alone or not alone.enveloped
    beside_tools = _schema(constraint((_SEARCH,), "auto", response_format))
    assert beside_tools["anyOf"][0]["properties"]["reply"] == wanted


def test_json_object_asks_for_any_object() -> None:
    assert _schema(constraint((), "auto", {"type": "json_object"})) == {"type": "object"}


@pytest.mark.parametrize(
    "response_format",
    [{"type": "xml"}, {"type": "json_schema"}, {"type": "json_schema", "json_schema": {"schema": {"type": "integer"}}}],
)
def test_a_response_format_that_cannot_be_kept_is_refused(response_format: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument, match="response_format"):
        constraint((), "auto", response_format)


def test_what_no_grammar_can_express_of_a_tool_is_left_out_and_of_a_response_format_is_not() -> None:
    tool = _tool("pay", {"type": "object", "properties": {"x": {"type": "string", "pattern": "^(?=a).*$"}}})
    held_to = constraint((tool,), "auto", None)
    assert held_to
    assert held_to.lenient
    assert "pattern" not in held_to.grammar
    held_to = constraint((), "auto", {"type": "json_schema", "json_schema": {"schema": tool.parameters}})
    assert held_to
    assert not held_to.lenient
    assert "pattern" in held_to.grammar


def test_definitions_of_several_tools_do_not_mix() -> None:
    def of(kind: str) -> dict[str, Any]:
        return {
            "type": "object",
            "properties": {"x": {"$ref": "#/$defs/X"}, "y": {"type": "array", "items": {"$ref": "#/definitions/Y"}}},
            "$defs": {"X": {"type": kind}},
            "definitions": {"Y": {"$ref": "#/$defs/X"}},
        }

    schema = _schema(constraint((_tool("a", of("string")), _tool("b", of("integer"))), "required", None))
    assert schema["$defs"] == {
        "a.X": {"type": "string"},
        "a.Y": {"$ref": "#/$defs/a.X"},
        "b.X": {"type": "integer"},
        "b.Y": {"$ref": "#/$defs/b.X"},
    }
    arguments = schema["anyOf"][1]["properties"]["arguments"]
    assert arguments["properties"]["x"] == {"$ref": "#/$defs/b.X"}
    assert "$defs" not in arguments
