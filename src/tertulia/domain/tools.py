"""Tools and skills: what a model is told of them, and the shape of what a tool returns."""

from datetime import datetime
from typing import Any, Final, Literal, TypeAlias

from msgspec import UNSET, Struct

from tertulia.domain.messages import ImagePart, TextPart, ToolStatus

ToolType: TypeAlias = Literal[
    "custom",
    "letta_core",
    "letta_memory_core",
    "letta_multi_agent_core",
    "letta_sleeptime_core",
    "letta_voice_sleeptime_core",
    "letta_builtin",
    "letta_files_core",
    "external_langchain",
    "external_composio",
    "external_mcp",
]


SourceType: TypeAlias = Literal["python", "typescript"]
RETURN_CHAR_LIMIT: Final = 50_000


class ToolSpec(Struct, frozen=True, kw_only=True):
    """A tool as the API lists it and the model is told of it.

    ``parameters`` is a JSON schema of type object. ``idempotent`` tools may be run again after a crash.
    ``parallel`` tools may run beside others of the same reply. ``return_char_limit`` is in characters.
    """

    id: str
    name: str
    description: str
    parameters: dict[str, Any]
    tool_type: ToolType
    tags: tuple[str, ...] = ()
    parallel: bool = False
    idempotent: bool = False
    return_char_limit: int = RETURN_CHAR_LIMIT


class Requirement(Struct, frozen=True):
    """A package of a registry that a tool needs; ``version`` None takes the newest."""

    name: str
    version: str | None = None


class StoredTool(Struct, frozen=True, kw_only=True):
    """A tool that a user made: a function in a source.

    ``json_schema`` is the API's: an object with ``name``, ``description`` and ``parameters``, and whatever else the
    user's own had. ``args_json_schema`` is what the user gave in place of type hints.
    """

    id: str
    name: str
    description: str
    created_at: datetime
    updated_at: datetime
    source_code: str
    json_schema: dict[str, Any]
    source_type: SourceType = "python"
    args_json_schema: dict[str, Any] | None = None
    tags: tuple[str, ...] = ()
    return_char_limit: int = RETURN_CHAR_LIMIT
    pip_requirements: tuple[Requirement, ...] | None = None
    npm_requirements: tuple[Requirement, ...] | None = None
    default_requires_approval: bool | None = None
    enable_parallel_execution: bool = False
    metadata: dict[str, Any] | None = None

    @property
    def spec(self) -> ToolSpec:
        """A tool may be run again after a crash if its metadata says so, in MCP's word for it."""
        hint = (self.metadata or {}).get("idempotentHint")
        return ToolSpec(
            id=self.id,
            name=self.name,
            description=self.description,
            parameters=self.json_schema.get("parameters") or {"type": "object", "properties": {}},
            tool_type="custom",
            tags=self.tags,
            parallel=self.enable_parallel_execution,
            idempotent=hint is True,
            return_char_limit=self.return_char_limit,
        )


class ClientSkill(Struct, frozen=True, kw_only=True):
    """Instructions that a client keeps at ``location``, for the model to read with the client's tools when needed."""

    name: str
    description: str
    location: str


class ToolOutcome(Struct, frozen=True, kw_only=True):
    """What a call came to. Errors are outcomes too: the model reads them and tries again."""

    content: str | tuple[TextPart | ImagePart, ...]
    status: ToolStatus = "success"
    value: Any = UNSET
    """What the function returned, as JSON; unset where there is no more to it than the content."""
    stdout: tuple[str, ...] = ()
    stderr: tuple[str, ...] = ()
