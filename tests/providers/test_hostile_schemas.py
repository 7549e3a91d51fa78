"""Schemas of clients' tools that no schema language would take, or made to take long: a request comes of all."""

from typing import Any

import pytest

from tertulia.domain.json_values import MAX_DEPTH, complaint
from tertulia.providers.anthropic.schema import closed_schema
from tertulia.providers.gemini.schema import known_schema
from tertulia.providers.openai.strict_schema import strict_schema
from tests.support.nesting import nested


def _in_properties(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(depth):
        schema = {"type": "object", "properties": {"a": schema}}
    return schema


SCHEMAS: dict[str, dict[str, Any]] = {
    "nothing": {},
    "properties that are none": {"type": "object", "properties": 5},
    "a property that is no schema": {"type": "object", "properties": {"a": True, "b": None, "c": []}},
    "required that is no list": {"type": "object", "properties": {"a": {"type": "string"}}, "required": 7},
    "required of no names": {"type": "object", "properties": {"a": {"type": "string"}}, "required": [[], {}]},
    "all of anything": {"allOf": [True, {"properties": {"a": {}}}, 5, {"allOf": [False]}]},
    "any of anything": {"type": "object", "properties": {"a": {"anyOf": [True, None, {"type": "string"}]}}},
    "a loop": {"type": "object", "properties": {"a": {"$ref": "#"}}, "$defs": {"x": {"$ref": "#/$defs/x"}}},
    "definitions that are none": {"type": "object", "properties": {}, "$defs": {"x": True}, "definitions": []},
    "as deep as may be": _in_properties((MAX_DEPTH - 2) // 2),
    "deep and no schema": nested(MAX_DEPTH),
    "an enum of objects": {"type": "object", "properties": {"a": {"type": "string", "enum": [{}, [], None]}}},
}


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_schema_that_may_be_sent_becomes_one_or_none(name: str) -> None:
    schema = SCHEMAS[name]
    assert complaint(schema) is None
    assert isinstance(known_schema(schema), dict)
    for convert in (strict_schema, closed_schema):
        assert isinstance(convert(schema), dict | None)


def test_many_schemas_in_one_are_merged_property_by_property() -> None:
    options = [
        {"properties": {f"p{number}": {"type": "string"}}, "required": [f"p{number}"]} for number in range(3_000)
    ]
    known = known_schema({"allOf": options})
    assert len(known["properties"]) == len(known["required"]) == 3_000
