"""Editing a memory block from a tool: found by label, changed by compare-and-set, answered with what it is now.

An edit of a part (insert, replace) holds whatever else changed in the block, so it is made on the block's present text.
An edit of the whole block holds only for the text that the model was shown: a clash is told to it.
"""

from collections.abc import Callable

from msgspec.structs import replace

from tertulia.domain.blocks import Block, edited_by_agent
from tertulia.domain.clock import utc_now
from tertulia.domain.errors import InvalidArgument
from tertulia.ports.store import Transaction
from tertulia.ports.tool import ToolContext


async def edit_part(context: ToolContext, label: str, change: Callable[[str], str]) -> Block:
    """Change a part of the block's present value.

    :raises InvalidArgument: if the conversation has no block with this label.
    :raises BlockReadOnly: if the block is not the agent's to change.
    :raises BlockLimitExceeded: if the value would become too long.
    """

    def write(tx: Transaction) -> Block:
        block = labelled(tx, context, label)
        return tx.blocks.replace(replace(edited_by_agent(block, change(block.value)), updated_at=utc_now()))

    return _seen(context, await context.store.write(write))


async def edit_whole(context: ToolContext, label: str, value: str) -> Block:
    """Give the block a new value, if it is still the one the model was shown.

    :raises BlockClash: if somebody else changed it since.
    """

    def write(tx: Transaction) -> Block:
        block = labelled(tx, context, label)
        known = replace(edited_by_agent(block, value), version=context.seen_blocks.get(block.id, block.version))
        return tx.blocks.replace(replace(known, updated_at=utc_now()))

    return _seen(context, await context.store.write(write))


def blocks_of(tx: Transaction, context: ToolContext) -> list[Block]:
    """The blocks that the model is shown: the agent's, and those of the conversation's own."""
    return tx.blocks.of_conversation(tx.conversations.get(context.conversation_id))


def labelled(tx: Transaction, context: ToolContext, label: str) -> Block:
    """The block of this label."""
    blocks = blocks_of(tx, context)
    found = next((block for block in blocks if block.label == label), None)
    if found is None:
        labels = ", ".join(block.label for block in blocks) or "none"
        raise InvalidArgument(f"There is no memory block '{label}'. The blocks you have: {labels}.")
    return found


def edited(block: Block) -> str:
    """What a model is told after an edit: the prompt shows it the old value until the next message."""
    used = f"{len(block.value)} of {block.limit} characters"
    return f"The memory block '{block.label}' has been edited ({used}). It is now:\n{block.value}"


def _seen(context: ToolContext, block: Block) -> Block:
    context.seen_blocks[block.id] = block.version
    return block
