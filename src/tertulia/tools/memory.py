"""``memory``: one tool that edits, creates, renames and removes memory blocks, addressed as ``/memories/<label>``."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Literal

from msgspec import Meta, Struct
from msgspec.structs import replace

from tertulia.domain.blocks import Block, check
from tertulia.domain.clock import utc_now
from tertulia.domain.errors import BlockReadOnly, InvalidArgument
from tertulia.domain.ids import new_block_id
from tertulia.ports.store import Transaction
from tertulia.ports.tool import ToolContext
from tertulia.tools.base import BuiltinTool
from tertulia.tools.block_edits import blocks_of, edit_part, edited, labelled
from tertulia.tools.memory_edits import insert_at, replace_once

Command = Literal["create", "str_replace", "insert", "delete", "rename"]


class MemoryArguments(Struct, forbid_unknown_fields=True, kw_only=True):
    """The union of what the commands take; each says what it misses."""

    command: Annotated[Command, Meta(description="What to do.")]
    path: Annotated[str | None, Meta(description="The block, as /memories/<label>. For all commands but rename.")] = (
        None
    )
    file_text: Annotated[str | None, Meta(description="create: the new block's text.")] = None
    description: Annotated[str | None, Meta(description="create, rename: what the block is for.")] = None
    old_string: Annotated[str | None, Meta(description="str_replace: the text to replace, standing there once.")] = None
    new_string: Annotated[str | None, Meta(description="str_replace: the text in its place; empty to delete.")] = None
    insert_line: Annotated[int | None, Meta(description="insert: the line to insert after; 0 is the beginning.")] = None
    insert_text: Annotated[str | None, Meta(description="insert: the text to insert.")] = None
    old_path: Annotated[str | None, Meta(description="rename: the block as it is called now.")] = None
    new_path: Annotated[str | None, Meta(description="rename: the block as it is to be called.")] = None


async def _create(arguments: MemoryArguments, context: ToolContext) -> str:
    label, now = _label(arguments, "path"), utc_now()
    value = arguments.file_text or ""
    block = Block(
        id=new_block_id(), label=label, value=value, description=arguments.description, created_at=now, updated_at=now
    )

    def write(tx: Transaction) -> None:
        if any(other.label == label for other in blocks_of(tx, context)):
            raise InvalidArgument(f"There is a memory block '{label}' already. Edit it, or choose another name.")
        tx.blocks.insert(check(block))
        tx.blocks.attach(context.agent_id, block.id)

    await context.store.write(write)
    context.seen_blocks[block.id] = block.version
    return f"The memory block '{label}' has been created."


async def _str_replace(arguments: MemoryArguments, context: ToolContext) -> str:
    old, new = _given(arguments, "old_string"), arguments.new_string or ""
    if not old:
        raise InvalidArgument("old_string must not be empty.")
    return edited(await edit_part(context, _label(arguments, "path"), lambda value: replace_once(value, old, new)))


async def _insert(arguments: MemoryArguments, context: ToolContext) -> str:
    text, line = _given(arguments, "insert_text"), -1 if arguments.insert_line is None else arguments.insert_line
    if line < -1:
        raise InvalidArgument("insert_line must be 0 or more, or -1 for the end.")
    return edited(await edit_part(context, _label(arguments, "path"), lambda value: insert_at(value, text, line)))


async def _delete(arguments: MemoryArguments, context: ToolContext) -> str:
    label = _label(arguments, "path")

    def write(tx: Transaction) -> None:
        # Detached, not destroyed: other agents may share it, and a person can attach it again.
        tx.blocks.detach(context.agent_id, _shared(tx, context, label).id)

    await context.store.write(write)
    return f"The memory block '{label}' has been removed from your memory."


async def _rename(arguments: MemoryArguments, context: ToolContext) -> str:
    old = _label(arguments, "path" if arguments.old_path is None else "old_path")
    new = _label(arguments, "new_path") if arguments.new_path is not None else old

    def write(tx: Transaction) -> Block:
        block = _own(tx, context, old) if new == old else _shared(tx, context, old)
        taken = {other.label for other in blocks_of(tx, context)} - {old}
        if new in taken:
            raise InvalidArgument(f"There is a memory block '{new}' already. Choose another name.")
        described = block.description if arguments.description is None else arguments.description
        return tx.blocks.replace(replace(block, label=new, description=described, updated_at=utc_now()))

    block = await context.store.write(write)
    context.seen_blocks[block.id] = block.version
    return f"The memory block '{old}' is now called '{new}'."


def _own(tx: Transaction, context: ToolContext, label: str) -> Block:
    block = labelled(tx, context, label)
    if block.read_only:
        raise BlockReadOnly(label)
    return block


def _shared(tx: Transaction, context: ToolContext, label: str) -> Block:
    """A block that can be renamed or removed. In place of an isolated one the agent's own would come back."""
    block = _own(tx, context, label)
    if block.id in tx.conversations.get(context.conversation_id).isolated_block_ids:
        raise InvalidArgument(
            f"The memory block '{label}' is this conversation's own copy: it can be edited or emptied, but neither "
            "renamed nor removed."
        )
    return block


def _given(arguments: MemoryArguments, name: str) -> str:
    value: str | None = getattr(arguments, name)
    if value is None:
        raise InvalidArgument(f"The command '{arguments.command}' needs '{name}'.")
    return value


def _label(arguments: MemoryArguments, name: str) -> str:
    label = _given(arguments, name).removeprefix("/memories").strip("/")
    if not label:
        raise InvalidArgument(f"'{name}' must name a block, as /memories/<label>.")
    return label


_COMMANDS: dict[Command, Callable[[MemoryArguments, ToolContext], Awaitable[str]]] = {
    "create": _create,
    "str_replace": _str_replace,
    "insert": _insert,
    "delete": _delete,
    "rename": _rename,
}


async def _memory(arguments: MemoryArguments, context: ToolContext) -> str:
    return await _COMMANDS[arguments.command](arguments, context)


MEMORY = BuiltinTool(
    "memory",
    "Manage your memory blocks, addressed as /memories/<label>. Commands: create (path, description, file_text), "
    "str_replace (path, old_string, new_string), insert (path, insert_line, insert_text), delete (path), "
    "rename (old_path, new_path, description).",
    MemoryArguments,
    _memory,
    tool_type="letta_sleeptime_core",
)
