"""``/v1/messages``: stored messages of all agents."""

from dataclasses import replace

from fastapi import APIRouter
from starlette.responses import Response

from tertulia.api.conversation_ids import ConversationFilter
from tertulia.api.deps import CurrentServices
from tertulia.api.message_lists import LISTED, MessagesNewestFirst, MessageTypes, as_json, config_of, list_messages
from tertulia.api.wire.messages import wire_messages
from tertulia.domain.runs import RequestConfig

router = APIRouter(tags=["messages"])


@router.get("/v1/messages", operation_id="list_all_messages", responses=LISTED)
async def list_all_messages(
    *,
    services: CurrentServices,
    conversation_id: ConversationFilter = None,
    asked: MessagesNewestFirst,
    include_return_message_types: MessageTypes = None,
) -> Response:
    """Messages of every conversation, or of one."""
    stored_id = None if conversation_id is None else services.conversations.resolve(conversation_id, None)
    query = replace(asked, conversation_id=stored_id)
    return await list_messages(
        services,
        query,
        config_of(include_return_message_types),
        lambda tx: stored_id is None or tx.conversations.get(stored_id),
    )


@router.get("/v1/messages/{message_id}", operation_id="retrieve_message", responses=LISTED)
async def retrieve_message(services: CurrentServices, message_id: str) -> Response:
    """A list: one stored message can be several of these, such as reasoning, text and tool calls of one reply."""
    message = await services.store.read(lambda tx: tx.messages.get(message_id))
    return as_json(wire_messages(message, RequestConfig()))
