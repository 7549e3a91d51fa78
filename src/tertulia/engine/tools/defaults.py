"""Which tools an agent gets without asking, and the rules that come with them."""

from collections.abc import Sequence
from typing import Any

from tertulia.domain.agents import AgentType
from tertulia.engine.default_prompts import SPEAKS_BY_TOOL

_MEMORY = ("memory_insert", "memory_replace")


def base_tools(agent_type: AgentType) -> tuple[str, ...]:
    """The names, by the kind of agent: old ones speak by tool and edit memory with the old tools."""
    if agent_type == "memgpt_agent":
        return ("send_message", "conversation_search", "core_memory_append", "core_memory_replace")
    if agent_type in SPEAKS_BY_TOOL:
        return ("send_message", "conversation_search", *_MEMORY)
    return ("conversation_search", *_MEMORY)


def tool_names(agent_type: AgentType, wanted: Sequence[str], *, base: bool) -> list[str]:
    """The names of a new agent's tools: the base tools, unless it is to have none, and those it is to have."""
    return [*(base_tools(agent_type) if base else ()), *wanted]


def base_rules(agent_type: AgentType, names: Sequence[str], *, wanted: bool | None) -> tuple[dict[str, Any], ...]:
    """The rules of the base tools: to speak is to end the turn. Old agents have them unless told otherwise."""
    if "send_message" not in names or wanted is False or (wanted is None and agent_type not in SPEAKS_BY_TOOL):
        return ()
    return ({"type": "exit_loop", "tool_name": "send_message", "prompt_template": None},)
