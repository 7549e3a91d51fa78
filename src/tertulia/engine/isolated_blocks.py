"""Isolated blocks: a conversation's own copies of its agent's blocks, made with it and removed with it."""

from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from tertulia.domain.blocks import Block
from tertulia.domain.clock import utc_now
from tertulia.domain.conversations import Conversation
from tertulia.domain.errors import InvalidArgument, NotFound
from tertulia.domain.ids import new_block_id
from tertulia.ports.store import Transaction


def isolate(labels: Sequence[str], agent_id: str, tx: Transaction) -> tuple[str, ...]:
    """Copy the agent's blocks of these labels; the copies' ids.

    :raises InvalidArgument: if the agent has no block of a label.
    """
    blocks = {block.label: block for block in tx.blocks.of_agents([agent_id])[agent_id]}
    wanted = list(dict.fromkeys(labels))
    unknown = [label for label in wanted if label not in blocks]
    if unknown:
        raise InvalidArgument(
            f"INVALID_ARGUMENT: the agent has no memory block labelled {', '.join(map(repr, unknown))} to isolate. "
            f"Its blocks are {', '.join(map(repr, blocks)) or 'none'}.",
        )
    return copy_blocks([blocks[label] for label in wanted], tx)


def copy_blocks(blocks: Iterable[Block], tx: Transaction) -> tuple[str, ...]:
    """Store a copy of each block under an id of its own; the ids."""
    now, ids = utc_now(), list[str]()
    for block in blocks:
        copy = replace(block, id=new_block_id(), version=1, created_at=now, updated_at=now)
        tx.blocks.insert(copy)
        ids.append(copy.id)
    return tuple(ids)


def own_blocks(conversation: Conversation, tx: Transaction) -> list[Block]:
    """The conversation's isolated blocks that are still there."""
    isolated = set(conversation.isolated_block_ids)
    return [block for block in tx.blocks.of_conversation(conversation) if block.id in isolated]


def delete_own_blocks(conversation: Conversation, tx: Transaction) -> None:
    for block_id in conversation.isolated_block_ids:
        try:
            tx.blocks.delete(block_id)
        except NotFound:
            continue  # somebody deleted it by its id
