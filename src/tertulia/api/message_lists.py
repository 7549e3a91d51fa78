"""The one way in which messages are listed, whatever they are messages of. A hot path: bytes, not models."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Annotated, Any, Final, Literal, TypeAlias

from fastapi import Depends, Query
from starlette.responses import Response

from tertulia.api.deps import Services
from tertulia.api.pages import MAX_LIMIT, Limit, Order
from tertulia.api.wire.documented import LettaMessage
from tertulia.api.wire.frames import encode
from tertulia.api.wire.messages import MessageType, WireMessage, roles_of, wire_messages
from tertulia.domain.runs import RequestConfig
from tertulia.ports.queries import MessageQuery
from tertulia.ports.store import Transaction

MessageTypes: TypeAlias = Annotated[
    list[MessageType] | None, Query(description="Only messages of these types. `limit` counts the messages shown.")
]
Older: TypeAlias = Annotated[
    str | None, Query(description="Only messages older than the one with this id, whatever the order.")
]
Newer: TypeAlias = Annotated[
    str | None, Query(description="Only messages newer than the one with this id, whatever the order.")
]

# `model` is for the document alone: the bodies are made without it.
LISTED: Final[dict[int | str, dict[str, Any]]] = {200: {"model": list[LettaMessage]}}

_SIFTED: Final = 100
"""How many stored messages are read at a time when not all of them are shown."""


def _messages_asked_for(first: Order) -> Callable[..., Awaitable[MessageQuery]]:
    async def asked(
        before: Older = None,
        after: Newer = None,
        limit: Limit = 100,
        order: Order = first,
        order_by: Literal["created_at"] = "created_at",
    ) -> MessageQuery:
        return MessageQuery(older_than=before, newer_than=after, limit=limit, ascending=order == "asc")

    return asked


MessagesNewestFirst: TypeAlias = Annotated[MessageQuery, Depends(_messages_asked_for("desc"))]
"""Which messages of a list are asked for: what the query parameters say that every such list has."""

MessagesOldestFirst: TypeAlias = Annotated[MessageQuery, Depends(_messages_asked_for("asc"))]


def config_of(types: list[MessageType] | None) -> RequestConfig:
    return RequestConfig(include_return_message_types=None if types is None else tuple(types))


async def list_messages(
    services: Services, query: MessageQuery, config: RequestConfig, exists: Callable[[Transaction], object]
) -> Response:
    """The messages of ``query`` as ``config`` shows them. ``exists`` raises if what they belong to does not.

    One stored message can be several wire messages: they come together, and count as one. An empty cursor is none.
    """
    wanted = replace(
        query,
        older_than=query.older_than or None,
        newer_than=query.newer_than or None,
        limit=MAX_LIMIT if query.limit is None else query.limit,
    )
    return as_json(await services.store.read(partial(_list, wanted, config, exists)))


def as_json(messages: list[WireMessage]) -> Response:
    return Response(encode(messages), media_type="application/json")


def _list(
    query: MessageQuery, config: RequestConfig, exists: Callable[[Transaction], object], tx: Transaction
) -> list[WireMessage]:
    exists(tx)
    roles = roles_of(config.include_return_message_types)
    if roles is None:
        return []
    left = query.limit or 0
    chunk = replace(
        query, roles=roles, limit=left if config.include_return_message_types is None else max(left, _SIFTED)
    )
    shown: list[WireMessage] = []
    while left:
        found = tx.messages.find(chunk)
        for message in found:
            wire = wire_messages(message, config)
            if wire and left:
                left -= 1
                shown += wire if query.ascending else reversed(wire)
        if len(found) < (chunk.limit or 0):
            break
        last = found[-1].id
        chunk = replace(chunk, newer_than=last) if query.ascending else replace(chunk, older_than=last)
    return shown
