"""The built-in tools: one file each, or one for a family that shares its argument handling."""

from tertulia.ports.apart import Apart
from tertulia.ports.tool import Tool
from tertulia.settings import WebSettings
from tertulia.tools.conversation_search import CONVERSATION_SEARCH
from tertulia.tools.core_memory import CORE_MEMORY_APPEND, CORE_MEMORY_REPLACE
from tertulia.tools.fetch_webpage import fetch_webpage
from tertulia.tools.memory import MEMORY
from tertulia.tools.memory_edits import MEMORY_INSERT, MEMORY_REPLACE, MEMORY_RETHINK
from tertulia.tools.send_message import SEND_MESSAGE
from tertulia.tools.web_search import search_service, web_search


def builtin_tools(web: WebSettings, apart: Apart | None = None) -> tuple[Tool, ...]:
    """All of them. A new built-in tool is one new file and one line here."""
    return (
        CONVERSATION_SEARCH,
        CORE_MEMORY_APPEND,
        CORE_MEMORY_REPLACE,
        fetch_webpage(allow_private_addresses=web.allow_private_addresses, apart=apart),
        MEMORY,
        MEMORY_INSERT,
        MEMORY_REPLACE,
        MEMORY_RETHINK,
        SEND_MESSAGE,
        web_search(search_service(web)),
    )


BUILTIN_TOOLS = builtin_tools(WebSettings())
"""The tools of a server with nothing configured; the tools for the web say then what to set."""
