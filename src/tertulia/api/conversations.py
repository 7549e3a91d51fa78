"""``/v1/conversations``: an agent's threads, their messages, and sending to them."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final, Literal

from fastapi import APIRouter, Request
from starlette.responses import Response

from tertulia.api.bodies import document_body, read_body
from tertulia.api.conversation_ids import ConversationId
from tertulia.api.deps import CurrentServices, Services, services_of
from tertulia.api.message_lists import LISTED, MessagesNewestFirst, MessageTypes, config_of, list_messages
from tertulia.api.model_changes import adapt_settings
from tertulia.api.pages import After, Limit, Order, page
from tertulia.api.sending import REPLY, STREAMED, cancel_results, preview, resume, send
from tertulia.api.wire.compaction import compaction_from_wire
from tertulia.api.wire.conversations import (
    Conversation,
    CreateConversationBody,
    PendingCall,
    RecompileBody,
    UpdateConversationBody,
    changes_from_wire,
    conversation_to_wire,
    draft_from_wire,
)
from tertulia.api.wire.messages import shown_arguments
from tertulia.api.wire.requests import ConversationSendBody, ResumeBody
from tertulia.api.wire.shorthands import with_shorthands
from tertulia.domain import conversations
from tertulia.domain.agents import Agent
from tertulia.domain.errors import InvalidArgument
from tertulia.domain.models import ModelSettings
from tertulia.ports.queries import ConversationQuery
from tertulia.ports.store import Transaction

router = APIRouter(tags=["conversations"])

_ARCHIVED: Final = {"unarchived": False, "archived": True, "all": None}


@router.post(
    "/v1/conversations/{conversation_id}/messages",
    operation_id="send_conversation_message",
    responses=REPLY,
    openapi_extra=document_body(ConversationSendBody),
)
async def send_conversation_message(conversation_id: ConversationId, request: Request) -> Response:
    """Send messages and get the reply: a stream of events, or one object with ``streaming: false``."""
    services, body = services_of(request), await read_body(request, ConversationSendBody)
    stored_id = services.conversations.resolve(conversation_id, body.agent_id)
    return await send(request, stored_id, body, streaming=body.streaming is not False)


@router.post(
    "/v1/conversations/{conversation_id}/messages/preview-raw-payload",
    operation_id="preview_conversation_model_request",
    openapi_extra=document_body(ConversationSendBody),
)
async def preview_conversation_model_request(conversation_id: ConversationId, request: Request) -> dict[str, Any]:
    """The body that the model's provider would be sent for this request. Nothing is sent or stored."""
    body = await read_body(request, ConversationSendBody)
    stored_id = services_of(request).conversations.resolve(conversation_id, body.agent_id)
    return await preview(request, stored_id, body)


@router.get("/v1/conversations/{conversation_id}/messages", operation_id="list_conversation_messages", responses=LISTED)
async def list_conversation_messages(
    *,
    services: CurrentServices,
    conversation_id: ConversationId,
    agent_id: str | None = None,
    asked: MessagesNewestFirst,
    group_id: str | None = None,
    include_err: bool | None = None,
    include_return_message_types: MessageTypes = None,
) -> Response:
    stored_id = services.conversations.resolve(conversation_id, agent_id)
    query = replace(
        asked,
        conversation_id=stored_id,
        group_id=group_id,
        include_errors=include_err is not False,
    )
    config = config_of(include_return_message_types)
    return await list_messages(services, query, config, lambda tx: tx.conversations.get(stored_id))


@router.post(
    "/v1/conversations/{conversation_id}/stream",
    operation_id="retrieve_conversation_stream",
    responses=STREAMED,
    openapi_extra=document_body(ResumeBody, required=False),
)
async def retrieve_conversation_stream(conversation_id: ConversationId, request: Request) -> Response:
    """Go on with a run's stream: the frames after ``starting_after``, then those to come."""
    services, body = services_of(request), await read_body(request, ResumeBody, optional=True)
    return await resume(services, services.conversations.resolve(conversation_id, body.agent_id), body)


@router.post("/v1/conversations/{conversation_id}/cancel", operation_id="cancel_conversation")
async def cancel_conversation(
    services: CurrentServices, conversation_id: ConversationId, agent_id: str | None = None
) -> dict[str, str]:
    """Stop what the conversation is running. What was finished stays in the history."""
    conversation = await services.conversations.get(services.conversations.resolve(conversation_id, agent_id))
    run_ids = await services.runs.cancel_conversation(conversation.id)
    return cancel_results(run_ids, f"conversation {conversation_id}")


@router.get("/v1/conversations/{conversation_id}/approvals", operation_id="list_conversation_approvals")
async def list_conversation_approvals(
    services: CurrentServices, conversation_id: ConversationId, agent_id: str | None = None
) -> list[PendingCall]:
    """Ours: the tool calls that wait for an answer, in the order they were made."""
    stored_id = services.conversations.resolve(conversation_id, agent_id)
    return [
        PendingCall(
            tool_call_id=call.id, name=call.name, arguments=shown_arguments(call), awaits=call.awaits or "approval"
        )
        for call in await services.conversations.pending_calls(stored_id)
    ]


@router.post(
    "/v1/conversations/{conversation_id}/recompile",
    operation_id="recompile_conversation",
    openapi_extra=document_body(RecompileBody, required=False),
)
async def recompile_conversation(conversation_id: ConversationId, request: Request, *, dry_run: bool = False) -> str:
    """The system prompt, compiled now and kept unless it is a dry run; given settings for it, compacts first."""
    services, body = services_of(request), await read_body(request, RecompileBody, optional=True)
    stored_id = services.conversations.resolve(conversation_id, body.agent_id)
    if body.compaction_settings is not None:
        if dry_run:
            raise InvalidArgument("INVALID_ARGUMENT: a dry run cannot compact: leave out compaction_settings.")
        await services.runs.compact(stored_id, compaction_from_wire(body.compaction_settings))
    return await services.conversations.recompile(stored_id, dry_run=dry_run)


@router.post(
    "/v1/conversations",
    operation_id="create_conversation",
    openapi_extra=document_body(CreateConversationBody, required=False),
)
async def create_conversation(request: Request, agent_id: str) -> Conversation:
    services, body = services_of(request), await read_body(request, CreateConversationBody, optional=True)
    created = await services.conversations.create(agent_id, draft_from_wire(body))
    return await _conversation_body(services, created.id)


@router.post("/v1/conversations/{conversation_id}/fork", operation_id="fork_conversation")
async def fork_conversation(
    *,
    services: CurrentServices,
    conversation_id: ConversationId,
    agent_id: str | None = None,
    message_id: str | None = None,
    hidden: bool = False,
) -> Conversation:
    """A new conversation with the history of this one, up to its end or to a message and what its calls came to."""
    stored_id = services.conversations.resolve(conversation_id, agent_id)
    fork = await services.conversations.fork(stored_id, message_id or None, hidden=hidden)
    # Without the ids of its messages: a fork costs the same whatever its length, and so does its reply.
    return conversation_to_wire(fork)


@router.get("/v1/conversations", operation_id="list_conversations")
async def list_conversations(
    *,
    services: CurrentServices,
    agent_id: str | None = None,
    archive_status: Literal["unarchived", "archived", "all"] = "unarchived",
    summary_search: str | None = None,
    after: After = None,
    limit: Limit = 50,
    order: Order = "desc",
    order_by: Literal["created_at", "last_run_completion", "last_message_at"] = "created_at",
) -> list[Conversation]:
    """All but default and hidden conversations."""
    query = ConversationQuery(
        page=page(limit, after, None, ascending=order == "asc"),
        order_by=order_by,
        agent_id=agent_id,
        archived=_ARCHIVED[archive_status],
        summary_search=summary_search or None,
    )
    return [conversation_to_wire(found) for found in await services.conversations.find(query)]


@router.get("/v1/conversations/{conversation_id}", operation_id="retrieve_conversation")
async def retrieve_conversation(
    services: CurrentServices, conversation_id: ConversationId, agent_id: str | None = None
) -> Conversation:
    return await _conversation_body(services, services.conversations.resolve(conversation_id, agent_id))


@router.patch(
    "/v1/conversations/{conversation_id}",
    operation_id="update_conversation",
    openapi_extra=document_body(UpdateConversationBody),
)
async def update_conversation(
    request: Request, conversation_id: ConversationId, agent_id: str | None = None
) -> Conversation:
    """``null`` clears a field, an absent one stays as it is."""
    services, body = services_of(request), await read_body(request, UpdateConversationBody)
    stored_id = services.conversations.resolve(conversation_id, agent_id)
    changes = changes_from_wire(body)
    if changes.get("model") is not None and "model_settings" not in changes:
        before = await services.store.read(lambda tx: tx.conversations.get(stored_id))
        if before.model_settings is not None and before.model != changes["model"]:
            changes["model_settings"] = adapt_settings(services, changes["model"], before.model_settings)
    if body.max_tokens is not None:
        changes["model_settings"] = await _with_max_tokens(services, stored_id, changes, body.max_tokens)
    await services.conversations.update(stored_id, changes)
    return await _conversation_body(services, stored_id)


@router.delete("/v1/conversations/{conversation_id}", operation_id="delete_conversation")
async def delete_conversation(
    services: CurrentServices, conversation_id: ConversationId, agent_id: str | None = None
) -> None:
    """Remove the conversation with its messages and runs; what it is running is stopped first."""
    await services.conversations.delete(services.conversations.resolve(conversation_id, agent_id))


async def _with_max_tokens(
    services: Services, stored_id: str, changes: Mapping[str, Any], max_tokens: int
) -> ModelSettings | None:
    """The settings that the changes come to: those given, or else those that hold now, with this limit."""
    conversation, agent = await services.store.read(partial(_with_agent, stored_id))
    model = changes.get("model") or conversation.model or agent.model
    kind = services.catalogue.settings_type(model)
    given: ModelSettings | None = changes.get("model_settings")
    held = [s for s in (conversation.model_settings, agent.model_settings) if s and s.provider_type == kind]
    base = given or next(iter(held), None)
    return with_shorthands(base, {"max_tokens": max_tokens}, kind, overriding=given is None)


def _with_agent(stored_id: str, tx: Transaction) -> tuple[conversations.Conversation, Agent]:
    conversation = tx.conversations.get(stored_id)
    return conversation, tx.agents.get(conversation.agent_id)


async def _conversation_body(services: Services, stored_id: str) -> Conversation:
    conversation, in_context = await services.conversations.with_context(stored_id)
    return conversation_to_wire(conversation, in_context)
