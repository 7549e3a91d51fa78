"""``fetch_webpage``: one page of the public internet, as text."""

import asyncio
from typing import Annotated

from msgspec import Meta, Struct

from tertulia.ports.tool import ToolContext
from tertulia.tools.base import BuiltinTool


class FetchArguments(Struct, forbid_unknown_fields=True, kw_only=True):
    url: Annotated[str, Meta(min_length=1, description="The page's address, with http:// or https://.")]


def fetch_webpage(*, allow_private_addresses: bool) -> BuiltinTool[FetchArguments]:
    """The tool, which keeps to the public internet unless it is told otherwise."""

    async def fetch(arguments: FetchArguments, _context: ToolContext) -> str:
        # Imported with the first page: the HTTP client and the parser take a tenth of a second.
        from tertulia.tools.guarded_http import FetchFailed, GuardedClient  # noqa: PLC0415
        from tertulia.tools.readable import readable  # noqa: PLC0415

        client = GuardedClient().anywhere() if allow_private_addresses else GuardedClient()
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
