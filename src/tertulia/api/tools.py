"""``/v1/tools``: the tools there are. In this release those are the built-in ones."""

from typing import Annotated

from fastapi import Depends, Query

from tertulia.api.deps import CurrentServices
from tertulia.api.pages import NewestFirst, slice_of
from tertulia.api.routing import api_router
from tertulia.api.wire.tools import ToolBody, tool_body
from tertulia.domain.errors import NotFound
from tertulia.domain.tools import ToolSpec, ToolType

router = api_router("tools")


async def _tool_filter(
    *,
    services: CurrentServices,
    name: str | None = None,
    names: Annotated[list[str] | None, Query()] = None,
    tool_ids: Annotated[list[str] | None, Query()] = None,
    search: str | None = None,
    tool_types: Annotated[list[ToolType] | None, Query()] = None,
    exclude_tool_types: Annotated[list[ToolType] | None, Query()] = None,
    return_only_letta_tools: bool | None = None,
) -> list[ToolSpec]:
    """The tools that are meant. ``search`` is part of a name or a description, without regard to case."""

    def wanted(tool: ToolSpec) -> bool:
        return (
            (not name or tool.name == name)
            and (names is None or tool.name in names)
            and (tool_ids is None or tool.id in tool_ids)
            and (not search or search.casefold() in f"{tool.name}\n{tool.description}".casefold())
            and (tool_types is None or tool.tool_type in tool_types)
            and (exclude_tool_types is None or tool.tool_type not in exclude_tool_types)
            and (not return_only_letta_tools or tool.tool_type.startswith("letta_"))
        )

    return [tool.spec for tool in services.tools.values() if wanted(tool.spec)]


Tools = Annotated[list[ToolSpec], Depends(_tool_filter)]


@router.get("/v1/tools", operation_id="list_tools")
async def list_tools(
    *,
    tools: Tools,
    asked: NewestFirst,
) -> list[ToolBody]:
    """Filters narrow each other."""
    indexes = slice_of([tool.id for tool in tools], asked)
    return [tool_body(tools[i]) for i in indexes]


@router.get("/v1/tools/count", operation_id="count_tools")
async def count_tools(tools: Tools) -> int:
    """How many tools a list with these filters has."""
    return len(tools)


@router.get("/v1/tools/{tool_id}", operation_id="retrieve_tool")
async def retrieve_tool(tool_id: str, services: CurrentServices) -> ToolBody:
    tool = services.tools.get(tool_id)
    if tool is None:
        raise NotFound("Tool", tool_id)
    return tool_body(tool.spec)
