"""The copy of the contract against the types of the installed SDK, field by field.

Classes of the SDK may share a name. Each operation's reply is therefore followed from its method's annotation down,
and compared with the schema that stands at the same place.
"""

import types
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any, Literal, TypeAlias, Union, get_args, get_origin, get_type_hints

import pydantic
from letta_client import Letta, Stream
from letta_client.pagination import SyncArrayPage

from tests.conformance.requirements import requirement
from tests.conformance.schema import Operation, Schema, operations, schemas

Met: TypeAlias = set[tuple[type, int]]

_PLAIN: dict[Any, str] = {str: "string", int: "integer", float: "number", bool: "boolean", datetime: "string"}
_ANYTHING = (object, Any)


def _operation_type(client: Letta, known: Operation) -> Any:
    method: Any = client
    for part in known.sdk.split("."):
        method = getattr(method, part)
    return get_type_hints(method)["return"]


def _members(annotation: Any) -> list[Any]:
    """The types of a union, without null."""
    if get_origin(annotation) is Annotated:
        return _members(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return [member for part in get_args(annotation) for member in _members(part)]
    return [] if annotation in (None, type(None)) else [annotation]


def _branches(schema: Schema) -> list[Schema]:
    """The schemas of a union, without null and with no reference at the top."""
    if "$ref" in schema:
        return _branches(schemas()[schema["$ref"].rsplit("/", 1)[-1]])
    if "anyOf" in schema:
        return [branch for part in schema["anyOf"] for branch in _branches(part)]
    return [] if schema.get("type") == "null" else [schema]


def _reply_differs(annotation: Any, known: Operation, met: Met) -> Iterator[str]:
    members = _members(annotation)
    for stream in (member for member in members if get_origin(member) is Stream):
        for frame in _members(get_args(stream)[0]):
            yield from _difference(frame, schemas()[frame.__name__], f"{known.sdk}: {frame.__name__}", met)
    # The SDK never reads the JSON reply of an operation that it calls for its stream alone.
    if known.response is not None and (whole := [member for member in members if get_origin(member) is not Stream]):
        yield from _differences(Union[tuple(whole)], known.response, known.sdk, met)  # noqa: UP007  made at run time


def _differences(annotation: Any, schema: Schema, path: str, met: Met) -> Iterator[str]:
    members, branches = _members(annotation), _branches(schema)
    if len(members) != len(branches):
        yield f"{path}: {len(members)} types in the SDK, {len(branches)} in the copy"
        return
    for member, branch in zip(members, branches, strict=True):
        yield from _difference(member, branch, path, met)


def _difference(member: Any, schema: Schema, path: str, met: Met) -> Iterator[str]:
    if isinstance(member, type) and issubclass(member, SyncArrayPage):
        member = member.model_fields["items"].annotation
    origin = get_origin(member)
    if origin is list:
        yield from _differences(get_args(member)[0], schema["items"], f"{path}[]", met)
    elif origin is dict:
        if schema.get("type") != "object":
            yield f"{path}: a dict in the SDK, {schema} in the copy"
    elif origin is Literal:
        told = [schema["const"]] if "const" in schema else schema.get("enum")
        if told != list(get_args(member)):
            yield f"{path}: {get_args(member)} in the SDK, {told} in the copy"
    elif isinstance(member, type) and issubclass(member, pydantic.BaseModel):
        yield from _fields_differ(member, schema, path, met)
    elif member not in _ANYTHING and schema.get("type") != _PLAIN[member]:
        yield f"{path}: {member} in the SDK, {schema.get('type')} in the copy"


def _fields_differ(model: type[pydantic.BaseModel], schema: Schema, path: str, met: Met) -> Iterator[str]:
    if (model, id(schema)) in met:
        return
    met.add((model, id(schema)))
    model.model_rebuild()
    fields = {field.alias or name: field.annotation for name, field in model.model_fields.items()}
    properties: dict[str, Schema] = schema.get("properties", {})
    if fields.keys() != properties.keys():
        yield f"{path}: {model.__name__} has {sorted(fields)}, the copy {sorted(properties)}"
    for name in fields.keys() & properties.keys():
        yield from _differences(fields[name], properties[name], f"{path}.{name}", met)


@requirement("operations.table-is-the-sdk")
def test_every_reply_in_the_copy_has_the_fields_of_the_class_that_the_sdk_makes_of_it() -> None:
    client, met = Letta(base_url="http://127.0.0.1", api_key="unused"), set[tuple[type, int]]()
    assert [line for known in operations() for line in _reply_differs(_operation_type(client, known), known, met)] == []
