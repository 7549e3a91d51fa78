"""``/v1/blocks`` and the memory blocks of an agent."""

from dataclasses import replace
from typing import Annotated

from fastapi import Depends, Query

from tertulia.api.agents import Include, IncludeOlder
from tertulia.api.deps import CurrentServices
from tertulia.api.pages import NewestFirst, OldestFirst
from tertulia.api.routing import api_router
from tertulia.api.wire.agent_state import AgentStateBody, agent_state, check_relationships
from tertulia.api.wire.blocks import (
    BlockBody,
    CreateBlockBody,
    UpdateBlockBody,
    block_body,
    block_changes,
    block_of,
)
from tertulia.api.wire.common import MAX_INT, Count
from tertulia.domain.blocks import Block, check
from tertulia.ports.queries import AgentQuery, BlockQuery
from tertulia.ports.store import Transaction

router = api_router("blocks")

AgentCount = Annotated[int | None, Query(ge=0, le=MAX_INT)]
AgentCounts = Annotated[list[Count] | None, Query()]


async def _block_filter(
    *,
    label: str | None = None,
    name: str | None = None,
    label_search: str | None = None,
    description_search: str | None = None,
    value_search: str | None = None,
    tags: Annotated[list[str] | None, Query()] = None,
    match_all_tags: bool = False,
    templates_only: bool = False,
    project_id: str | None = None,
    connected_to_agents_count_gt: AgentCount = None,
    connected_to_agents_count_lt: AgentCount = None,
    connected_to_agents_count_eq: AgentCounts = None,
    identity_id: str | None = None,
    identifier_keys: Annotated[list[str] | None, Query()] = None,
) -> BlockQuery | None:
    """Which blocks are meant; None where no block passes: this release has no identities."""
    if identity_id or identifier_keys:
        return None
    return BlockQuery(
        label=label,
        name=name,
        label_search=label_search,
        description_search=description_search,
        value_search=value_search,
        tags=tuple(tags or ()),
        match_all_tags=match_all_tags,
        templates_only=templates_only,
        project_id=project_id,
        agents_count_gt=connected_to_agents_count_gt,
        agents_count_lt=connected_to_agents_count_lt,
        agents_count_in=tuple(connected_to_agents_count_eq or ()),
    )


BlockFilter = Annotated[BlockQuery | None, Depends(_block_filter)]


@router.get("/v1/blocks", operation_id="list_blocks")
async def list_blocks(
    *,
    services: CurrentServices,
    wanted: BlockFilter,
    asked: OldestFirst,
) -> list[BlockBody]:
    if wanted is None:
        return []
    query = replace(wanted, page=asked)
    return [block_body(block) for block in await services.store.read(lambda tx: tx.blocks.find(query))]


@router.get("/v1/blocks/count", operation_id="count_blocks")
async def count_blocks(services: CurrentServices, wanted: BlockFilter) -> int:
    """How many blocks a list with these filters has."""
    return 0 if wanted is None else await services.store.read(lambda tx: tx.blocks.count(wanted))


@router.post("/v1/blocks", operation_id="create_block")
async def create_block(body: CreateBlockBody, services: CurrentServices) -> BlockBody:
    block = check(block_of(body))
    await services.store.write(lambda tx: tx.blocks.insert(block))
    return block_body(block)


@router.get("/v1/blocks/{block_id}", operation_id="retrieve_block")
async def retrieve_block(block_id: str, services: CurrentServices) -> BlockBody:
    return block_body(await services.store.read(lambda tx: tx.blocks.get(block_id)))


@router.patch("/v1/blocks/{block_id}", operation_id="modify_block")
async def modify_block(block_id: str, body: UpdateBlockBody, services: CurrentServices) -> BlockBody:
    return block_body(await services.agents.edit_block(block_id, block_changes(body)))


@router.delete("/v1/blocks/{block_id}", operation_id="delete_block", response_model=None)
async def delete_block(block_id: str, services: CurrentServices) -> None:
    """Detaches it from every agent that has it."""
    await services.store.write(lambda tx: tx.blocks.delete(block_id))


@router.get("/v1/blocks/{block_id}/agents", operation_id="list_agents_for_block")
async def list_agents_for_block(
    *,
    block_id: str,
    services: CurrentServices,
    asked: NewestFirst,
    include: Include = None,
    include_relationships: IncludeOlder = None,
) -> list[AgentStateBody]:
    check_relationships(include_relationships)
    await services.store.read(lambda tx: tx.blocks.get(block_id))
    views = await services.agents.find(
        AgentQuery(
            page=asked,
            block_id=block_id,
            include_hidden=True,
        )
    )
    return [agent_state(view) for view in views]


@router.get("/v1/agents/{agent_id}/core-memory/blocks", operation_id="list_core_memory_blocks")
async def list_core_memory_blocks(
    *,
    agent_id: str,
    services: CurrentServices,
    asked: NewestFirst,
) -> list[BlockBody]:
    query = BlockQuery(
        page=asked,
        agent_id=agent_id,
        include_hidden=True,
    )

    def read(tx: Transaction) -> list[Block]:
        tx.agents.get(agent_id)
        return tx.blocks.find(query)

    return [block_body(block) for block in await services.store.read(read)]


@router.patch(
    "/v1/agents/{agent_id}/core-memory/blocks/attach/{block_id}",
    operation_id="attach_core_memory_block",
)
async def attach_core_memory_block(agent_id: str, block_id: str, services: CurrentServices) -> AgentStateBody:
    return agent_state(await services.agents.attach_block(agent_id, block_id))


@router.patch(
    "/v1/agents/{agent_id}/core-memory/blocks/detach/{block_id}",
    operation_id="detach_core_memory_block",
)
async def detach_core_memory_block(agent_id: str, block_id: str, services: CurrentServices) -> AgentStateBody:
    return agent_state(await services.agents.detach_block(agent_id, block_id))


# A label may hold slashes ("human/name"), hence the rest of the path.
_BY_LABEL = "/v1/agents/{agent_id}/core-memory/blocks/{block_label:path}"


@router.get(_BY_LABEL, operation_id="retrieve_core_memory_block")
async def retrieve_core_memory_block(agent_id: str, block_label: str, services: CurrentServices) -> BlockBody:
    return block_body(await services.agents.block_by_label(agent_id, block_label))


@router.patch(_BY_LABEL, operation_id="modify_core_memory_block")
async def modify_core_memory_block(
    agent_id: str, block_label: str, body: UpdateBlockBody, services: CurrentServices
) -> BlockBody:
    return block_body(await services.agents.edit_block_by_label(agent_id, block_label, block_changes(body)))
