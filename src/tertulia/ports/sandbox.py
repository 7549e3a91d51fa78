"""Running tools that users wrote, where they can do no harm."""

from types import MappingProxyType
from typing import Any, Literal, Protocol

from msgspec import Struct

from tertulia.domain.tools import SourceType

SandboxTier = Literal["namespaces", "landlock", "off"]
"""How tools are confined; ``off`` is what an operator must ask for in so many words."""

ToolNetwork = Literal["none", "public", "all"]
LimitName = Literal["wall_time", "cpu_time", "memory", "processes", "disk", "output", "result"]


class SandboxLimits(Struct, frozen=True, kw_only=True):
    """What one call may use."""

    wall_time_s: float = 60.0
    cpu_time_s: int = 60
    memory_mb: int = 512
    processes: int = 64
    disk_mb: int = 64
    output_bytes: int = 1_000_000
    """Of stdout and of stderr, each."""
    result_bytes: int = 10_000_000
    """Of the result as JSON, with the agent's state."""


class SandboxRequest(Struct, frozen=True, kw_only=True):
    """One call of one function of one source."""

    source: str
    function: str
    arguments: dict[str, Any]
    source_type: SourceType = "python"
    environment: MappingProxyType[str, str] = MappingProxyType({})
    """The environment variables the tool sees, beside PATH, HOME, TMPDIR and LANG."""
    requirements: tuple[str, ...] = ()
    """What its environment has installed, as pip writes it: ``six==1.16.0``."""
    network: ToolNetwork | None = None
    """None: what the server is set to. A request may narrow that, never widen it."""
    limits: SandboxLimits | None = None
    """None: what the server is set to."""
    agent_state: dict[str, Any] | None = None
    """Given to a function that has a parameter of this name."""


class SandboxOutcome(Struct, frozen=True, kw_only=True):
    """How a call ended. There is always one, whatever the tool did."""

    status: Literal["success", "error"]
    result: Any = None
    """JSON; what JSON cannot say is its ``repr``."""
    error: str | None = None
    """One line: ``KeyError: 'gone'``, or which limit was passed."""
    traceback: str | None = None
    """Of the tool's own lines alone."""
    stdout: str = ""
    stderr: str = ""
    limit: LimitName | None = None
    agent_state: dict[str, Any] | None = None
    """As the function left it; None unless it asked for it and returned."""


class SandboxUnavailable(Exception):
    """This machine cannot confine tools, or cannot run this one. The message says what to do about it."""


class Sandbox(Protocol):
    """Cancelling ``run`` ends everything that the call started."""

    async def run(self, request: SandboxRequest) -> SandboxOutcome: ...

    async def tier(self) -> SandboxTier: ...

    async def close(self) -> None: ...
