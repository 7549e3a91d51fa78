"""Cursors: the query parameters every list shares, and the page they mean."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Literal, TypeAlias

from fastapi import Depends, Query

from tertulia.domain.errors import NotFound
from tertulia.ports.queries import Page

MAX_LIMIT = 1000
"""Rows a list gives at most; asking for more is refused rather than cut short."""

Order: TypeAlias = Literal["asc", "desc"]
After: TypeAlias = Annotated[
    str | None, Query(description="Continue after the item with this id, in the list's order.")
]
Before: TypeAlias = Annotated[str | None, Query(description="End before the item with this id.")]
Limit: TypeAlias = Annotated[int | None, Query(ge=0, le=MAX_LIMIT, description="Maximum number of items.")]


def page(limit: int | None, after: str | None, before: str | None, *, ascending: bool) -> Page:
    """The store's page. An empty cursor is no cursor; clients send both. ``limit`` None is the most there may be."""
    return Page(
        limit=MAX_LIMIT if limit is None else limit, after=after or None, before=before or None, ascending=ascending
    )


def _page_asked_for(most: int, first: Order) -> Callable[..., Awaitable[Page]]:
    async def asked(
        before: Before = None,
        after: After = None,
        limit: Limit = most,
        order: Order = first,
        order_by: Literal["created_at"] = "created_at",
    ) -> Page:
        return page(limit, after, before, ascending=order == "asc")

    return asked


NewestFirst: TypeAlias = Annotated[Page, Depends(_page_asked_for(50, "desc"))]
"""The page of a list by creation, 50 items where nothing else is asked for."""

NewestFirst100: TypeAlias = Annotated[Page, Depends(_page_asked_for(100, "desc"))]
OldestFirst: TypeAlias = Annotated[Page, Depends(_page_asked_for(50, "asc"))]


def slice_of(ids: list[str], wanted: Page) -> range:
    """The indexes of a page in a list that is held in memory, oldest first; in the page's order.

    :raises NotFound: if a cursor names no item.
    """
    ordered = range(len(ids)) if wanted.ascending else range(len(ids) - 1, -1, -1)
    start = ordered.index(_index(ids, wanted.after)) + 1 if wanted.after else 0
    stop = ordered.index(_index(ids, wanted.before)) if wanted.before else len(ordered)
    if wanted.before and not wanted.after and wanted.limit is not None:
        start = max(start, stop - wanted.limit)
    chosen = ordered[start : max(start, stop)]
    return chosen if wanted.limit is None else chosen[: wanted.limit]


def _index(ids: list[str], cursor: str) -> int:
    if cursor not in ids:
        raise NotFound("Item", cursor)
    return ids.index(cursor)
