"""Whether a JSON body has the shape that AWS's own description of Bedrock gives it, and nothing beside."""

from __future__ import annotations

import base64
import binascii
import re
from functools import cache
from typing import TYPE_CHECKING, Any, cast

from botocore.loaders import Loader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Shape = dict[str, Any]

_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "float": (int, float),
    "boolean": (bool,),
    "list": (list,),
    "structure": (dict,),
    "blob": (str,),
}


@cache
def _shapes() -> dict[str, Shape]:
    return cast("Any", Loader()).load_service_model("bedrock-runtime", "service-2")["shapes"]


def mismatches(name: str, value: Any, where: str = "") -> Iterator[str]:
    """What is wrong with the value as the named shape."""
    shape = _shapes()[name]
    if shape.get("document"):
        return  # any JSON
    kind: str = shape["type"]
    if not isinstance(value, _TYPES[kind]) or (kind != "boolean" and isinstance(value, bool)):
        yield f"{where or 'body'}: {value!r} is no {kind}"
    else:
        yield from _CHECKS[kind](shape, value, where)


def _members(shape: Shape, value: Shape, where: str) -> Iterator[str]:
    members: Shape = {key: member for key, member in shape["members"].items() if "location" not in member}
    yield from (f"{where}.{key}: unknown" for key in value if key not in members)
    required = [key for key in shape.get("required", ()) if key in members]
    yield from (f"{where}.{key}: required" for key in required if key not in value)
    if shape.get("union") and len(value) != 1:
        yield f"{where}: a union of one member, not {sorted(value)}"
    for key in value.keys() & members.keys():
        yield from mismatches(members[key]["shape"], value[key], f"{where}.{key}".lstrip("."))


def _items(shape: Shape, value: list[Any], where: str) -> Iterator[str]:
    yield from _bounds(shape, len(value), where)
    for index, item in enumerate(value):
        yield from mismatches(shape["member"]["shape"], item, f"{where}.{index}")


def _string(shape: Shape, value: str, where: str) -> Iterator[str]:
    yield from _bounds(shape, len(value), where)
    if "enum" in shape and value not in shape["enum"]:
        yield f"{where}: {value!r} is none of {shape['enum']}"
    if "pattern" in shape and not re.fullmatch(shape["pattern"], value):
        yield f"{where}: {value!r} does not match {shape['pattern']}"


def _blob(_shape: Shape, value: str, where: str) -> Iterator[str]:
    try:
        base64.b64decode(value, validate=True)
    except binascii.Error:
        yield f"{where}: no base64"


def _bounds(shape: Shape, size: float, where: str) -> Iterator[str]:
    if not shape.get("min", size) <= size <= shape.get("max", size):
        yield f"{where}: {size} is not within {shape.get('min')}..{shape.get('max')}"


_CHECKS: dict[str, Callable[[Shape, Any, str], Iterator[str]]] = {
    "structure": _members,
    "list": _items,
    "string": _string,
    "blob": _blob,
    "integer": _bounds,
    "float": _bounds,
    "boolean": _bounds,
}
