"""``/v1/tools``: the built-in tools and those that users make."""

from collections.abc import Callable
from typing import Annotated

from fastapi import Depends, Query, Request

from tertulia.api.bodies import document_body, read_body
from tertulia.api.deps import CurrentServices, services_of
from tertulia.api.pages import NewestFirst, slice_of
from tertulia.api.routing import api_router
from tertulia.api.wire.tools import (
    CreateToolBody,
    FoundTool,
    RunSourceBody,
    SearchToolsBody,
    SourceBody,
    ToolBody,
    ToolRunBody,
    UpdateToolBody,
    tool_body,
    tool_changes,
    tool_draft,
    tool_run_body,
)
from tertulia.domain.errors import Unsupported
from tertulia.domain.tools import StoredTool, ToolSpec, ToolType
from tertulia.engine.tools.search import search
from tertulia.ports.store import Transaction

router = api_router("tools")


class _ToolFilter:
    """Which tools a list is to have. ``search`` is part of a name, without regard to case."""

    def __init__(
        self,
        *,
        name: str | None = None,
        names: Annotated[list[str] | None, Query()] = None,
        tool_ids: Annotated[list[str] | None, Query()] = None,
        search: str | None = None,
        tool_types: Annotated[list[ToolType] | None, Query()] = None,
        exclude_tool_types: Annotated[list[ToolType] | None, Query()] = None,
        return_only_letta_tools: bool | None = None,
    ) -> None:
        self._name = name
        self._names = None if names is None else frozenset(names)
        self._ids = None if tool_ids is None else frozenset(tool_ids)
        self._search = (search or "").casefold()
        self._types = tool_types
        self._excluded = exclude_tool_types or []
        self._only_letta = return_only_letta_tools

    def __call__(self, tool_id: str, name: str, tool_type: ToolType = "custom") -> bool:
        return (
            (not self._name or name == self._name)
            and (self._names is None or name in self._names)
            and (self._ids is None or tool_id in self._ids)
            and self._search in name.casefold()
            and (self._types is None or tool_type in self._types)
            and tool_type not in self._excluded
            and (not self._only_letta or tool_type.startswith("letta_"))
        )


Wanted = Annotated[_ToolFilter, Depends(_ToolFilter)]


def _ids(builtin: list[ToolSpec], wanted: _ToolFilter) -> Callable[[Transaction], list[str]]:
    """The ids of the wanted tools, the built-in ones first, as if they had been there from the beginning."""

    def read(tx: Transaction) -> list[str]:
        ids = [tool.id for tool in builtin if wanted(tool.id, tool.name, tool.tool_type)]
        return ids + [id_ for id_, name in tx.of(StoredTool).keys("name") if wanted(id_, name)]

    return read


@router.get("/v1/tools", operation_id="list_tools")
async def list_tools(*, wanted: Wanted, services: CurrentServices, asked: NewestFirst) -> list[ToolBody]:
    """Filters narrow each other."""
    builtin = {tool.spec.id: tool.spec for tool in services.toolbox.builtin.values()}

    def read(tx: Transaction) -> list[ToolSpec | StoredTool]:
        ids = _ids(list(builtin.values()), wanted)(tx)
        page = [ids[i] for i in slice_of(ids, asked)]
        made = {tool.id: tool for tool in tx.of(StoredTool).get_many([id_ for id_ in page if id_ not in builtin])}
        return [builtin.get(id_) or made[id_] for id_ in page]

    return [tool_body(tool) for tool in await services.store.read(read)]


@router.get("/v1/tools/count", operation_id="count_tools")
async def count_tools(wanted: Wanted, services: CurrentServices, *, exclude_letta_tools: bool | None = None) -> int:
    """How many tools a list with these filters has."""
    builtin = [] if exclude_letta_tools else [tool.spec for tool in services.toolbox.builtin.values()]
    return len(await services.store.read(_ids(builtin, wanted)))


@router.post("/v1/tools", operation_id="create_tool")
async def create_tool(body: CreateToolBody, services: CurrentServices) -> ToolBody:
    """Make a tool. As on the retired server, one of yours that has its name is replaced and keeps its id."""
    return tool_body(await services.custom_tools.save(tool_draft(body)))


@router.put("/v1/tools", operation_id="upsert_tool")
async def upsert_tool(body: CreateToolBody, services: CurrentServices) -> ToolBody:
    """Make a tool, or replace the one that has its name."""
    return tool_body(await services.custom_tools.save(tool_draft(body)))


@router.post("/v1/tools/search", operation_id="search_tools", openapi_extra=document_body(SearchToolsBody))
async def search_tools(request: Request) -> list[FoundTool]:
    """Tools by the words of their names, descriptions and tags, the best first; all of them without a query."""
    services, body = services_of(request), await read_body(request, SearchToolsBody)
    if body.search_mode == "vector":
        raise Unsupported("'search_mode' 'vector' is not supported by this server yet. Search with 'fts' or 'hybrid'.")
    builtin = [tool.spec for tool in services.toolbox.builtin.values()]

    def fits(tool: ToolSpec | StoredTool) -> bool:
        kind = tool.tool_type if isinstance(tool, ToolSpec) else "custom"
        return (body.tool_types is None or kind in body.tool_types) and set(body.tags or ()) <= set(tool.tags)

    found = await search(services.store, builtin, body.query or "", fits, body.limit)
    return [
        FoundTool(tool=tool_body(each.tool), fts_rank=rank, combined_score=each.score)
        for rank, each in enumerate(found, 1)
    ]


@router.post("/v1/tools/generate-schema", operation_id="generate_json_schema")
async def generate_json_schema(body: SourceBody, services: CurrentServices) -> dict[str, object]:
    """The JSON schema that a source in Python stands for; nothing is stored."""
    return await services.custom_tools.schema_of(body.code)


@router.post("/v1/tools/run", operation_id="run_tool_from_source")
async def run_tool_from_source(body: RunSourceBody, services: CurrentServices) -> ToolRunBody:
    """Run a source once in the sandbox, with no agent; nothing is stored."""
    outcome = await services.tool_runs.of_source(tool_draft(body), body.args, body.name, body.env_vars or {})
    return tool_run_body(outcome)


@router.get("/v1/tools/{tool_id}", operation_id="retrieve_tool")
async def retrieve_tool(tool_id: str, services: CurrentServices) -> ToolBody:
    builtin = services.toolbox.builtin.get(tool_id)
    if builtin is not None:
        return tool_body(builtin.spec)
    return tool_body(await services.store.read(lambda tx: tx.of(StoredTool).get(tool_id)))


@router.patch("/v1/tools/{tool_id}", operation_id="modify_tool")
async def modify_tool(tool_id: str, body: UpdateToolBody, services: CurrentServices) -> ToolBody:
    """Change a tool of yours: agents have the new one from their next message on."""
    return tool_body(await services.custom_tools.update(tool_id, tool_changes(body)))


@router.delete("/v1/tools/{tool_id}", operation_id="delete_tool")
async def delete_tool(tool_id: str, services: CurrentServices) -> None:
    """Remove a tool of yours, and so take it away from its agents."""
    await services.custom_tools.delete(tool_id)
