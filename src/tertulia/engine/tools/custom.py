"""Tools that users make: creating, changing and deleting them. Nothing of a source is ever run or imported here."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from tertulia.domain.clock import utc_now
from tertulia.domain.errors import Conflict, InvalidArgument, NameTaken, Unprocessable
from tertulia.domain.ids import is_builtin_tool_id, new_id
from tertulia.domain.tools import RETURN_CHAR_LIMIT, Requirement, SourceType, StoredTool
from tertulia.engine.tools.toolbox import Toolbox
from tertulia.ports.apart import Apart, WorkFailed
from tertulia.ports.plain import PlainQuery
from tertulia.ports.store import Store, Transaction

_MEANING = ("source_code", "source_type", "json_schema", "args_json_schema")
"""What a tool's name, description and schema come from."""


class ToolDraft(msgspec.Struct, frozen=True, kw_only=True):
    """What a client says of a tool. Where ``tags`` are unset, a tool that is replaced keeps those it has."""

    source_code: str
    source_type: SourceType = "python"
    json_schema: dict[str, Any] | None = None
    args_json_schema: dict[str, Any] | None = None
    description: str | None = None
    tags: tuple[str, ...] | UnsetType = UNSET
    return_char_limit: int = RETURN_CHAR_LIMIT
    pip_requirements: tuple[Requirement, ...] | None = None
    npm_requirements: tuple[Requirement, ...] | None = None
    default_requires_approval: bool | None = None
    enable_parallel_execution: bool = False


class CustomTools:
    """The operations on them. Every change is seen by the next message of any agent, whichever worker answers it."""

    def __init__(self, store: Store, toolbox: Toolbox, apart: Apart) -> None:
        self._store = store
        self._toolbox = toolbox
        self._apart = apart

    async def save(self, draft: ToolDraft) -> StoredTool:
        """Make a tool, or change the one that has its name.

        :raises InvalidArgument: if the source cannot be understood; the message says the line and the reason.
        :raises Conflict: if a built-in tool has its name.
        """
        schema = await self.schema_of(draft.source_code, draft.source_type, draft.json_schema, draft.args_json_schema)
        self._check_name(schema["name"])
        work = partial(_save, draft, _described(schema, draft.description))
        try:
            return await self._store.write(work)
        except NameTaken:  # by another one made at the same moment, which this one replaces
            return await self._store.write(work)

    async def update(self, tool_id: str, changes: Mapping[str, Any]) -> StoredTool:
        """Change the named fields. Where what it means changes, its schema and its name are made anew.

        :raises InvalidArgument: as ``save``, and for a built-in tool.
        :raises NameTaken: if another tool has the name that the source or the schema now says.
        :raises NotFound: if there is no such tool.
        """
        self._check_made(tool_id, "changed")
        before = await self._store.read(lambda tx: tx.of(StoredTool).get(tool_id))
        fields = dict(changes)
        description = fields.pop("description", None)
        schema = before.json_schema
        if any(name in fields for name in _MEANING):
            meant = replace(before, **{name: fields[name] for name in _MEANING if name in fields})
            schema = await self.schema_of(
                meant.source_code, meant.source_type, fields.get("json_schema"), meant.args_json_schema
            )
            if schema["name"] != before.name:
                self._check_name(schema["name"])
        fields["json_schema"] = _described(schema, description)

        def change(tx: Transaction) -> StoredTool:
            shown = {"name": schema["name"], "description": fields["json_schema"]["description"]}
            changed = replace(tx.of(StoredTool).get(tool_id), **fields, **shown, updated_at=utc_now())
            tx.of(StoredTool).update(changed)
            return changed

        return await self._store.write(change)

    async def delete(self, tool_id: str) -> None:
        """Remove it, and so take it away from its agents.

        :raises InvalidArgument: for a built-in tool.
        :raises NotFound: if there is no such tool.
        """
        self._check_made(tool_id, "deleted")
        await self._store.write(lambda tx: tx.of(StoredTool).delete(tool_id))

    async def schema_of(
        self,
        source: str,
        source_type: SourceType = "python",
        json_schema: Mapping[str, Any] | None = None,
        arguments: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """The name, description and parameters of the tool: the client's own schema, or what its source says.

        :raises InvalidArgument: if neither says it, or they say different names.
        """
        if not source.strip():
            raise InvalidArgument("INVALID_ARGUMENT: a tool needs its source_code.")
        if source_type == "typescript":
            return _typescript_schema(json_schema, arguments)
        given = dict(json_schema or {})
        name = given.get("name") or ""
        known = given.get("parameters") or arguments
        read = await self._read(source, name, known)
        return {**read, **{key: value for key, value in given.items() if value is not None}}

    async def _read(self, source: str, name: str, arguments: Mapping[str, Any] | None) -> dict[str, Any]:
        as_text = "" if arguments is None else msgspec.json.encode(arguments).decode()
        try:
            said: dict[str, str] = await self._apart.run("tool_schema", source, name, as_text)
        except WorkFailed as error:
            raise InvalidArgument(f"INVALID_ARGUMENT: the source {error.message}") from error
        if "problem" in said:
            raise InvalidArgument(said["problem"])
        return msgspec.json.decode(said["schema"])

    def _check_name(self, name: object) -> None:
        if not isinstance(name, str) or not name.strip() or len(name) > _LONGEST_NAME:
            raise Unprocessable(f"json_schema.name: a tool's name has 1 to {_LONGEST_NAME} characters.")
        if self._toolbox.is_builtin(name):
            raise Conflict(f"CONFLICT: '{name}' is the name of a built-in tool. Name the function otherwise.")

    def _check_made(self, tool_id: str, verb: str) -> None:
        if is_builtin_tool_id(tool_id) and tool_id in self._toolbox.builtin:
            raise InvalidArgument(
                f"INVALID_ARGUMENT: a built-in tool cannot be {verb}. Detach it where it is not wanted."
            )


_LONGEST_NAME = 256


def _save(draft: ToolDraft, schema: dict[str, Any], tx: Transaction) -> StoredTool:
    tools, now = tx.of(StoredTool), utc_now()
    found = tools.find(PlainQuery(where={"name": schema["name"]}))
    before = tools.get(found[0].id) if found else None
    fields = msgspec.structs.asdict(draft)
    if draft.tags is UNSET:
        fields["tags"] = before.tags if before else ()
    fields |= {"name": schema["name"], "description": schema["description"], "json_schema": schema, "updated_at": now}
    if before is not None:
        tool = replace(before, **fields)
        tools.update(tool)
    else:
        tool = StoredTool(id=new_id("tool"), created_at=now, **fields)
        tools.insert(tool)
    return tool


def _described(schema: dict[str, Any], description: str | None) -> dict[str, Any]:
    """The schema, whose description is what the model is told: the client's own word goes before the source's."""
    return schema if description is None else schema | {"description": description}


def _typescript_schema(json_schema: Mapping[str, Any] | None, arguments: Mapping[str, Any] | None) -> dict[str, Any]:
    if json_schema is None or not json_schema.get("name"):
        raise Unprocessable("json_schema: a tool in TypeScript needs one, with a name: its source is not read for it.")
    parameters = json_schema.get("parameters") or arguments or {"type": "object", "properties": {}}
    described = json_schema.get("description") or f"The {json_schema['name']} tool"
    return {**json_schema, "description": described, "parameters": dict(parameters)}
