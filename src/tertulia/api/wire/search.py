"""Searches as clients send them, and what is found as they are shown it."""

from datetime import datetime
from typing import Annotated, Final, Literal

import msgspec
from pydantic import Field

from tertulia.api.wire.common import Instant, JsonObject, Name, ResponseModel, Searched
from tertulia.api.wire.content import SentModel
from tertulia.api.wire.conversations import Conversation
from tertulia.api.wire.instants import SentInstant
from tertulia.domain.errors import Unsupported
from tertulia.domain.messages import ImagePart, Message, Role, TextPart
from tertulia.ports.queries import SearchQuery

Limit = Annotated[int, Field(ge=1, le=1000)]

_ROLES: Final[tuple[Role, ...]] = ("user", "assistant", "system")
_TYPES: Final = {"user": "user_message", "assistant": "assistant_message", "system": "system_message"}
_PER_CONVERSATION: Final = 10
"""How many matching messages are looked at for each conversation that is wanted."""


class SearchMessagesBody(SentModel):
    query: Searched
    search_mode: Literal["vector", "fts", "hybrid"] | None = Field(
        None,
        description=(
            "`hybrid` searches full text only, and `vector` is not supported, because there are no embeddings yet."
        ),
    )
    agent_id: Name | None = None
    conversation_id: Name | None = None
    start_date: SentInstant | None = None
    end_date: SentInstant | None = None
    limit: Limit = 50


class SearchConversationsBody(SentModel):
    query: Searched
    agent_id: Name | None = None
    archive_status: Literal["unarchived", "archived", "all"] = "all"
    start_date: SentInstant | None = None
    end_date: SentInstant | None = None
    limit: Limit = 20

    @property
    def archived(self) -> bool | None:
        return {"unarchived": False, "archived": True, "all": None}[self.archive_status]


class FoundMessage(ResponseModel):
    message_type: Literal["user_message", "assistant_message", "system_message"]
    message_id: str
    content: str | list[JsonObject]
    created_at: Instant
    agent_id: str | None
    conversation_id: str | None


class FoundConversation(ResponseModel):
    """A conversation and its messages that match, none where its summary alone does."""

    conversation: Conversation
    messages: list[FoundMessage]


def message_query(body: SearchMessagesBody, conversation_id: str | None) -> SearchQuery:
    """The search of messages.

    :raises Unsupported: for a search by meaning, which is not built.
    """
    if body.search_mode == "vector":
        raise Unsupported("'search_mode' 'vector' is not supported by this server yet. Search with 'fts' or 'hybrid'.")
    return _query(body.query, body.agent_id, body.start_date, body.end_date, body.limit, conversation_id)


def word_query(body: SearchConversationsBody) -> SearchQuery:
    """The messages that make a conversation one that is found."""
    return _query(body.query, body.agent_id, body.start_date, body.end_date, body.limit * _PER_CONVERSATION)


def _query(
    text: str,
    agent_id: str | None,
    start: datetime | None,
    end: datetime | None,
    limit: int,
    conversation_id: str | None = None,
) -> SearchQuery:
    return SearchQuery(
        text=text,
        agent_id=agent_id,
        conversation_id=conversation_id,
        roles=_ROLES,
        start=start,
        end=end,
        limit=limit,
    )


def found_message(message: Message) -> FoundMessage:
    images = any(isinstance(part, ImagePart) for part in message.content)
    shown = [part for part in message.content if isinstance(part, TextPart | ImagePart)]
    return FoundMessage.model_validate(
        {
            "message_type": _TYPES[message.role],
            "message_id": message.id,
            "content": msgspec.to_builtins(shown) if images else message.text,
            "created_at": message.created_at,
            "agent_id": message.agent_id,
            "conversation_id": "default" if message.conversation_id == message.agent_id else message.conversation_id,
        }
    )
