"""``/v1/messages/search`` and ``/v1/conversations/search``: finding what was said, by its words."""

from fastapi import APIRouter, Request

from tertulia.api.bodies import document_body, read_body
from tertulia.api.deps import services_of
from tertulia.api.wire.conversations import conversation_to_wire
from tertulia.api.wire.search import (
    FoundConversation,
    FoundMessage,
    SearchConversationsBody,
    SearchMessagesBody,
    found_message,
    message_query,
    word_query,
)
from tertulia.domain.conversations import Conversation
from tertulia.domain.errors import NotFound
from tertulia.domain.messages import Message
from tertulia.ports.queries import ConversationQuery, Page
from tertulia.ports.store import Transaction

router = APIRouter(tags=["messages"])


@router.post("/v1/messages/search", operation_id="search_all_messages", openapi_extra=document_body(SearchMessagesBody))
async def search_all_messages(request: Request) -> list[FoundMessage]:
    """Messages with all the words of the query, best match first."""
    services, body = services_of(request), await read_body(request, SearchMessagesBody)
    stored_id = services.conversations.resolve(body.conversation_id, body.agent_id) if body.conversation_id else None
    query = message_query(body, stored_id)
    return [found_message(message) for message in await services.store.read(lambda tx: tx.messages.search(query))]


@router.post(
    "/v1/conversations/search",
    operation_id="search_conversations",
    openapi_extra=document_body(SearchConversationsBody),
)
async def search_conversations(request: Request) -> list[FoundConversation]:
    """Ours: conversations with messages or a summary that match, the best first. Hidden ones are left out."""
    services, body = services_of(request), await read_body(request, SearchConversationsBody)
    found = await services.store.read(lambda tx: _conversations(body, tx))
    return [
        FoundConversation(
            conversation=conversation_to_wire(conversation), messages=[found_message(message) for message in messages]
        )
        for conversation, messages in found
    ]


def _conversations(body: SearchConversationsBody, tx: Transaction) -> list[tuple[Conversation, list[Message]]]:
    messages: dict[str, list[Message]] = {}
    for message in tx.messages.search(word_query(body)):
        messages.setdefault(message.conversation_id, []).append(message)
    named = ConversationQuery(
        page=Page(limit=body.limit), agent_id=body.agent_id, archived=body.archived, summary_search=body.query
    )
    ids = list(dict.fromkeys([*messages, *(conversation.id for conversation in tx.conversations.find(named))]))
    shown: list[tuple[Conversation, list[Message]]] = []
    for conversation_id in ids:
        try:
            conversation = tx.conversations.get(conversation_id)
        except NotFound:
            continue  # deleted; a fork still has its messages
        if not conversation.hidden and body.archived in {None, conversation.archived}:
            shown.append((conversation, messages.get(conversation_id, [])))
    return shown[: body.limit]
