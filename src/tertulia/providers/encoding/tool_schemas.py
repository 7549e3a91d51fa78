"""The schema of a tool's arguments as every provider takes it: of an object, with its properties at the top."""

from typing import Any, Final, cast

Schema = dict[str, Any]

_CHOICES: Final = ("anyOf", "oneOf", "allOf")
_NOT_AT_THE_TOP: Final = (*_CHOICES, "not", "enum", "const", "if", "then", "else", "$ref")


def object_schema(schema: Schema) -> Schema:
    """The schema itself where it is one already.

    Clients leave out ``type`` or ``properties``, or offer a choice of objects at the top, all of which some provider
    refuses. A choice becomes one object with the properties of all, of which those are required that all require: a
    schema that says less is still right, as tools check their arguments themselves.
    """
    properties: object = schema.get("properties")
    if schema.get("type") == "object" and isinstance(properties, dict) and not schema.keys() & set(_NOT_AT_THE_TOP):
        return schema
    found: Schema = dict(cast("Schema", properties)) if isinstance(properties, dict) else {}
    required = set(_names(schema.get("required")))
    for branch, every in _branches(schema):
        inner = object_schema(branch)
        found = {**inner["properties"], **found}
        if every:
            required |= set(_names(inner.get("required")))
    kept = {key: value for key, value in schema.items() if key not in {*_NOT_AT_THE_TOP, "type", "properties"}}
    if required or "required" in kept:
        kept["required"] = [name for name in found if name in required]
    return {"type": "object", "properties": found, **kept}


def _branches(schema: Schema) -> list[tuple[Schema, bool]]:
    """What stands in for the properties: each with whether it holds in any case."""
    found: list[tuple[Schema, bool]] = []
    if (target := _target(schema, schema.get("$ref"))) is not None:
        found.append((target, True))
    for key in _CHOICES:
        options: object = schema.get(key)
        if not isinstance(options, list):
            continue
        of_choice = cast("list[object]", options)
        every = key == "allOf" or len(of_choice) == 1
        for option in of_choice:
            if isinstance(option, dict):
                branch = cast("Schema", option)
                found.append((_target(schema, branch.get("$ref")) or branch, every))
    return found


def _target(schema: Schema, reference: object) -> Schema | None:
    """What a reference to one of the schema's own definitions means; a definition that is a reference is left alone."""
    if not isinstance(reference, str) or not reference.startswith("#/"):
        return None
    found: Schema | None = schema
    for step in reference[2:].split("/"):
        found = _object(found.get(step)) if found is not None else None
    return found if found is not None and "$ref" not in found else None


def _object(value: object) -> Schema | None:
    return cast("Schema", value) if isinstance(value, dict) else None


def _names(value: object) -> list[str]:
    return [name for name in cast("list[object]", value) if isinstance(name, str)] if isinstance(value, list) else []
