"""``conversation_search``: finding words in the agent's messages, of all its conversations."""

from datetime import UTC, datetime, time
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from tertulia.domain.errors import InvalidArgument
from tertulia.domain.messages import Message
from tertulia.ports.queries import SearchQuery
from tertulia.ports.tool import ToolContext
from tertulia.tools.base import BuiltinTool

MAX_RESULTS = 50


class SearchArguments(Struct, forbid_unknown_fields=True, kw_only=True):
    query: Annotated[str, Meta(description="Words to find; messages that hold all of them are returned.")]
    roles: Annotated[
        tuple[Literal["user", "assistant", "tool"], ...] | None, Meta(description="Only messages of these roles.")
    ] = None
    limit: Annotated[int, Meta(ge=1, le=MAX_RESULTS, description="How many results at the most.")] = 10
    start_date: Annotated[str | None, Meta(description="Only messages from this ISO 8601 date or time on.")] = None
    end_date: Annotated[str | None, Meta(description="Only messages up to this ISO 8601 date or time.")] = None


async def _search(arguments: SearchArguments, context: ToolContext) -> str:
    query = SearchQuery(
        text=arguments.query,
        agent_id=context.agent_id,
        roles=arguments.roles or ("user", "assistant", "tool"),
        start=_instant("start_date", arguments.start_date, time.min),
        end=_instant("end_date", arguments.end_date, time.max),
        limit=arguments.limit,
    )
    found = await context.store.read(lambda tx: tx.messages.search(query))
    # The question that is being answered is a message too, and no news to the model that asks.
    found = [message for message in found if message.run_id != context.run_id]
    if not found:
        return "No messages found."
    return msgspec.json.encode([_hit(message) for message in found]).decode()


def _instant(name: str, value: str | None, of_day: time) -> datetime | None:
    """The instant of an ISO date or time; a bare date is the whole day, a time without zone is UTC."""
    if value is None:
        return None
    try:
        instant = datetime.fromisoformat(value)
    except ValueError:
        raise InvalidArgument(f"{name} must be an ISO 8601 date or time such as 2026-01-31.") from None
    if "T" not in value and " " not in value:
        instant = datetime.combine(instant.date(), of_day)
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)


def _hit(message: Message) -> dict[str, str]:
    return {
        "timestamp": message.created_at.isoformat(timespec="seconds"),
        "role": message.role,
        "content": message.text,
        "conversation_id": message.conversation_id if message.conversation_id != message.agent_id else "default",
    }


CONVERSATION_SEARCH = BuiltinTool(
    "conversation_search",
    "Search your earlier messages with everyone you speak with, of all conversations, also those no longer in view.",
    SearchArguments,
    _search,
    parallel=True,
    idempotent=True,
)
