"""Every operation of an OpenAPI document, each of its inputs in turn holding what somebody may send to do harm."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias
from urllib.parse import quote

Schema: TypeAlias = dict[str, Any]

_TEXTS: Final = {
    "right to left and emoji": "\u202e\u05e9\u05dc\u05d5\u05dd\u200f \U0001f469\u200d\U0001f467",
    "nothing": "",
    "60,000 characters": "x" * 60_000,
}
"""For what takes text."""
_NUMBERS: Final = {"a negative number": -(2**63)}
"""For what takes none."""
_BOTH: Final = {"NUL": "a\0b", "2**70": 2**70}

NOT_JSON: Final = {
    "half a character": b'"\\ud800"',
    "an infinity": b"1e400",
    "5,000 lists": b"[" * 5000 + b"]" * 5000,
    "5,000 objects": b'{"a":' * 5000 + b"1" + b"}" * 5000,
}
"""What no field may hold. It is the parser's to refuse, so one field of each operation is enough."""

_ANYTHING: Final[Schema] = {"type": "string"}
_HALF: Final = "%ED%A0%80"
_MARK: Final = "\x01here\x01"


@dataclass(frozen=True, slots=True)
class Probe:
    """One request. ``input`` is the path of what holds the value, which ``what`` names.

    ``needed`` are parameters that are ids of things that exist, ``given`` the one that is not.
    """

    operation: str
    method: str
    path: str
    needed: Sequence[str]
    given: Mapping[str, str]
    input: str
    what: str
    body: bytes | None = None

    def at(self, ids: Mapping[str, str]) -> str:
        """The address, with these ids by the names of parameters."""
        values = {**{name: ids[name] for name in self.needed}, **self.given}
        names = re.findall(r"\{(\w+)\}", self.path)
        query = "&".join(f"{name}={value}" for name, value in values.items() if name not in names)
        return re.sub(r"\{(\w+)\}", lambda found: values[found[1]], self.path) + (f"?{query}" if query else "")

    def __str__(self) -> str:
        return f"{self.operation}: {self.what} in {self.input}"


@dataclass(slots=True)
class Prober:
    """``bodies`` is what bodies of operations have besides."""

    document: Schema
    bodies: Mapping[str, Mapping[str, Any]]
    _known: set[str] = field(default_factory=set[str])
    """Shapes that were looked into: they are the same wherever they are used."""

    def probes(self) -> Iterator[Probe]:
        """Those of every operation that is built."""
        for path, item in self.document["paths"].items():
            for method, operation in item.items():
                if "501" not in operation["responses"]:
                    yield from self._of_operation(operation, method.upper(), path)

    def _of_operation(self, operation: Schema, method: str, path: str) -> Iterator[Probe]:
        name = operation["operationId"]
        schema = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
        extra = self.bodies.get(name, {})
        plain = None if schema is None else json.dumps({**(self._sample(schema) or {}), **extra}).encode()
        parameters = operation.get("parameters", [])
        needed = [each["name"] for each in parameters if each.get("required")]
        for parameter in parameters:
            if method == "DELETE" and parameter["in"] == "query":
                continue  # what exists is needed for the others
            hostile = {what: quote(str(value), safe="") for what, value in _values_for(parameter["schema"]).items()}
            for what, value in {**hostile, "half a character of UTF-8": _HALF}.items():
                input_ = parameter["name"]
                yield Probe(name, method, path, needed, {input_: value}, input_, what, plain)
        if schema is not None:
            for input_, what, body in self._hostile_bodies(schema, extra):
                yield Probe(name, method, path, needed, {}, input_, what, body)

    def _hostile_bodies(self, schema: Schema, extra: Mapping[str, Any]) -> Iterator[tuple[str, str, bytes]]:
        mark, first = json.dumps(_MARK), True
        for input_, body, taken in self._marked(self._resolved(schema)):
            written = json.dumps({**extra, **body})
            for what, value in _values_for(taken).items():
                yield input_, what, written.replace(mark, json.dumps(value)).encode()
            if first:
                for what, raw in NOT_JSON.items():
                    yield input_, what, written.encode().replace(mark.encode(), raw)
            first = False

    def _marked(self, schema: Schema) -> Iterator[tuple[str, Any, Schema]]:
        """The smallest values of the schema with one input marked in each, its path, and what it takes."""
        if "$ref" in schema:
            if schema["$ref"] in self._known:
                return
            self._known.add(schema["$ref"])
        schema = self._resolved(schema)
        branches = [branch for key in ("anyOf", "oneOf", "allOf") for branch in schema.get(key, ())]
        for branch in branches:
            yield from self._marked(branch)
        if "properties" in schema:
            yield from self._marked_object(schema)
        elif schema.get("type") == "object":
            yield "", {"a": _MARK}, _ANYTHING
        elif schema.get("type") == "array":
            for input_, value, taken in self._marked(schema.get("items", {})):
                yield input_, [value], taken
        elif not (branches or "const" in schema or schema.get("type") == "null"):
            yield "", _MARK, schema

    def _marked_object(self, schema: Schema) -> Iterator[tuple[str, Any, Schema]]:
        base = self._sample(schema)
        for name, property_ in schema["properties"].items():
            for input_, value, taken in self._marked(property_):
                yield f"{name}.{input_}".rstrip("."), {**base, name: value}, taken

    def _sample(self, schema: Schema) -> Any:
        """The smallest value of the schema."""
        schema = self._resolved(schema)
        for key in ("anyOf", "oneOf", "allOf"):
            if key in schema:
                return self._sample(schema[key][0])
        if "const" in schema or "enum" in schema:
            return schema.get("const", schema.get("enum", [None])[0])
        if "default" in schema:
            return schema["default"]
        if "properties" in schema:
            needed = set(schema.get("required", ())) | {
                n for n, each in schema["properties"].items() if "const" in each
            }
            return {name: self._sample(schema["properties"][name]) for name in sorted(needed)}
        if schema.get("type") == "array":
            return [self._sample(schema["items"])] * schema.get("minItems", 0)
        samples: dict[str, Any] = {"string": "sample", "integer": 1, "number": 1, "boolean": True, "object": {}}
        return samples.get(schema.get("type", "string"))

    def _resolved(self, schema: Schema) -> Schema:
        while "$ref" in schema:
            schema = self.document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[-1]]
        return schema


def _values_for(schema: Schema) -> dict[str, str | int]:
    return _BOTH | (_TEXTS if "'string'" in str(schema) else _NUMBERS)
