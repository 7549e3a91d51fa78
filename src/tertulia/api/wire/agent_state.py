"""``AgentState``: an agent as clients see it, with the parts of it they asked for."""

from typing import Final, Literal, TypeAlias

import msgspec
from pydantic import BaseModel, Field

from tertulia.api.wire import messages
from tertulia.api.wire.blocks import BlockBody, block_body
from tertulia.api.wire.common import Instant, JsonObject, ResponseModel, is_none
from tertulia.api.wire.compaction import CompactionSettingsBody, compaction_to_wire
from tertulia.api.wire.documented import model_of
from tertulia.api.wire.model_settings import ModelSettingsBody, ResponseFormat, settings_to_wire
from tertulia.api.wire.models import EmbeddingConfigBody, LlmConfigBody, embedding_config_body, llm_config_body
from tertulia.api.wire.tool_rules import ToolRuleBody, rules_to_wire
from tertulia.api.wire.tools import ToolBody, tool_body
from tertulia.domain.agents import AgentType, BusyPolicy
from tertulia.domain.errors import Unprocessable
from tertulia.domain.runs import RequestConfig, StopReason
from tertulia.engine.agents import AgentView

Relationship: TypeAlias = Literal[
    "agent.blocks",
    "agent.identities",
    "agent.managed_group",
    "agent.pending_approval",
    "agent.secrets",
    "agent.sources",
    "agent.tags",
    "agent.tools",
]

_OLDER_NAMES: Final = (
    "blocks",
    "core_memory",
    "identities",
    "identity_ids",
    "managed_group",
    "memory",
    "multi_agent_group",
    "secrets",
    "sources",
    "tags",
    "tool_exec_environment_variables",
    "tools",
)
"""What ``include_relationships`` may name; those of things this release has not are known as well."""

PendingApproval: Final = model_of(messages.ApprovalRequestMessage)


class MemoryBody(ResponseModel):
    blocks: list[BlockBody]
    agent_type: AgentType
    file_blocks: tuple[()] = ()
    prompt_template: str = ""
    git_enabled: bool = False


class AgentStateBody(ResponseModel):
    """Fields typed as null or as empty lists belong to features this release has not."""

    id: str
    name: str
    agent_type: AgentType
    system: str
    description: str | None
    model: str
    model_settings: ModelSettingsBody | None
    llm_config: LlmConfigBody
    compaction_settings: CompactionSettingsBody | None
    embedding: str | None
    memory: MemoryBody
    blocks: list[BlockBody]
    tools: list[ToolBody]
    tool_rules: list[ToolRuleBody]
    tags: list[str]
    message_ids: list[str]
    metadata: JsonObject
    response_format: ResponseFormat | None
    timezone: str
    hidden: bool | None
    message_buffer_autoclear: bool
    project_id: str | None
    max_files_open: int | None
    per_file_view_window_char_limit: int | None
    busy_policy: BusyPolicy | None = Field(
        None, exclude_if=is_none, description="Tertulia's addition; absent unless set."
    )
    fallback_models: list[str] | None = Field(
        None, exclude_if=is_none, description="Tertulia's addition; absent if there are none."
    )
    last_run_completion: Instant | None
    last_run_duration_ms: int | None
    last_stop_reason: StopReason | None
    created_at: Instant
    updated_at: Instant
    created_by_id: None = None
    last_updated_by_id: None = None
    embedding_config: EmbeddingConfigBody | None
    enable_sleeptime: bool = False
    sources: tuple[()] = ()
    identities: tuple[()] = ()
    identity_ids: tuple[()] = ()
    secrets: tuple[()] = ()
    tool_exec_environment_variables: tuple[()] = ()
    managed_group: None = None
    multi_agent_group: None = None
    pending_approval: PendingApproval | None  # pyright: ignore[reportInvalidTypeForm]  a model made at run time
    template_id: None = None
    base_template_id: None = None
    deployment_id: None = None
    entity_id: None = None


def check_relationships(include_relationships: list[str] | None) -> None:
    """Say whether the older names of related things are such.

    Everything is shown whatever is asked for, so naming a part adds nothing and takes nothing away.

    :raises Unprocessable: if one names something there is not.
    """
    for name in include_relationships or ():
        if name not in _OLDER_NAMES:
            raise Unprocessable(f"include_relationships knows no '{name[:100]}'. It takes {', '.join(_OLDER_NAMES)}.")


def agent_state(view: AgentView) -> AgentStateBody:
    """The agent with everything that is related to it."""
    agent, activity = view.agent, view.activity
    blocks = [block_body(block) for block in view.blocks]
    tools = [tool_body(tool) for tool in view.tools]
    settings = view.settings
    return AgentStateBody(
        id=agent.id,
        name=agent.name,
        agent_type=agent.agent_type,
        system=agent.system,
        description=agent.description,
        model=agent.model,
        model_settings=settings and settings_to_wire(settings),  # pyright: ignore[reportArgumentType]  one of the union
        llm_config=llm_config_body(agent, view.model, settings),
        compaction_settings=agent.compaction_settings and compaction_to_wire(agent.compaction_settings),
        embedding=agent.embedding,
        embedding_config=view.embedding and embedding_config_body(view.embedding),
        memory=MemoryBody(blocks=blocks, agent_type=agent.agent_type),
        blocks=blocks,
        tools=tools,
        tool_rules=rules_to_wire(agent.tool_rules),  # pyright: ignore[reportArgumentType]  each is one of the union
        tags=list(agent.tags),
        message_ids=view.message_ids,
        metadata=agent.metadata or {},
        response_format=settings and (settings.response_format or settings.response_schema),  # pyright: ignore[reportArgumentType]  as above
        timezone=agent.timezone,
        hidden=agent.hidden,
        message_buffer_autoclear=agent.message_buffer_autoclear,
        project_id=agent.project_id,
        max_files_open=agent.max_files_open,
        per_file_view_window_char_limit=agent.per_file_view_window_char_limit,
        busy_policy=agent.busy_policy,
        fallback_models=list(agent.fallback_models) or None,
        pending_approval=_pending(view),
        last_run_completion=activity.last_run_completion,
        last_run_duration_ms=activity.last_run_duration_ms,
        last_stop_reason=activity.last_stop_reason,
        created_at=agent.created_at,
        updated_at=agent.updated_at,
    )


def _pending(view: AgentView) -> BaseModel | None:
    """The approval request that the default conversation waits for an answer to."""
    if view.pending_approval is None:
        return None
    (request,) = messages.wire_messages(view.pending_approval, RequestConfig())
    return PendingApproval.model_validate(msgspec.to_builtins(request))
