"""Searching with SearXNG, which anybody can run. What it cannot filter by is refused, not left out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import httpx2

from tertulia.domain.errors import InvalidArgument
from tertulia.tools.search import SearchArguments, SearchFailed
from tertulia.tools.search_http import results_of

_CATEGORIES: Final = {None: "general", "news": "news", "research paper": "science"}
_SHOWN: Final = {"title": "title", "url": "url", "publishedDate": "published_date", "content": "summary"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Searxng:
    base_url: str
    seconds: float = 30.0

    async def search(self, wanted: SearchArguments) -> Sequence[dict[str, Any]]:
        _check(wanted)
        parameters = {"q": _query(wanted), "format": "json", "categories": _CATEGORIES[wanted.category]}
        request = httpx2.Request("GET", f"{self.base_url}/search", params=parameters)
        try:
            found = await results_of("SearXNG", request, self.seconds)
        except SearchFailed as error:
            if "status 403" in error.message:
                raise SearchFailed("SearXNG refused: 'json' must be among search.formats in its settings.") from error
            raise
        fitting = [entry for entry in found if _fits(str(entry.get("url", "")), wanted)]
        return [
            {ours: entry[theirs] for theirs, ours in _SHOWN.items() if entry.get(theirs)}
            for entry in fitting[: wanted.num_results]
        ]


def _check(wanted: SearchArguments) -> None:
    """:raises InvalidArgument: for what only other services can do."""
    impossible = [
        name
        for name in ("include_text", "start_published_date", "end_published_date", "user_location")
        if getattr(wanted, name)
    ]
    if wanted.category not in _CATEGORIES:
        impossible.append(f"category '{wanted.category}'")
    if impossible:
        raise InvalidArgument(f"The search service of this server (SearXNG) has no {', '.join(impossible)}.")


def _query(wanted: SearchArguments) -> str:
    """Most engines behind it understand ``site:``; what they return is looked at all the same."""
    only = " OR ".join(f"site:{domain}" for domain in wanted.include_domains or ())
    never = " ".join(f"-site:{domain}" for domain in wanted.exclude_domains or ())
    return " ".join(part for part in (wanted.query, only, never) if part)


def _fits(url: str, wanted: SearchArguments) -> bool:
    host = urlsplit(url).hostname or ""
    if wanted.include_domains and not any(_within(host, domain) for domain in wanted.include_domains):
        return False
    return not any(_within(host, domain) for domain in wanted.exclude_domains or ())


def _within(host: str, domain: str) -> bool:
    return host == domain.lower() or host.endswith(f".{domain.lower()}")
