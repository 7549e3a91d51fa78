"""The system prompt, compiled from an agent's instructions, its memory blocks and facts about where it speaks.

Compiling is a pure function of its arguments, the time of the last recompilation among them. So a stored prompt is
stale exactly when compiling again with its own time gives another text, and the prompt's bytes stay the same from turn
to turn, as providers' prompt caches want, until something in it changes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from tertulia.domain.agents import Agent
from tertulia.domain.blocks import Block

MEMORY_PLACEHOLDER = "{CORE_MEMORY}"
"""Where instructions that contain it want the memory; otherwise it follows them."""


@dataclass(frozen=True, slots=True)
class SystemPrompt:
    """The parts of a compiled prompt. ``memory`` is empty where the agent has no blocks."""

    instructions: str
    memory: str
    metadata: str

    @property
    def text(self) -> str:
        memory = f"{self.memory}\n\n{self.metadata}" if self.memory else self.metadata
        if MEMORY_PLACEHOLDER in self.instructions:
            return self.instructions.replace(MEMORY_PLACEHOLDER, memory)
        return f"{self.instructions}\n\n{memory}" if self.instructions else memory


def system_prompt(agent: Agent, blocks: Sequence[Block], conversation: str, recompiled_at: datetime) -> SystemPrompt:
    """The system prompt of one conversation; ``conversation`` is its wire id."""
    return SystemPrompt(agent.system, _memory(blocks), _metadata(agent, conversation, recompiled_at))


def compile_system(agent: Agent, blocks: Sequence[Block], conversation: str, recompiled_at: datetime) -> str:
    """The same as the text that models are sent."""
    return system_prompt(agent, blocks, conversation, recompiled_at).text


def is_timezone(name: str) -> bool:
    """Whether the name is one that prompts can show times in."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def _memory(blocks: Sequence[Block]) -> str:
    if not blocks:
        return ""
    shown = "\n\n".join(_block(block) for block in blocks)
    return f"<memory_blocks>\nThese blocks are your memory. They are always in view.\n\n{shown}\n</memory_blocks>"


def _block(block: Block) -> str:
    lines = [f"<{block.label}>"]
    if block.description:
        lines += ["<description>", block.description, "</description>"]
    lines += ["<metadata>"]
    if block.read_only:
        lines += ["- read_only=true"]
    lines += [f"- chars_current={len(block.value)}", f"- chars_limit={block.limit}", "</metadata>"]
    lines += ["<value>", block.value, "</value>", f"</{block.label}>"]
    return "\n".join(lines)


def _metadata(agent: Agent, conversation: str, recompiled_at: datetime) -> str:
    local = recompiled_at.astimezone(_zone(agent.timezone))
    return (
        "<memory_metadata>\n"
        f"- AGENT_ID: {agent.id}\n"
        f"- CONVERSATION_ID: {conversation}\n"
        f"- System prompt last recompiled: {local:%Y-%m-%d %I:%M:%S %p %Z%z}\n"
        "</memory_metadata>"
    )


def _zone(name: str) -> tzinfo:
    return ZoneInfo(name) if is_timezone(name) else UTC
