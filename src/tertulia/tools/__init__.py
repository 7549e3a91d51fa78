"""The built-in tools: one file each, or one for a family that shares its argument handling."""

from tertulia.ports.tool import Tool
from tertulia.tools.conversation_search import CONVERSATION_SEARCH
from tertulia.tools.core_memory import CORE_MEMORY_APPEND, CORE_MEMORY_REPLACE
from tertulia.tools.memory import MEMORY
from tertulia.tools.memory_edits import MEMORY_INSERT, MEMORY_REPLACE, MEMORY_RETHINK
from tertulia.tools.send_message import SEND_MESSAGE

BUILTIN_TOOLS: tuple[Tool, ...] = (
    CONVERSATION_SEARCH,
    CORE_MEMORY_APPEND,
    CORE_MEMORY_REPLACE,
    MEMORY,
    MEMORY_INSERT,
    MEMORY_REPLACE,
    MEMORY_RETHINK,
    SEND_MESSAGE,
)
"""A new built-in tool is one new file and one line here."""
