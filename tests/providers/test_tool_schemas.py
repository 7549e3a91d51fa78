"""Schemas of tools as every provider takes them."""

from typing import Any

import pytest

from tertulia.providers.encoding.tool_schemas import object_schema

A: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
AB: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "integer"}, "b": {}}, "required": ["a", "b"]}
EMPTY: dict[str, Any] = {"type": "object", "properties": {}}


def test_a_schema_that_all_take_is_sent_as_it_is() -> None:
    assert object_schema(A) is A


@pytest.mark.parametrize("schema", [{}, {"type": "object"}, {"type": None}, {"type": "object", "properties": None}])
def test_what_is_left_out_is_added(schema: dict[str, Any]) -> None:
    assert object_schema(schema) == EMPTY


def test_what_else_it_says_stays() -> None:
    schema: dict[str, Any] = {"description": "d", "additionalProperties": False, "$defs": {"x": {}}}
    assert object_schema(schema) == {**EMPTY, **schema}


@pytest.mark.parametrize("key", ["anyOf", "oneOf"])
def test_a_choice_of_objects_is_one_with_the_properties_of_all(key: str) -> None:
    found = object_schema({key: [A, AB]})
    assert found == {"type": "object", "properties": {"a": {"type": "string"}, "b": {}}}


def test_what_holds_in_any_case_stays_required() -> None:
    assert object_schema({"allOf": [A, {"properties": {"c": {}}}]}) == {
        "type": "object",
        "properties": {"c": {}, "a": {"type": "string"}},
        "required": ["a"],
    }


def test_a_reference_at_the_top_is_followed_once_and_never_round_in_circles() -> None:
    assert object_schema({"$ref": "#/$defs/x", "$defs": {"x": A}}) == {**A, "$defs": {"x": A}}
    for target in ("#/$defs/x", "#/$defs/none", "#", "https://example.org/x", 5):
        schema: dict[str, Any] = {"$ref": target, "$defs": {"x": {"$ref": "#/$defs/x"}}}
        assert object_schema(schema)["properties"] == {}


@pytest.mark.parametrize("schema", [{"anyOf": True}, {"allOf": [True, 5]}, {"required": 5}, {"properties": [1]}])
def test_what_makes_no_sense_is_left_out(schema: dict[str, Any]) -> None:
    assert object_schema(schema)["properties"] == {}
