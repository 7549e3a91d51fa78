"""Schemas in OpenAI's strict form."""

from typing import Any

import pytest

from tertulia.providers.openai.strict_schema import strict_schema


def closed(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def test_objects_are_closed_at_every_depth() -> None:
    inner = {"type": "object", "properties": {"x": {"type": "integer", "title": "X"}}, "required": ["x"]}
    schema = {
        "type": "object",
        "properties": {"one": inner, "many": {"type": "array", "items": inner}, "named": {"$ref": "#/$defs/inner"}},
        "required": ["one", "many", "named"],
        "$defs": {"inner": inner},
    }
    strict_inner = closed(x={"type": "integer"})
    assert strict_schema(schema) == closed(
        one=strict_inner, many={"type": "array", "items": strict_inner}, named={"$ref": "#/$defs/inner"}
    ) | {"$defs": {"inner": strict_inner}}


@pytest.mark.parametrize(
    ("optional", "nullable"),
    [
        ({"type": "string", "default": "x"}, {"type": ["string", "null"]}),
        ({"type": ["string", "null"]}, {"type": ["string", "null"]}),
        ({"type": ["string", "integer"]}, {"type": ["string", "integer", "null"]}),
        ({"type": "string", "enum": ["a"]}, {"type": ["string", "null"], "enum": ["a", None]}),
        ({"anyOf": [{"type": "string"}]}, {"anyOf": [{"type": "string"}, {"type": "null"}]}),
        ({"oneOf": [{"type": "string"}, {"type": "null"}]}, {"anyOf": [{"type": "string"}, {"type": "null"}]}),
        ({"$ref": "#/$defs/a"}, {"anyOf": [{"$ref": "#/$defs/a"}, {"type": "null"}]}),
    ],
)
def test_optional_properties_become_required_and_nullable(optional: dict[str, Any], nullable: dict[str, Any]) -> None:
    assert strict_schema({"type": "object", "properties": {"a": optional}}) == closed(a=nullable)


def test_no_parameters_are_a_closed_empty_object() -> None:
    assert strict_schema({"type": "object"}) == closed()


@pytest.mark.parametrize(
    "open_schema",
    [
        {"type": "object", "additionalProperties": True},
        {"type": "object", "additionalProperties": {"type": "string"}},
        {"type": "object", "patternProperties": {"^x": {"type": "string"}}},
        {"type": "object", "properties": {"a": {"type": "object", "additionalProperties": True}}, "required": ["a"]},
        {"type": "object", "properties": {"a": {}}, "required": ["a"]},
        {"type": "object", "properties": {"a": {"type": "object"}}, "required": ["a"]},
    ],
)
def test_what_takes_keys_of_the_callers_choice_has_no_strict_form(open_schema: dict[str, Any]) -> None:
    assert strict_schema(open_schema) is None


def test_the_schema_given_is_not_changed() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string", "default": "x"}}}
    strict_schema(schema)
    assert schema == {"type": "object", "properties": {"a": {"type": "string", "default": "x"}}}
