"""Schemas of tools, and what is left of them for Gemini."""

from typing import Any

import pytest

from tertulia.providers.gemini.schema import known_schema
from tests.support.gemini_schemas import schema_violations


def sent(schema: Any) -> Any:
    """What becomes of a property's schema."""
    whole = known_schema({"type": "object", "properties": {"x": schema}})
    assert not schema_violations(whole, "parameters")
    return whole["properties"]["x"]


def test_a_tool_without_parameters_takes_an_object() -> None:
    assert known_schema({}) == {"type": "object", "properties": {}}
    assert known_schema({"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object"}) == {
        "type": "object",
        "properties": {},
    }


@pytest.mark.parametrize(
    ("given", "left"),
    [
        (
            {"type": "string", "description": "d", "title": "t", "format": "date", "enum": ["a", "b"]},
            {"type": "string", "description": "d", "title": "t", "format": "date", "enum": ["a", "b"]},
        ),
        (
            {"type": "integer", "minimum": 0, "exclusiveMinimum": 0, "maximum": 9, "multipleOf": 3, "default": 3},
            {"type": "integer", "minimum": 0, "maximum": 9},
        ),
        ({"type": ["string", "null"], "pattern": "a+", "minLength": 1}, {"type": ["string", "null"]}),
        ({"const": "a"}, {"enum": ["a"]}),
        ({"const": True}, {"type": "boolean"}),
        ({"enum": ["a", None]}, {"type": ["string", "null"]}),
        ({"type": "string", "enum": ["a", None]}, {"type": "string"}),
        ({"oneOf": [{"type": "string"}, {"type": "null"}]}, {"anyOf": [{"type": "string"}, {"type": "null"}]}),
        (
            {"type": "array", "items": {"type": "string", "pattern": "a"}},
            {"type": "array", "items": {"type": "string"}},
        ),
        (
            {"type": "array", "items": [{"type": "string"}, True]},
            {"type": "array", "prefixItems": [{"type": "string"}, {}]},
        ),
        (
            {"type": "object", "additionalProperties": {"type": "string"}, "propertyNames": {"pattern": "a"}},
            {"type": "object", "additionalProperties": {"type": "string"}},
        ),
        ({"type": "object", "additionalProperties": False}, {"type": "object", "additionalProperties": False}),
        (True, {}),
    ],
)
def test_keywords_that_the_api_does_not_know_are_left_out(given: Any, left: Any) -> None:
    assert sent(given) == left


def test_a_property_may_be_named_like_a_keyword() -> None:
    assert sent({"type": "object", "properties": {"default": {"type": "string"}}}) == {
        "type": "object",
        "properties": {"default": {"type": "string"}},
    }


def test_references_stand_alone_and_lead_to_definitions_under_the_new_name() -> None:
    schema = {
        "type": "object",
        "properties": {"x": {"$ref": "#/definitions/Node", "description": "the root"}},
        "definitions": {"Node": {"type": "object", "properties": {"next": {"$ref": "#/definitions/Node"}}}},
    }
    assert known_schema(schema) == {
        "type": "object",
        "properties": {"x": {"$ref": "#/$defs/Node"}},
        "$defs": {"Node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}}}},
    }


def test_schemas_that_all_hold_become_one() -> None:
    both = {
        "description": "both",
        "allOf": [
            {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]},
            {"allOf": [{"properties": {"b": {"type": "integer"}}, "required": ["b", "a"]}]},
        ],
    }
    assert sent(both) == {
        "type": "object",
        "properties": {"a": {"type": "string"}, "b": {"type": "integer"}},
        "required": ["a", "b"],
        "description": "both",
    }
