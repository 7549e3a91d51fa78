"""Compacting a conversation and taking it back: ``…/compact``, ``…/compact/undo`` and an agent's ``…/summarize``."""

from fastapi import APIRouter, Request

from tertulia.api.bodies import document_body, read_body
from tertulia.api.conversation_ids import ConversationId
from tertulia.api.deps import services_of
from tertulia.api.wire.compaction import (
    CompactBody,
    CompactionResponse,
    CompactionUndoBody,
    SummarizeBody,
    compacted_to_wire,
    compaction_from_wire,
)

router = APIRouter(tags=["conversations"])


@router.post(
    "/v1/conversations/{conversation_id}/compact",
    operation_id="compact_conversation",
    openapi_extra=document_body(CompactBody, required=False),
)
async def compact_conversation(conversation_id: ConversationId, request: Request) -> CompactionResponse:
    """Let a summary take the place of older messages in what the model is shown. They stay in the history."""
    services, body = services_of(request), await read_body(request, CompactBody, optional=True)
    stored_id = services.conversations.resolve(conversation_id, body.agent_id)
    asked = body.compaction_settings and compaction_from_wire(body.compaction_settings)
    return compacted_to_wire(await services.runs.compact(stored_id, asked))


@router.post("/v1/conversations/{conversation_id}/compact/undo", operation_id="undo_conversation_compaction")
async def undo_conversation_compaction(
    conversation_id: ConversationId, request: Request, agent_id: str | None = None
) -> CompactionResponse:
    """Show the model again what the last compaction took out of its view. What was said since stays."""
    services, body = services_of(request), await read_body(request, CompactionUndoBody, optional=True)
    stored_id = services.conversations.resolve(conversation_id, body.agent_id or agent_id)
    return compacted_to_wire(await services.conversations.undo_compaction(stored_id))


@router.post(
    "/v1/agents/{agent_id}/summarize",
    operation_id="summarize_messages",
    openapi_extra=document_body(SummarizeBody, required=False),
)
async def summarize_messages(agent_id: str, request: Request) -> CompactionResponse:
    """Compact the agent's default conversation."""
    services, body = services_of(request), await read_body(request, SummarizeBody, optional=True)
    asked = body.compaction_settings and compaction_from_wire(body.compaction_settings)
    return compacted_to_wire(await services.runs.compact(agent_id, asked))
