"""The subset of JSON Schema that Gemini documents, as a checker: other keywords are refused here."""

from __future__ import annotations

from typing import Any, cast

_PLAIN: dict[str, type | tuple[type, ...]] = {
    "$id": str,
    "$anchor": str,
    "type": (str, list),
    "format": str,
    "title": str,
    "description": str,
    "enum": list,
    "minItems": int,
    "maxItems": int,
    "minimum": (int, float),
    "maximum": (int, float),
    "required": list,
    "propertyOrdering": list,
}
_NESTED = {"items", "additionalProperties"}
_LISTS = {"anyOf", "prefixItems"}
_MAPS = {"properties", "$defs"}


def schema_violations(schema: Any, at: str) -> list[str]:
    """Why the service would refuse the schema, with the place in it."""
    if not isinstance(schema, dict):
        return [f"{at}: {schema!r} is no schema"]
    fields = cast("dict[str, Any]", schema)
    if "$ref" in fields:
        beside = [key for key in fields if not key.startswith("$")]
        return [f"{at}: no other properties may be set beside $ref: {beside}"] if beside else []
    found: list[str] = []
    for key, value in fields.items():
        where = f"{at}.{key}"
        if key in _PLAIN:
            found += [] if isinstance(value, _PLAIN[key]) else [f"{where}: {value!r}"]
        elif key in _NESTED:
            found += [] if isinstance(value, bool) else schema_violations(value, where)
        elif key in _LISTS:
            found += [text for option in value for text in schema_violations(option, where)]
        elif key in _MAPS:
            found += [text for name, one in value.items() for text in schema_violations(one, f"{where}.{name}")]
        else:
            found.append(f"Unknown name {key!r} at '{at}': Cannot find field.")
    if any(not isinstance(value, str | int | float) or isinstance(value, bool) for value in fields.get("enum", ())):
        found.append(f"{at}.enum: only strings and numbers")
    return found
