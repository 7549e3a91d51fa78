"""The tools there are: the built-in ones, which every process has, and those that users made, which the store has."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias

from tertulia.domain.agents import Agent
from tertulia.domain.errors import InvalidArgument, NotFound
from tertulia.domain.ids import is_builtin_tool_id
from tertulia.domain.tools import StoredTool, ToolSpec
from tertulia.ports.plain import PlainQuery
from tertulia.ports.store import Transaction
from tertulia.ports.tool import Tool

MakeTool: TypeAlias = Callable[[StoredTool], Tool]
"""Makes what runs a tool that a user made."""


class Toolbox:
    """Finds tools. Those that users made are read anew each time, so a change is seen by all workers at once."""

    def __init__(self, builtin: Iterable[Tool], make: MakeTool) -> None:
        self.builtin: Mapping[str, Tool] = {tool.spec.id: tool for tool in builtin}
        self._names = {tool.spec.name: tool.spec.id for tool in self.builtin.values()}
        self.make = make

    def tools(self, agent: Agent, made: Sequence[StoredTool]) -> list[Tool]:
        """The agent's, in its order, of which ``made`` are those that users made. What was deleted is left out."""
        stored = {tool.id: tool for tool in made}
        found: list[Tool] = []
        for id_ in agent.tool_ids:
            tool = self.builtin.get(id_)
            if tool is None and id_ in stored:
                tool = self.make(stored[id_])
            if tool is not None:
                found.append(tool)
        return found

    def specs(self, agent: Agent, made: Sequence[StoredTool]) -> list[ToolSpec]:
        return [tool.spec for tool in self.tools(agent, made)]

    def is_builtin(self, name: str) -> bool:
        return name in self._names

    def ids_of(self, names: Iterable[str], tx: Transaction) -> list[str]:
        """The ids of the tools of these names.

        :raises InvalidArgument: if there is no such tool.
        """
        return [self._names.get(name) or _made_id(name, tx) for name in names]

    def check(self, tool_ids: Sequence[str], tx: Transaction) -> None:
        """:raises NotFound: if one of them is no tool."""
        made = [id_ for id_ in tool_ids if not is_builtin_tool_id(id_)]
        known = {tool.id for tool in tx.of(StoredTool).get_many(made)} if made else set[str]()
        for id_ in tool_ids:
            if id_ not in self.builtin and id_ not in known:
                raise NotFound("Tool", id_)


def _made_id(name: str, tx: Transaction) -> str:
    found = tx.of(StoredTool).find(PlainQuery(where={"name": name}))
    if not found:
        raise InvalidArgument(f"INVALID_ARGUMENT: there is no tool named '{name}'. GET /v1/tools/ lists them.")
    return found[0].id
