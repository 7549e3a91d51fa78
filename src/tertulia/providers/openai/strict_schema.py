"""JSON schemas in OpenAI's strict form: every property required, no others allowed, optional ones nullable."""

from typing import Any, Final, cast

Schema = dict[str, Any]

_REFUSED: Final = ("default", "title", "examples")  # annotations that strict mode does not take
_COMBINATIONS: Final = ("anyOf", "oneOf", "allOf")


class _CannotBeStrict(Exception):
    pass


def strict_schema(schema: Schema) -> Schema | None:
    """The schema in its strict form, or None when it has none: objects with keys of the caller's choice."""
    try:
        return _strict({"properties": {}, **schema})  # a tool without parameters may not say so
    except _CannotBeStrict:
        return None


def _strict(schema: object) -> Schema:
    if not isinstance(schema, dict):
        raise _CannotBeStrict  # ``true``, or no schema at all
    schema = cast("Schema", schema)
    result = {key: value for key, value in schema.items() if key not in _REFUSED}
    if result.get("type") == "object" or "properties" in result:
        _close_object(result)
    if isinstance(result.get("items"), dict):
        result["items"] = _strict(result["items"])
    for key in _COMBINATIONS:
        if isinstance(result.get(key), list):
            # `oneOf` is not in the strict subset; for closed objects and plain types `anyOf` says the same.
            result["anyOf" if key == "oneOf" else key] = [_strict(option) for option in result.pop(key)]
    for key in ("$defs", "definitions"):
        if isinstance(result.get(key), dict):
            result[key] = {name: _strict(definition) for name, definition in result[key].items()}
    if not result:
        raise _CannotBeStrict  # the schema of anything at all
    return result


def _close_object(result: Schema) -> None:
    others = result.get("additionalProperties")
    if not (others is None or others is False) or "patternProperties" in result:
        raise _CannotBeStrict
    if not isinstance(result.get("properties"), dict):
        raise _CannotBeStrict
    properties = cast("dict[str, Schema]", result["properties"])
    required = cast("object", result.get("required") or [])
    if not isinstance(required, list) or not all(isinstance(name, str) for name in cast("list[object]", required)):
        raise _CannotBeStrict
    required = set(cast("list[str]", required))
    result["properties"] = {
        name: _strict(prop) if name in required else _nullable(_strict(prop)) for name, prop in properties.items()
    }
    result["required"] = list(properties)
    result["additionalProperties"] = False


def _nullable(schema: Schema) -> Schema:
    kind = schema.get("type")
    if isinstance(kind, str) and kind != "null":
        schema = {**schema, "type": [kind, "null"]}
        if "enum" in schema and None not in schema["enum"]:
            schema["enum"] = [*schema["enum"], None]
        return schema
    if isinstance(kind, list):
        return schema if "null" in kind else {**schema, "type": [*cast("list[str]", kind), "null"]}
    if isinstance(schema.get("anyOf"), list):
        options = cast("list[Schema]", schema["anyOf"])
        return schema if {"type": "null"} in options else {**schema, "anyOf": [*options, {"type": "null"}]}
    return {"anyOf": [schema, {"type": "null"}]}
