"""``core_memory_append`` and ``core_memory_replace``: the memory tools of old agents."""

from typing import Annotated

from msgspec import Meta, Struct

from tertulia.domain.errors import InvalidArgument
from tertulia.ports.tool import ToolContext
from tertulia.tools.base import BuiltinTool
from tertulia.tools.block_edits import edit_part, edited

Label = Annotated[str, Meta(description="The label of the memory block to edit.")]


class AppendArguments(Struct, forbid_unknown_fields=True, kw_only=True):
    label: Label
    content: Annotated[str, Meta(description="The text to add at the end, on a line of its own.")]


class ReplaceArguments(Struct, forbid_unknown_fields=True, kw_only=True):
    label: Label
    old_content: Annotated[str, Meta(min_length=1, description="The text to replace, exactly as it stands there.")]
    new_content: Annotated[str, Meta(description="The text to put in its place; empty to delete it.")]


def _replaced(value: str, old: str, new: str) -> str:
    if old not in value:
        raise InvalidArgument("old_content does not stand in the block. Give it exactly as it is.")
    return value.replace(old, new)


async def _append(arguments: AppendArguments, context: ToolContext) -> str:
    added = arguments.content
    return edited(await edit_part(context, arguments.label, lambda value: f"{value}\n{added}" if value else added))


async def _replace(arguments: ReplaceArguments, context: ToolContext) -> str:
    old, new = arguments.old_content, arguments.new_content
    return edited(await edit_part(context, arguments.label, lambda value: _replaced(value, old, new)))


CORE_MEMORY_APPEND = BuiltinTool(
    "core_memory_append",
    "Add text at the end of a memory block.",
    AppendArguments,
    _append,
    tool_type="letta_memory_core",
)
CORE_MEMORY_REPLACE = BuiltinTool(
    "core_memory_replace",
    "Replace text in a memory block with another, wherever it stands.",
    ReplaceArguments,
    _replace,
    tool_type="letta_memory_core",
)
