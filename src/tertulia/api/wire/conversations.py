"""Conversations as the API shows them, and the bodies that create and change them."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from tertulia.api.wire.common import (
    Count,
    Fallbacks,
    Instant,
    Name,
    Names,
    PositiveCount,
    Prose,
    ResponseModel,
    is_none,
)
from tertulia.api.wire.compaction import CompactionSettingsBody
from tertulia.api.wire.content import SentModel
from tertulia.api.wire.instants import SentInstant
from tertulia.api.wire.model_settings import ModelSettingsBody, settings_from_wire, settings_to_wire
from tertulia.domain import conversations
from tertulia.domain.messages import Awaited
from tertulia.engine.conversations import ConversationDraft


class Conversation(ResponseModel):
    id: str = Field(description="`default` for an agent's own conversation.")
    agent_id: str
    summary: str | None
    description: str | None
    model: str | None
    model_settings: ModelSettingsBody | None
    context_window_limit: int | None
    archived: bool | None
    archived_at: Instant | None
    last_message_at: Instant | None
    in_context_message_ids: list[str] | None = Field(
        description="Null in lists and for a new fork; retrieve the conversation for them."
    )
    created_at: Instant | None
    updated_at: Instant | None
    created_by_id: str | None = None
    last_updated_by_id: str | None = None
    isolated_block_ids: list[str] = Field(
        description="The conversation's own blocks, which replace the agent's with the same labels."
    )
    hidden: bool
    fallback_models: list[str] | None = Field(
        None, exclude_if=is_none, description="Tertulia's addition; absent unless set."
    )


class PendingCall(ResponseModel):
    """A tool call that waits: for a person's ``approval``, or for the ``client`` that runs the tool."""

    tool_call_id: str
    name: str
    arguments: str
    awaits: Awaited


class _ConversationBody(BaseModel):
    """Clients send fields of releases this server does not know, so those are let through (and logged)."""

    model_config = ConfigDict(extra="allow", protected_namespaces=(), allow_inf_nan=False)

    summary: Prose | None = None
    description: Prose | None = None
    model: Name | None = None
    model_settings: ModelSettingsBody | None = None
    context_window_limit: Count | None = None
    fallback_models: Fallbacks | None = Field(
        None,
        description=(
            "Tertulia's addition: models to ask, in order, if the model cannot answer now; null for the agent's."
        ),
    )


class CreateConversationBody(_ConversationBody):
    hidden: bool = False
    isolated_block_labels: Names | None = Field(
        None, description="Labels of agent blocks that the conversation gets copies of; edits stay in the conversation."
    )


class UpdateConversationBody(_ConversationBody):
    """``null`` clears a field, an absent one stays as it is."""

    max_tokens: PositiveCount | None = Field(
        None, description="An older name for `model_settings.max_output_tokens`, which Letta Code still sends."
    )
    archived: bool | None = None
    last_message_at: SentInstant | None = None


class RecompileBody(SentModel):
    agent_id: Name | None = Field(None, description="The agent whose default conversation `default` is.")
    compaction_settings: CompactionSettingsBody | None = Field(
        None, description="Compact the conversation first, with these settings over the agent's."
    )


def draft_from_wire(body: CreateConversationBody) -> ConversationDraft:
    """What is to be created."""
    return ConversationDraft(
        summary=body.summary,
        description=body.description,
        model=body.model,
        model_settings=None if body.model_settings is None else settings_from_wire(body.model_settings),
        context_window_limit=body.context_window_limit,
        fallback_models=None if body.fallback_models is None else tuple(body.fallback_models),
        hidden=body.hidden,
        isolated_block_labels=tuple(body.isolated_block_labels or ()),
    )


def changes_from_wire(body: UpdateConversationBody) -> dict[str, Any]:
    """The fields to change, as the domain has them."""
    changes: dict[str, Any] = {
        name: getattr(body, name)
        for name in body.model_fields_set
        if name in UpdateConversationBody.model_fields and name != "max_tokens"
    }
    if body.model_settings is not None:
        changes["model_settings"] = settings_from_wire(body.model_settings)
    if body.fallback_models is not None:
        changes["fallback_models"] = tuple(body.fallback_models)
    if "archived" in changes:
        changes["archived"] = bool(body.archived)
    return changes


def conversation_to_wire(
    conversation: conversations.Conversation, in_context_message_ids: list[str] | None = None
) -> Conversation:
    settings = conversation.model_settings
    return Conversation(
        id=conversation.wire_id,
        agent_id=conversation.agent_id,
        summary=conversation.summary,
        description=conversation.description,
        model=conversation.model,
        model_settings=settings and settings_to_wire(settings),  # pyright: ignore[reportArgumentType]  one of the union
        context_window_limit=conversation.context_window_limit,
        archived=conversation.archived,
        archived_at=conversation.archived_at,
        last_message_at=conversation.last_message_at,
        in_context_message_ids=in_context_message_ids,
        isolated_block_ids=list(conversation.isolated_block_ids),
        hidden=conversation.hidden,
        fallback_models=None if conversation.fallback_models is None else list(conversation.fallback_models),
        created_at=conversation.created_at,
        updated_at=conversation.updated_at,
    )
