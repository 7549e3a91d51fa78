"""Asking a search service over HTTP, whichever it is. Imported with the service: the HTTP client takes its time."""

from typing import Any, cast

import httpx2

from tertulia.tools.search import SearchFailed


async def results_of(service: str, request: httpx2.Request, seconds: float) -> list[dict[str, Any]]:
    """The entries of ``results`` in the reply to a request.

    :raises SearchFailed: if the service cannot be reached, refuses, or answers something else.
    """
    try:
        async with httpx2.AsyncClient(timeout=seconds) as client:
            response = await client.send(request)
    except httpx2.HTTPError as error:
        raise SearchFailed(f"{service} does not answer: {error or type(error).__name__}.") from error
    if response.is_error:
        said = response.text[:300]
        raise SearchFailed(f"{service} refused the search with status {response.status_code}: {said}")
    try:
        results: object = response.json()["results"]
    except (ValueError, KeyError, TypeError):
        raise SearchFailed(f"{service} answered something that is no search result.") from None
    if not isinstance(results, list):
        raise SearchFailed(f"{service} answered something that is no search result.")
    return [cast("dict[str, Any]", entry) for entry in cast("list[object]", results) if isinstance(entry, dict)]
