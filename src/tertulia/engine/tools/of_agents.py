"""Which tools an agent has, and the rules that come and go with them."""

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from tertulia.domain.agents import Agent
from tertulia.domain.errors import NotFound
from tertulia.domain.ids import is_builtin_tool_id
from tertulia.domain.tools import StoredTool
from tertulia.engine.tools.toolbox import Toolbox
from tertulia.engine.turn.tool_rules import distinct
from tertulia.ports.store import Transaction

APPROVAL = "requires_approval"


def with_tools(agent: Agent, before: Sequence[str], toolbox: Toolbox, tx: Transaction) -> Agent:
    """The agent, whose tools were those of the ids ``before``: what it has gained is there, and has its rules.

    :raises NotFound: if it has gained what is no tool.
    """
    gained = [id_ for id_ in agent.tool_ids if id_ not in before]
    toolbox.check(gained, tx)
    made = [id_ for id_ in gained if not is_builtin_tool_id(id_)]
    careful = [tool for tool in tx.of(StoredTool).get_many(made) if tool.default_requires_approval] if made else []
    if not careful:
        return agent
    return replace(agent, tool_rules=distinct((*agent.tool_rules, *(_approval(tool.name) for tool in careful))))


def attached(agent: Agent, tool_id: str) -> Agent:
    """The agent with the tool; one that it has stays where it is."""
    return agent if tool_id in agent.tool_ids else replace(agent, tool_ids=(*agent.tool_ids, tool_id))


def detached(agent: Agent, tool_id: str) -> Agent:
    """The agent without the tool; its rules stay.

    :raises NotFound: if the agent does not have it.
    """
    if tool_id not in agent.tool_ids:
        raise NotFound("Tool", tool_id)
    return replace(agent, tool_ids=tuple(id_ for id_ in agent.tool_ids if id_ != tool_id))


def with_approval(agent: Agent, tool_name: str, *, required: bool) -> Agent:
    """The agent, whose calls of the tool wait for a person's approval or do not; a tool rule stands for that."""
    others = [rule for rule in agent.tool_rules if (rule["type"], rule["tool_name"]) != (APPROVAL, tool_name)]
    return replace(agent, tool_rules=(*others, _approval(tool_name)) if required else tuple(others))


def _approval(tool_name: str) -> dict[str, Any]:
    return {"type": APPROVAL, "tool_name": tool_name, "prompt_template": None}
