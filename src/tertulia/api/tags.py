"""``/v1/tags``: the tags that agents carry."""

from typing import Annotated, Literal

from fastapi import Query

from tertulia.api.deps import CurrentServices
from tertulia.api.pages import After, Before, Limit, Order, page
from tertulia.api.routing import api_router
from tertulia.domain.errors import InvalidArgument
from tertulia.ports.queries import TagQuery

router = api_router("tags")


@router.get("/v1/tags", operation_id="list_tags")
async def list_tags(
    *,
    services: CurrentServices,
    name: str | None = None,
    query_text: Annotated[str | None, Query(deprecated=True, description="An older name for `name`.")] = None,
    before: Before = None,
    after: After = None,
    limit: Limit = 50,
    order: Order = "asc",
    order_by: Literal["name"] = "name",
) -> list[str]:
    """In alphabetical order; ``name`` is part of a tag, without regard to case."""
    if name and query_text and name != query_text:
        raise InvalidArgument("INVALID_ARGUMENT: 'name' and 'query_text' are the same filter. Send one of them.")
    query = TagQuery(page=page(limit, after, before, ascending=order == "asc"), text=name or query_text or None)
    return await services.store.read(lambda tx: tx.agents.tags(query))
