"""An agent's attached blocks: found by label, replaced as a set, edited."""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from tertulia.domain.blocks import Block, check
from tertulia.domain.clock import utc_now
from tertulia.domain.errors import InvalidArgument, NotFound
from tertulia.ports.queries import AgentQuery, Page
from tertulia.ports.store import Transaction


def set_blocks(tx: Transaction, agent_id: str, block_ids: Sequence[str]) -> None:
    """Attach these blocks to the agent and no others."""
    blocks = [tx.blocks.get(block_id) for block_id in dict.fromkeys(block_ids)]
    check_labels(blocks)
    for attached in tx.blocks.of_agents([agent_id])[agent_id]:
        tx.blocks.detach(agent_id, attached.id)
    for block in blocks:
        tx.blocks.attach(agent_id, block.id)


def check_labels(blocks: Sequence[Block]) -> None:
    """An agent addresses its blocks by label, so each of them must be its own."""
    by_label: dict[str, str] = {}
    for block in blocks:
        if by_label.setdefault(block.label, block.id) != block.id:
            raise InvalidArgument(
                f"INVALID_ARGUMENT: an agent cannot have two memory blocks labelled '{block.label}'. "
                "Rename one, or detach the other first.",
            )


def block_by_label(tx: Transaction, agent_id: str, label: str) -> Block:
    """The agent's block of this label."""
    tx.agents.get(agent_id)
    found = next((block for block in tx.blocks.of_agents([agent_id])[agent_id] if block.label == label), None)
    if found is None:
        raise NotFound("Block", label)
    return found


def edit(tx: Transaction, block: Block, changes: Mapping[str, Any]) -> Block:
    """Change the named fields of a block, whoever uses it."""
    edited = check(replace(block, **changes, updated_at=utc_now()))
    if edited.label != block.label:
        for agents_blocks in tx.blocks.of_agents(
            [agent.id for agent in tx.agents.find(AgentQuery(page=Page(limit=None), block_id=block.id))]
        ).values():
            check_labels([*(other for other in agents_blocks if other.id != block.id), edited])
    return tx.blocks.replace(edited)
