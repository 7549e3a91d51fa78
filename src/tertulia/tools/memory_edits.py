"""``memory_insert``, ``memory_replace`` and ``memory_rethink``: the memory tools of today's agents."""

from typing import Annotated

from msgspec import Meta, Struct

from tertulia.domain.errors import InvalidArgument
from tertulia.ports.tool import ToolContext
from tertulia.tools.base import BuiltinTool
from tertulia.tools.block_edits import edit_part, edit_whole, edited

Label = Annotated[str, Meta(description="The label of the memory block to edit.")]


class InsertArguments(Struct, forbid_unknown_fields=True, kw_only=True):
    label: Label
    new_string: Annotated[str, Meta(description="The text to insert, without line numbers.")]
    insert_line: Annotated[
        int, Meta(ge=-1, description="The line to insert it after: 0 is the beginning, -1 (the default) the end.")
    ] = -1


class ReplaceArguments(Struct, forbid_unknown_fields=True, kw_only=True):
    label: Label
    old_string: Annotated[
        str, Meta(min_length=1, description="The text to replace, exactly as it stands in the block, and only once.")
    ]
    new_string: Annotated[str, Meta(description="The text to put in its place; empty to delete it.")]


class RethinkArguments(Struct, forbid_unknown_fields=True, kw_only=True):
    label: Label
    new_memory: Annotated[str, Meta(description="The whole new text of the block.")]


def insert_at(value: str, new: str, line: int) -> str:
    """The value with a text inserted after the line-th line; -1 is the end.

    :raises InvalidArgument: if there are not so many lines.
    """
    lines = value.split("\n") if value else []
    if line > len(lines):
        raise InvalidArgument(f"insert_line {line} is past the end: the block has {len(lines)} lines.")
    at = len(lines) if line == -1 else line
    return "\n".join([*lines[:at], new, *lines[at:]])


def replace_once(value: str, old: str, new: str) -> str:
    """The value with the one occurrence of a text replaced.

    :raises InvalidArgument: if it does not stand there exactly once.
    """
    count = value.count(old)
    if count == 0:
        raise InvalidArgument("old_string does not stand in the block. Give it exactly as it is, white space included.")
    if count > 1:
        raise InvalidArgument(f"old_string stands in the block {count} times. Give more of what surrounds it.")
    return value.replace(old, new)


async def _insert(arguments: InsertArguments, context: ToolContext) -> str:
    new, line = arguments.new_string, arguments.insert_line
    return edited(await edit_part(context, arguments.label, lambda value: insert_at(value, new, line)))


async def _replace(arguments: ReplaceArguments, context: ToolContext) -> str:
    old, new = arguments.old_string, arguments.new_string
    return edited(await edit_part(context, arguments.label, lambda value: replace_once(value, old, new)))


async def _rethink(arguments: RethinkArguments, context: ToolContext) -> str:
    return edited(await edit_whole(context, arguments.label, arguments.new_memory))


MEMORY_INSERT = BuiltinTool(
    "memory_insert",
    "Insert text into a memory block, after a line or at its end. Use it to note something new.",
    InsertArguments,
    _insert,
    tool_type="letta_sleeptime_core",
)
MEMORY_REPLACE = BuiltinTool(
    "memory_replace",
    "Replace a piece of text in a memory block with another. Use it to correct or delete something.",
    ReplaceArguments,
    _replace,
    tool_type="letta_sleeptime_core",
)
MEMORY_RETHINK = BuiltinTool(
    "memory_rethink",
    "Write a memory block anew as a whole. Use it to reorganise or condense, not for small changes.",
    RethinkArguments,
    _rethink,
    tool_type="letta_sleeptime_core",
)
