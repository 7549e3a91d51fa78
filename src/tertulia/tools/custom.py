"""A tool that a user wrote, run in the sandbox."""

import json
from types import MappingProxyType
from typing import Any, Final, cast

import msgspec
from msgspec.structs import replace

from tertulia.domain.blocks import Block, edited_by_agent
from tertulia.domain.clock import utc_now
from tertulia.domain.errors import TertuliaError
from tertulia.domain.tools import Requirement, StoredTool, ToolOutcome
from tertulia.ports.sandbox import Sandbox, SandboxOutcome, SandboxRequest, SandboxUnavailable
from tertulia.ports.store import Transaction
from tertulia.ports.tool import ToolContext
from tertulia.tools.block_edits import blocks_of

_ASKS_FOR_STATE: Final = "agent_state"


class CustomTool:
    def __init__(self, tool: StoredTool, sandbox: Sandbox) -> None:
        self.spec = tool.spec
        self._tool = tool
        self._sandbox = sandbox

    async def call(self, arguments: dict[str, Any], context: ToolContext) -> ToolOutcome:
        """Whatever the tool does, and a machine that cannot confine it, are outcomes."""
        tool, name = self._tool, self.spec.name
        blocks: list[Block] = []
        state: dict[str, Any] | None = None
        if context.agent_id and _ASKS_FOR_STATE in tool.source_code:
            state, blocks = await context.store.read(lambda tx: _state(tx, context))
        variables = {**context.variables, "LETTA_AGENT_ID": context.agent_id} if context.agent_id else context.variables
        request = SandboxRequest(
            source=tool.source_code,
            function=name,
            arguments=arguments,
            source_type=tool.source_type,
            requirements=_as_pip(tool.pip_requirements),
            environment=MappingProxyType(dict(variables)),
            agent_state=state,
        )
        try:
            outcome = await self._sandbox.run(request)
            if outcome.agent_state is not None:
                await _take_over(outcome.agent_state, blocks, context)
        except SandboxUnavailable as error:
            return _failed(name, str(error))
        except TertuliaError as error:  # its change of the agent's memory was refused
            return _failed(name, error.message)
        return tool_outcome(name, outcome)


def tool_outcome(name: str, outcome: SandboxOutcome) -> ToolOutcome:
    """The call as the model is told of it: a text as it is, anything else as Python writes it."""
    stdout = (outcome.stdout,) if outcome.stdout else ()
    if outcome.status == "success":
        content = outcome.result if isinstance(outcome.result, str) else str(outcome.result)
        stderr = (outcome.stderr,) if outcome.stderr else ()
        return ToolOutcome(content=content, value=outcome.result, stdout=stdout, stderr=stderr)
    stderr = f"{outcome.stderr}{outcome.traceback or ''}"
    content = f"Error executing function {name}: {outcome.error}"
    return ToolOutcome(content=content, status="error", stdout=stdout, stderr=(stderr,) if stderr else ())


def _failed(name: str, why: str) -> ToolOutcome:
    return ToolOutcome(content=f"Error executing function {name}: {why}", status="error")


def _as_pip(requirements: tuple[Requirement, ...] | None) -> tuple[str, ...]:
    return tuple(f"{each.name}=={each.version}" if each.version else each.name for each in requirements or ())


def _state(tx: Transaction, context: ToolContext) -> tuple[dict[str, Any], list[Block]]:
    """The agent as its tools see it, and its blocks as they are now."""
    agent, blocks = tx.agents.get(context.agent_id), blocks_of(tx, context)
    state = {
        "id": agent.id,
        "name": agent.name,
        "agent_type": agent.agent_type,
        "description": agent.description,
        "system": agent.system,
        "model": agent.model,
        "tags": agent.tags,
        "metadata": agent.metadata,
        "timezone": agent.timezone,
        "tools": (),
        "memory": {
            "blocks": [
                {
                    "id": block.id,
                    "label": block.label,
                    "value": block.value,
                    "limit": block.limit,
                    "description": block.description,
                    "read_only": block.read_only,
                }
                for block in blocks
            ]
        },
    }
    return json.loads(msgspec.json.encode(state)), blocks


async def _take_over(state: dict[str, Any], blocks: list[Block], context: ToolContext) -> None:
    """Store what the tool changed of the blocks it was given, if nobody else changed them meanwhile.

    :raises BlockClash: if somebody did.
    :raises BlockReadOnly: if a block is not the agent's to change.
    :raises BlockLimitExceeded: if a value is too long.
    """
    values = _values(state)
    changed = [
        (block, value) for block in blocks if isinstance(value := values.get(block.label), str) and value != block.value
    ]
    if not changed:
        return

    def write(tx: Transaction) -> list[Block]:
        now = utc_now()
        return [tx.blocks.replace(replace(edited_by_agent(block, value), updated_at=now)) for block, value in changed]

    for block in await context.store.write(write):
        context.seen_blocks[block.id] = block.version


def _values(state: dict[str, Any]) -> dict[str, Any]:
    """The values by label. The state is what a tool made of it, which may be anything."""
    memory = state.get("memory")
    listed = cast("dict[str, Any]", memory).get("blocks") if isinstance(memory, dict) else None
    found: dict[str, Any] = {}
    for block in cast("list[Any]", listed) if isinstance(listed, list) else []:
        if isinstance(block, dict):
            named = cast("dict[str, Any]", block)
            found[str(named.get("label"))] = named.get("value")
    return found
