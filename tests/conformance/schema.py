"""The contract as data, and the check of one JSON value against it. Knows nothing of HTTP or of the server.

`find_problems` is stricter than JSON Schema: a field the schema does not name is `unknown`, and a field the schema
names is `missing` when absent, even if it may be null: the server this API comes from always sends every field.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

Json: TypeAlias = Any
Schema: TypeAlias = dict[str, Any]
Kind: TypeAlias = Literal["unknown", "missing", "wrong"]

CONTRACT_FILE = Path(__file__).parent / "contract" / "letta-client-1.12.1.json"

# What we send beyond the SDK's schema, by schema. Everything else unknown is a mistake.
ALLOWED_EXTRA: dict[str, frozenset[str]] = {
    # Other releases of the SDK know these two.
    "Conversation": frozenset({"isolated_block_ids", "hidden", "fallback_models"}),
    # Said only of those that have any.
    "AgentState": frozenset({"fallback_models"}),
    "Step": frozenset({"failed_tries"}),
    "ProviderTrace": frozenset({"failed_tries"}),
    # How a summary was made, which nobody else tells.
    "CompactionStats": frozenset({"mode", "method", "model", "failure", "summarizer_tokens"}),
    # `version` is the API level clients look for; our own release stands beside it.
    "HealthResponse": frozenset({"server", "server_version", "tertulia", "tertulia_version"}),
}

# Fields that may be absent, by schema.
ALLOWED_ABSENT: dict[str, frozenset[str]] = {
    # A delta carries what is new: the first has the name and the id, the later ones arguments.
    "ToolCallDelta": frozenset({"name", "arguments", "tool_call_id"}),
}

# One definition of each timestamp form the wire knows.
MESSAGE_DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00")
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")

_PYTHON_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
    "array": (list,),
    "object": (dict,),
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One deviation: where (`$.messages[0].otid`), what kind, and the particulars."""

    path: str
    kind: Kind
    detail: str

    def __str__(self) -> str:
        return f"{self.path}: {self.kind}: {self.detail}"


@dataclass(frozen=True, slots=True)
class Operation:
    """One call of the SDK: its name (`conversations.create`), route, parameters and the schema of a 200."""

    sdk: str
    method: str
    path: str
    query: tuple[str, ...]
    body: tuple[str, ...]
    streams: bool
    response: Schema | None

    @property
    def pattern(self) -> re.Pattern[str]:
        return _path_pattern(self.path)


@cache
def _path_pattern(path: str) -> re.Pattern[str]:
    literal = re.split(r"\{[^}]+\}", path.rstrip("/"))
    return re.compile("[^/]+".join(re.escape(part) for part in literal) + "/?")


@cache
def _contract() -> dict[str, Any]:
    return json.loads(CONTRACT_FILE.read_text(encoding="utf-8"))


@cache
def schemas() -> dict[str, Schema]:
    return _contract()["schemas"]


@cache
def operations() -> tuple[Operation, ...]:
    return tuple(
        Operation(
            sdk=row["sdk"],
            method=row["method"],
            path=row["path"],
            query=tuple(row["query"]),
            body=tuple(row["body"]),
            streams=row["streams"],
            response=row["response"],
        )
        for row in _contract()["operations"]
    )


@cache
def operation(sdk: str) -> Operation:
    return next(known for known in operations() if known.sdk == sdk)


@cache
def find_operation(method: str, path: str) -> Operation | None:
    """The operation a request is for, or None. A literal segment wins over a parameter (`/v1/models/embedding`)."""
    matching = [known for known in operations() if known.method == method and known.pattern.fullmatch(path)]
    return min(matching, key=lambda known: known.path.count("{"), default=None)


def reference(name: str) -> Schema:
    return {"$ref": f"#/schemas/{name}"}


def find_problems(value: Json, schema: Schema, path: str = "$") -> list[Problem]:
    """Every way in which `value` is not what `schema` describes; an empty list when it is."""
    return _check(value, schema, path, name=None)


def _check(value: Json, schema: Schema, path: str, name: str | None) -> list[Problem]:
    if "$ref" in schema:
        target = schema["$ref"].rsplit("/", 1)[-1]
        return _check(value, schemas()[target], path, target)
    if "anyOf" in schema:
        return _check_any_of(value, schema["anyOf"], path)
    allowed = [schema["const"]] if "const" in schema else schema.get("enum")
    if allowed is not None:
        return [] if value in allowed else [Problem(path, "wrong", f"{value!r} is not one of {allowed}")]
    if "type" not in schema:
        return []
    if not _has_type(value, schema["type"]):
        return [Problem(path, "wrong", f"{_shown(value)} is not of type {schema['type']}")]
    return _check_content(value, schema, path, name)


def _check_content(value: Json, schema: Schema, path: str, name: str | None) -> list[Problem]:
    match schema["type"]:
        case "object":
            return _check_object(value, schema, path, name)
        case "array":
            return [
                problem
                for index, item in enumerate(value)
                for problem in _check(item, schema.get("items", {}), f"{path}[{index}]", None)
            ]
        case "string" if schema.get("format") == "date-time":
            return _check_timestamp(value, path)
        case _:
            return []


def _check_object(value: dict[str, Json], schema: Schema, path: str, name: str | None) -> list[Problem]:
    properties: dict[str, Schema] = schema.get("properties", {})
    if not properties:
        extra = schema.get("additionalProperties")
        if not isinstance(extra, dict):
            return []
        item_schema = cast("Schema", extra)
        return [problem for key, item in value.items() for problem in _check(item, item_schema, f"{path}.{key}", None)]
    allowed = ALLOWED_EXTRA.get(name or "", frozenset())
    optional = ALLOWED_ABSENT.get(name or "", frozenset())
    owner = name or "the schema"
    problems = [
        Problem(f"{path}.{key}", "unknown", f"{owner} has no such field")
        for key in value
        if key not in properties and key not in allowed
    ]
    problems += [
        Problem(f"{path}.{key}", "missing", f"{owner} has it")
        for key in properties
        if key not in value and key not in optional
    ]
    for key, item_schema in properties.items():
        if key in value:
            problems += _check(value[key], item_schema, f"{path}.{key}", None)
    return problems


def _check_any_of(value: Json, branches: list[Schema], path: str) -> list[Problem]:
    """The problems of the branch that fits best: the one whose constants match, then the one with the fewest."""
    attempts = [(_constants_missed(value, branch), _check(value, branch, path, None)) for branch in branches]
    return min(attempts, key=lambda attempt: (attempt[0], len(attempt[1])))[1]


def _constants_missed(value: Json, branch: Schema) -> int:
    """How many of a branch's constant fields (`type`, `message_type`, `provider_type`) the value contradicts."""
    schema = branch
    while "$ref" in schema:
        schema = schemas()[schema["$ref"].rsplit("/", 1)[-1]]
    if not isinstance(value, dict):
        return 0 if "type" in schema and _has_type(value, schema["type"]) else 1
    if "properties" not in schema:
        return 0 if schema.get("type") == "object" else 1
    fields = cast("dict[str, Json]", value)
    return sum(1 for key, expected in _constants(schema["properties"]) if fields.get(key) != expected)


def _constants(properties: dict[str, Schema]) -> list[tuple[str, Json]]:
    return [
        (key, branch["const"])
        for key, schema in properties.items()
        for branch in (schema, *schema.get("anyOf", []))
        if "const" in branch
    ]


def _check_timestamp(value: str, path: str) -> list[Problem]:
    form, example = (
        (MESSAGE_DATE, "2026-11-21T15:12:35+00:00")
        if path.endswith(".date")
        else (TIMESTAMP, "2026-11-21T15:12:35.123456Z")
    )
    return [] if form.fullmatch(value) else [Problem(path, "wrong", f"{value!r} is not written like {example}")]


def _has_type(value: Json, expected: str) -> bool:
    if isinstance(value, bool) and expected != "boolean":
        return False
    return isinstance(value, _PYTHON_TYPES[expected])


def _shown(value: Json) -> str:
    text = json.dumps(value)
    return text if len(text) <= 120 else text[:117] + "..."
