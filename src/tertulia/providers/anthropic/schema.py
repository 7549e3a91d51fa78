"""JSON schemas in the form the Messages API takes for strict tools: closed objects, and no bounds on values."""

from typing import Any, Final, cast

Schema = dict[str, Any]

# Strict mode knows none of these. Without them the schema says less, and the tool checks its arguments itself.
_REFUSED: Final = frozenset(
    {
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "multipleOf",
        "minLength",
        "maxLength",
        "pattern",
        "maxItems",
        "uniqueItems",
        "minProperties",
        "maxProperties",
        "examples",
    }
)
_COMBINATIONS: Final = ("anyOf", "oneOf", "allOf")


class _CannotBeStrict(Exception):
    pass


def closed_schema(schema: Schema) -> Schema | None:
    """The schema in its strict form, or None when it has none: objects with keys of the caller's choice.

    Unlike OpenAI's, optional properties stay optional; a union with null in their place is what this API limits.
    """
    try:
        return _closed({"properties": {}, **schema})  # a tool without parameters may not say so
    except _CannotBeStrict:
        return None


def _closed(schema: object) -> Schema:
    if not isinstance(schema, dict):
        raise _CannotBeStrict  # ``true``, or no schema at all
    schema = cast("Schema", schema)
    if not schema:
        raise _CannotBeStrict  # the schema of anything at all
    result = {key: value for key, value in schema.items() if key not in _REFUSED}
    if isinstance(result.get("minItems"), int) and result["minItems"] > 1:
        del result["minItems"]
    if result.get("type") == "object" or "properties" in result:
        _close_object(result)
    if isinstance(result.get("items"), dict):
        result["items"] = _closed(result["items"])
    for key in _COMBINATIONS:
        if isinstance(result.get(key), list):
            # `oneOf` is not known; for closed objects and plain types `anyOf` says the same.
            result["anyOf" if key == "oneOf" else key] = [_closed(option) for option in result.pop(key)]
    for key in ("$defs", "definitions"):
        if isinstance(result.get(key), dict):
            result[key] = {name: _closed(definition) for name, definition in result[key].items()}
    return result


def _close_object(result: Schema) -> None:
    others = result.get("additionalProperties")
    if not (others is None or others is False) or "patternProperties" in result:
        raise _CannotBeStrict
    if not isinstance(result.get("properties"), dict):
        raise _CannotBeStrict
    properties = cast("dict[str, Schema]", result["properties"])
    result["properties"] = {name: _closed(prop) for name, prop in properties.items()}
    result["additionalProperties"] = False
