"""Searching with Exa, a search engine made for models. It takes every argument the tool has."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import httpx2

from tertulia.tools.search import SearchArguments
from tertulia.tools.search_http import results_of

_SHOWN: Final = {
    "title": "title",
    "url": "url",
    "publishedDate": "published_date",
    "author": "author",
    "highlights": "highlights",
    "summary": "summary",
    "text": "text",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Exa:
    api_key: str = field(repr=False)
    base_url: str = "https://api.exa.ai"
    seconds: float = 30.0

    async def search(self, wanted: SearchArguments) -> Sequence[dict[str, Any]]:
        request = httpx2.Request(
            "POST", f"{self.base_url}/search", headers={"x-api-key": self.api_key}, json=_body(wanted)
        )
        found = await results_of("Exa", request, self.seconds)
        return [{ours: entry[theirs] for theirs, ours in _SHOWN.items() if entry.get(theirs)} for entry in found]


def _body(wanted: SearchArguments) -> dict[str, Any]:
    contents: dict[str, Any] = {"highlights": True, "summary": True}
    if wanted.include_text:
        contents["text"] = True
    body = {
        "query": wanted.query,
        "numResults": wanted.num_results,
        "contents": contents,
        "category": wanted.category,
        "includeDomains": wanted.include_domains,
        "excludeDomains": wanted.exclude_domains,
        "startPublishedDate": wanted.start_published_date,
        "endPublishedDate": wanted.end_published_date,
        "userLocation": wanted.user_location and wanted.user_location.upper(),
    }
    return {name: value for name, value in body.items() if value}
