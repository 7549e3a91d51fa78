"""``web_search``: finding pages on the web, through the search service that is configured."""

import msgspec

from tertulia.domain.errors import InvalidArgument
from tertulia.ports.tool import ToolContext
from tertulia.settings import WebSettings
from tertulia.tools.base import BuiltinTool
from tertulia.tools.search import SearchArguments, SearchService


def web_search(service: SearchService | None) -> BuiltinTool[SearchArguments]:
    """The tool over a search service; without one, each call says what to set."""

    async def search(arguments: SearchArguments, _context: ToolContext) -> str:
        if service is None:
            raise InvalidArgument(
                "Web search is not configured on this server. Whoever runs it can set EXA_API_KEY, or SEARXNG_BASE_URL "
                "to the address of a SearXNG instance."
            )
        results = await service.search(arguments)
        return msgspec.json.encode({"query": arguments.query, "results": results}).decode()

    return BuiltinTool(
        "web_search",
        "Search the web. Each result has a title, an address and what the search service says of the page.",
        SearchArguments,
        search,
        tool_type="letta_builtin",
        parallel=True,
        idempotent=True,
    )


def search_service(settings: WebSettings) -> SearchService | None:
    # Imported where one is configured, for the HTTP client's sake.
    if settings.exa_api_key:
        from tertulia.tools.search_exa import Exa  # noqa: PLC0415

        return Exa(api_key=settings.exa_api_key)
    if settings.searxng_base_url:
        from tertulia.tools.search_searxng import Searxng  # noqa: PLC0415

        return Searxng(base_url=settings.searxng_base_url)
    return None
