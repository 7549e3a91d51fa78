"""``fetch_webpage``: one page of the public internet, as text."""

from typing import Annotated

from msgspec import Meta, Struct

from tertulia.ports.apart import Apart, WorkFailed
from tertulia.ports.tool import ToolContext
from tertulia.tools.apart import ChildProcesses
from tertulia.tools.base import BuiltinTool


class FetchArguments(Struct, forbid_unknown_fields=True, kw_only=True):
    url: Annotated[str, Meta(min_length=1, description="The page's address, with http:// or https://.")]


def fetch_webpage(*, allow_private_addresses: bool, apart: Apart | None = None) -> BuiltinTool[FetchArguments]:
    """The tool, which keeps to the public internet unless it is told otherwise. Pages are parsed ``apart``."""
    processes = apart or ChildProcesses()

    async def fetch(arguments: FetchArguments, _context: ToolContext) -> str:
        # Imported with the first page: the HTTP client takes a tenth of a second.
        from tertulia.tools.guarded_http import FetchFailed, GuardedClient  # noqa: PLC0415

        client = GuardedClient().anywhere() if allow_private_addresses else GuardedClient()
        page = await client.get(arguments.url)
        try:
            text = await processes.run("readable", page.body, page.content_type)
        except WorkFailed as error:
            raise FetchFailed(f"Reading {page.url} {error.message}") from None
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
