"""JSON schemas of tools in the subset that Gemini's ``parametersJsonSchema`` knows; does no input or output.

The API documents the keywords it knows and leaves open what it does with others. A tool checks its arguments itself,
so a schema that says less is still right.
"""

from typing import Any, Final, cast

Schema = dict[str, Any]

_KNOWN: Final = frozenset(
    {
        "$id",
        "$anchor",
        "type",
        "format",
        "title",
        "description",
        "minItems",
        "maxItems",
        "minimum",
        "maximum",
        "required",
        "propertyOrdering",
    }
)
_NESTED: Final = frozenset({"items", "additionalProperties"})
_LISTS: Final = {"anyOf": "anyOf", "oneOf": "anyOf", "prefixItems": "prefixItems"}
_TYPES: Final[dict[object, str]] = {
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    list: "array",
    type(None): "null",
}
_MAPS: Final = {"properties": "properties", "$defs": "$defs", "definitions": "$defs"}


def known_schema(schema: Schema) -> Schema:
    """The schema of a tool's parameters, which is one of an object."""
    return {"type": "object", "properties": {}, **_known(schema)}


def _known(schema: object) -> Schema:
    if not isinstance(schema, dict):
        return {}  # ``true``: anything at all
    given = cast("Schema", schema)
    if isinstance(given.get("allOf"), list):
        given = _merged(given)
    reference = given.get("$ref")
    if isinstance(reference, str):
        # Beside a reference the API takes no other keyword, except those with a dollar sign.
        found: Schema = {"$ref": reference.replace("#/definitions/", "#/$defs/", 1)}
        return found | {key: value for key, value in _each(given).items() if key.startswith("$")}
    return _each(given)


def _each(schema: Schema) -> Schema:
    result: Schema = {}
    for key, value in schema.items():
        if key in _KNOWN:
            result[key] = value
        elif key == "const":
            result |= _choice_of([value])
        elif key == "enum" and isinstance(value, list):
            result |= _choice_of(cast("list[Any]", value))
        elif key == "items" and isinstance(value, list):
            result["prefixItems"] = [_known(item) for item in cast("list[Any]", value)]
        elif key in _NESTED:
            result[key] = value if isinstance(value, bool) else _known(value)
        elif key in _LISTS and isinstance(value, list):
            result[_LISTS[key]] = [_known(option) for option in cast("list[Any]", value)]
        elif key in _MAPS and isinstance(value, dict):
            result[_MAPS[key]] = {name: _known(one) for name, one in cast("Schema", value).items()}
    return result | {"type": schema["type"]} if "type" in schema else result


def _choice_of(values: list[Any]) -> Schema:
    """Only strings and numbers can be listed; of other values their types are told."""
    if all(isinstance(value, str | int | float) and not isinstance(value, bool) for value in values):
        return {"enum": values}
    types = dict.fromkeys(_TYPES.get(cast("object", type(value)), "object") for value in values)
    return {"type": list(types) if len(types) > 1 else next(iter(types))}


def _merged(schema: Schema) -> Schema:
    """``allOf`` as one schema: later ones add properties and demands, and otherwise replace what earlier ones say."""
    result: Schema = {}
    properties: Schema = {}
    required: dict[str, None] = {}
    own = {key: value for key, value in schema.items() if key != "allOf"}
    for option in (*cast("list[Any]", schema["allOf"]), own):
        if not isinstance(option, dict):
            continue  # ``true``: nothing more is demanded
        option = cast("Schema", option)
        one = _merged(option) if isinstance(option.get("allOf"), list) else option
        properties |= _dict(one.get("properties"))
        required |= dict.fromkeys(_list(one.get("required")))
        result |= one
    if properties:
        result["properties"] = properties
    if required:
        result["required"] = list(required)
    return result


def _dict(value: object) -> Schema:
    return cast("Schema", value) if isinstance(value, dict) else {}


def _list(value: object) -> list[str]:
    return [one for one in cast("list[object]", value) if isinstance(one, str)] if isinstance(value, list) else []
