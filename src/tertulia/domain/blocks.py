"""Memory blocks: labelled pieces of text an agent always sees, and the rules of editing them."""

from datetime import datetime
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from tertulia.domain.clock import utc_now
from tertulia.domain.errors import BlockLimitExceeded, BlockReadOnly
from tertulia.domain.ids import new_block_id

DEFAULT_LIMIT: Final = 100_000
"""Characters a block may hold unless its creator says otherwise."""


class Block(Struct, frozen=True, kw_only=True):
    """A memory block. ``version`` rises with every change; an edit names the version it was made against."""

    id: str
    label: str
    value: str
    created_at: datetime
    updated_at: datetime
    description: str | None = None
    limit: int = DEFAULT_LIMIT
    read_only: bool = False
    version: int = 1
    metadata: dict[str, Any] | None = None
    tags: tuple[str, ...] = ()
    hidden: bool | None = None
    is_template: bool = False
    template_name: str | None = None
    template_id: str | None = None
    base_template_id: str | None = None
    deployment_id: str | None = None
    entity_id: str | None = None
    project_id: str | None = None
    preserve_on_migration: bool = False


def new_block(*, label: str, value: str, **fields: Any) -> Block:
    """A block to be, with an id and no other past. Its value is not checked yet."""
    now = utc_now()
    return Block(id=new_block_id(), label=label, value=value, created_at=now, updated_at=now, **fields)


def check(block: Block) -> Block:
    """The block itself.

    :raises BlockLimitExceeded: if its value is longer than its limit.
    """
    if len(block.value) > block.limit:
        raise BlockLimitExceeded(block.label, len(block.value), block.limit)
    return block


def edited_by_agent(block: Block, value: str) -> Block:
    """The block with the value an agent gives it.

    :raises BlockReadOnly: if the block is not the agent's to change.
    :raises BlockLimitExceeded: if the value is longer than the limit.
    """
    if block.read_only:
        raise BlockReadOnly(block.label)
    return check(replace(block, value=value))
