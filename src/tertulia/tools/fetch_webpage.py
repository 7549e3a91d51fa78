"""``fetch_webpage``: one page of the public internet, as text."""

import asyncio
from typing import Annotated

from msgspec import Meta, Struct

from tertulia.ports.tool import ToolContext
from tertulia.settings import WebSettings
from tertulia.tools.base import BuiltinTool
from tertulia.tools.guarded_http import FetchFailed, GuardedClient
from tertulia.tools.readable import readable


class FetchArguments(Struct, forbid_unknown_fields=True, kw_only=True):
    url: Annotated[str, Meta(min_length=1, description="The page's address, with http:// or https://.")]


def fetch_webpage(client: GuardedClient) -> BuiltinTool[FetchArguments]:
    """The tool, over a client that decides what may be fetched."""

    async def fetch(arguments: FetchArguments, _context: ToolContext) -> str:
        page = await client.get(arguments.url)
        # Parsing a long page takes up to seconds; other conversations go on meanwhile.
        text = await asyncio.to_thread(readable, page.body, page.content_type)
        if text is None:
            raise FetchFailed(f"{page.url} is no text: its content type is '{page.content_type}'.")
        return f"Source: {page.url}\n\n{text}"

    return BuiltinTool(
        "fetch_webpage",
        "Fetch a web page and read it as Markdown text.",
        FetchArguments,
        fetch,
        tool_type="letta_builtin",
        parallel=True,
        idempotent=True,
    )


def guarded_client(settings: WebSettings) -> GuardedClient:
    """A client that keeps to the public internet, unless the settings open the rest."""
    return GuardedClient(is_allowed=lambda _address: True) if settings.allow_private_addresses else GuardedClient()
