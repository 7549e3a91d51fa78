"""Running one tool because a client asks for it, with no model and no message."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from tertulia.domain.clock import utc_now
from tertulia.domain.errors import NotFound
from tertulia.domain.ids import new_id
from tertulia.domain.tools import StoredTool, ToolOutcome
from tertulia.engine.tools.custom import CustomTools, ToolDraft
from tertulia.engine.tools.toolbox import Toolbox
from tertulia.ports.store import Store
from tertulia.ports.tool import ToolContext


class ToolRuns:
    """Neither approvals nor tool rules are asked: it is the client's own call."""

    def __init__(self, store: Store, toolbox: Toolbox, custom: CustomTools) -> None:
        self._store = store
        self._toolbox = toolbox
        self._custom = custom

    async def of_agent(self, agent_id: str, name: str, arguments: dict[str, Any]) -> ToolOutcome:
        """Run one of the agent's tools.

        :raises NotFound: if the agent has no tool of this name.
        """
        agent, made = await self._store.read(lambda tx: (agent := tx.agents.get(agent_id), tx.tools_of(agent)))
        tool = next((tool for tool in self._toolbox.tools(agent, made) if tool.spec.name == name), None)
        if tool is None:
            raise NotFound("Tool", name)
        return await tool.call(arguments, ToolContext(self._store, agent_id, agent_id, ""))

    async def of_source(
        self, draft: ToolDraft, arguments: dict[str, Any], name: str | None, variables: Mapping[str, str]
    ) -> ToolOutcome:
        """Run a source that is not kept, with these environment variables.

        :raises InvalidArgument: if it cannot be understood.
        """
        given = draft.json_schema or ({"name": name} if name else None)
        schema = await self._custom.schema_of(draft.source_code, draft.source_type, given, draft.args_json_schema or {})
        now = utc_now()
        tool = StoredTool(
            id=new_id("tool"),
            name=schema["name"],
            description=schema["description"],
            created_at=now,
            updated_at=now,
            source_code=draft.source_code,
            source_type=draft.source_type,
            json_schema=schema,
            pip_requirements=draft.pip_requirements,
        )
        context = ToolContext(self._store, "", "", "", variables=MappingProxyType(dict(variables)))
        return await self._toolbox.make(tool).call(arguments, context)
