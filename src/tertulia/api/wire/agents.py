"""What clients send to make and change an agent, and the domain values that become of it."""

from datetime import datetime
from typing import Annotated, Any, Final, TypeAlias

from pydantic import BeforeValidator, Field

from tertulia.api.wire.blocks import CreateBlockBody, block_of
from tertulia.api.wire.common import (
    MAX_IDS,
    MAX_RULES,
    BodyModel,
    Fallbacks,
    JsonObject,
    Listed,
    Name,
    Names,
    PositiveCount,
    Prose,
    Text,
)
from tertulia.api.wire.compaction import CompactionSettingsBody, compaction_from_wire
from tertulia.api.wire.model_settings import ModelSettingsBody, ResponseFormat
from tertulia.api.wire.requests import MAX_MESSAGES, MessageCreateParam, new_message
from tertulia.api.wire.shorthands import LlmConfigParam
from tertulia.api.wire.tool_rules import ToolRuleBody, rules_from_wire
from tertulia.domain.agents import AgentType, BusyPolicy
from tertulia.domain.errors import InvalidArgument, Unsupported
from tertulia.domain.models import ModelSettings, split_handle
from tertulia.domain.runs import StopReason
from tertulia.engine.agents import AgentDraft

AgentName: TypeAlias = Annotated[Name, Field(min_length=1)]
Variables: TypeAlias = Annotated[
    dict[Name, Text], Field(max_length=MAX_IDS), BeforeValidator(lambda sent: {} if sent == [] else sent)
]
"""By name. An agent shows them as a list, which clients that write it back send as one."""


class ApprovalOfToolBody(BodyModel):
    requires_approval: bool


class _AgentFields(BodyModel):
    """What can be said of an agent both when it is made and when it is changed."""

    system: Text | None = None
    description: Prose | None = None
    model: Name | None = None
    model_settings: ModelSettingsBody | None = None
    context_window_limit: PositiveCount | None = None
    embedding: Name | None = None
    compaction_settings: CompactionSettingsBody | None = None
    block_ids: Names | None = None
    tool_ids: Names | None = None
    tool_rules: Annotated[Listed[ToolRuleBody], Field(max_length=MAX_RULES)] | None = None
    tags: Names | None = None
    metadata: JsonObject | None = None
    timezone: Name | None = None
    hidden: bool | None = None
    project_id: Name | None = None
    max_files_open: PositiveCount | None = None
    per_file_view_window_char_limit: PositiveCount | None = None
    busy_policy: Annotated[
        BusyPolicy | None,
        Field(
            description=(
                "Tertulia's addition: what to do with a message to a conversation that is still answering another."
            )
        ),
    ] = None
    fallback_models: Annotated[
        Fallbacks | None,
        Field(description="Tertulia's addition: handles of models to ask, in order, if the model cannot answer now."),
    ] = None
    # Older words for parts of model, model_settings and context_window_limit.
    llm_config: LlmConfigParam | None = None
    max_tokens: PositiveCount | None = None
    parallel_tool_calls: bool | None = None
    reasoning: bool | None = None
    response_format: ResponseFormat | None = None
    # Accepted only while they ask for nothing.
    base_template_id: Name | None = None
    template_id: Name | None = None
    embedding_config: JsonObject | None = None
    enable_sleeptime: bool | None = None
    folder_ids: Names | None = None
    source_ids: Names | None = None
    identity_ids: Names | None = None
    secrets: Variables | None = None
    tool_exec_environment_variables: Variables | None = None


class CreateAgentBody(_AgentFields):
    name: AgentName | None = None
    agent_type: AgentType = "letta_v1_agent"
    tools: Names | None = None
    include_base_tools: bool = True
    include_base_tool_rules: bool | None = None
    memory_blocks: Annotated[Listed[CreateBlockBody], Field(max_length=MAX_IDS)] | None = None
    memory_variables: Annotated[dict[Name, Text], Field(max_length=MAX_IDS)] | None = None
    initial_message_sequence: Annotated[Listed[MessageCreateParam], Field(max_length=MAX_MESSAGES)] | None = None
    message_buffer_autoclear: bool = False
    enable_reasoner: bool | None = None
    max_reasoning_tokens: Annotated[int, Field(ge=0)] | None = None
    embedding_chunk_size: int | None = None
    from_template: Name | None = None
    template: bool = False
    include_default_source: bool = False
    project: Name | None = None


class UpdateAgentBody(_AgentFields):
    """A field left out is untouched. null clears what can be empty and leaves anything else as it is."""

    name: AgentName | None = None
    message_buffer_autoclear: bool | None = None
    message_ids: Names | None = None
    last_run_completion: datetime | None = None
    last_run_duration_ms: Annotated[int, Field(ge=0, le=2**53)] | None = None
    last_stop_reason: StopReason | None = None


_NOT_BUILT: Final[dict[str, str]] = {
    "base_template_id": "templates",
    "template_id": "templates",
    "from_template": "templates",
    "template": "templates",
    "embedding_chunk_size": "embedding configurations",
    "enable_sleeptime": "sleep-time agents",
    "folder_ids": "folders",
    "source_ids": "sources",
    "include_default_source": "sources",
    "identity_ids": "identities",
    "secrets": "secrets for tools",
    "tool_exec_environment_variables": "environment variables for tools",
    "project": "projects by name; send 'project_id'",
    "message_ids": "way to choose the messages in context",
}
_TYPES_NOT_BUILT: Final[frozenset[AgentType]] = frozenset(
    {"workflow_agent", "split_thread_agent", "sleeptime_agent", "voice_convo_agent", "voice_sleeptime_agent"}
)
_CLEARABLE: Final = frozenset(
    {
        "description",
        "context_window_limit",
        "embedding",
        "compaction_settings",
        "metadata",
        "hidden",
        "project_id",
        "max_files_open",
        "per_file_view_window_char_limit",
        "busy_policy",
        "last_run_completion",
        "last_run_duration_ms",
        "last_stop_reason",
    }
)
# Fields that mean the same in the request and in the domain.
_SAME: Final = (
    "name",
    "system",
    "description",
    "embedding",
    "metadata",
    "timezone",
    "hidden",
    "project_id",
    "max_files_open",
    "per_file_view_window_char_limit",
    "busy_policy",
    "message_buffer_autoclear",
)
_LISTS: Final = ("tool_ids", "block_ids", "tags", "fallback_models")


def refuse_unbuilt(body: CreateAgentBody | UpdateAgentBody) -> None:
    """Refuse what would change something that this release has not. Empty values ask for nothing and pass.

    :raises Unsupported: if the body asks for it.
    :raises InvalidArgument: if the embedding model's name is no handle.
    """
    for name, feature in _NOT_BUILT.items():
        if getattr(body, name, None):
            raise Unsupported(f"UNSUPPORTED: '{name}' cannot be used: this release of Tertulia has no {feature}.")
    if isinstance(body, CreateAgentBody) and body.agent_type in _TYPES_NOT_BUILT:
        raise Unsupported(
            f"UNSUPPORTED: agents of type '{body.agent_type}' are not available in this release of Tertulia. "
            "Use 'letta_v1_agent'.",
        )
    if body.embedding is not None and split_handle(body.embedding) is None:
        raise InvalidArgument(
            "INVALID_ARGUMENT: The embedding handle should be in the format provider/model-name, "
            f"which '{body.embedding}' is not.",
        )


def agent_draft(
    body: CreateAgentBody, model: str | None, settings: ModelSettings | None, context_window_limit: int | None
) -> AgentDraft:
    """The draft, with the model and its settings as the older words and the newer ones together say."""
    given: dict[str, Any] = {name: value for name in _SAME if (value := getattr(body, name)) is not None}
    given |= {name: tuple(getattr(body, name) or ()) for name in (*_LISTS, "tools")}
    return AgentDraft(
        **given,
        agent_type=body.agent_type,
        model=model,
        model_settings=settings,
        context_window_limit=context_window_limit,
        compaction_settings=body.compaction_settings and compaction_from_wire(body.compaction_settings),
        include_base_tools=body.include_base_tools,
        include_base_tool_rules=body.include_base_tool_rules,
        tool_rules=rules_from_wire(body.tool_rules or ()),
        memory_blocks=tuple(block_of(block) for block in body.memory_blocks or ()),
        memory_variables=body.memory_variables or {},
        initial_messages=tuple(new_message(sent) for sent in body.initial_message_sequence or ()),
    )


def agent_changes(body: UpdateAgentBody) -> dict[str, object]:
    """What is to change, as the engine names it; model, settings and window aside."""
    changes: dict[str, object] = {}
    for name in (*_SAME, "last_run_completion", "last_run_duration_ms", "last_stop_reason"):
        value = getattr(body, name)
        if name in body.model_fields_set and (value is not None or name in _CLEARABLE):
            changes[name] = value
    for name in _LISTS:
        if name in body.model_fields_set:
            changes[name] = tuple(getattr(body, name) or ())
    if "tool_rules" in body.model_fields_set:
        changes["tool_rules"] = rules_from_wire(body.tool_rules or ())
    if "compaction_settings" in body.model_fields_set:
        changes["compaction_settings"] = body.compaction_settings and compaction_from_wire(body.compaction_settings)
    return changes
