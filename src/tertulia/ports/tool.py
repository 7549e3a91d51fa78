"""A tool the server runs itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from tertulia.domain.tools import ToolOutcome, ToolSpec
from tertulia.ports.store import Store


@dataclass(frozen=True, slots=True)
class ToolContext:
    """Where a call happens. ``seen_blocks`` maps block ids to the version the model was shown (or last wrote).

    ``variables`` are what a tool that users made sees of the environment.
    """

    store: Store
    agent_id: str
    conversation_id: str
    run_id: str
    seen_blocks: dict[str, int] = field(default_factory=dict[str, int])
    variables: Mapping[str, str] = field(default_factory=dict[str, str])


class Tool(Protocol):
    @property
    def spec(self) -> ToolSpec: ...

    async def call(self, arguments: dict[str, Any], context: ToolContext) -> ToolOutcome:
        """Run it. Bad arguments and refused edits are outcomes with status error, written for the model to read."""
        ...
