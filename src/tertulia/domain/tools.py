"""Tools and skills: what a model is told of them, and the shape of what a tool returns."""

from typing import Any, Literal, TypeAlias

from msgspec import Struct

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
    return_char_limit: int = 50_000


class ClientSkill(Struct, frozen=True, kw_only=True):
    """Instructions that a client keeps at ``location``, for the model to read with the client's tools when needed."""

    name: str
    description: str
    location: str


class ToolOutcome(Struct, frozen=True, kw_only=True):
    """What a call came to. Errors are outcomes too: the model reads them and tries again."""

    content: str | tuple[TextPart | ImagePart, ...]
    status: ToolStatus = "success"
    stdout: tuple[str, ...] = ()
    stderr: tuple[str, ...] = ()
