"""Agents: who answers, with which instructions, memory, model and tools."""

from datetime import datetime
from typing import Any, Literal, TypeAlias

from msgspec import Struct

from tertulia.domain.models import ModelSettings
from tertulia.domain.runs import StopReason

AgentType: TypeAlias = Literal[
    "memgpt_agent",
    "memgpt_v2_agent",
    "letta_v1_agent",
    "react_agent",
    "workflow_agent",
    "split_thread_agent",
    "sleeptime_agent",
    "voice_convo_agent",
    "voice_sleeptime_agent",
]


BusyPolicy: TypeAlias = Literal["reject", "enqueue", "interrupt", "rollback"]
"""What becomes of a message to a conversation that is answering another one: it is refused, waits its turn, stops the
other, or stops the other and takes back what that added."""


class CompactionSettings(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a conversation is summarised when it grows; None is "not set"."""

    mode: Literal["all", "sliding_window", "self_compact_all", "self_compact_sliding_window"] | None = None
    model: str | None = None
    model_settings: ModelSettings | None = None
    prompt: str | None = None
    prompt_acknowledgement: bool | None = None
    clip_chars: int | None = None
    sliding_window_percentage: float | None = None


class Agent(Struct, frozen=True, kw_only=True):
    """An agent's own record. Its blocks are attached by reference and shared with other agents that attach them.

    ``context_window_limit`` is tokens, None for the model's own. ``tool_rules`` are the API's objects, validated.
    ``fallback_models`` are handles of models that are asked, one after the other, where ``model`` cannot answer now.
    """

    id: str
    name: str
    agent_type: AgentType
    system: str
    model: str
    created_at: datetime
    updated_at: datetime
    description: str | None = None
    model_settings: ModelSettings | None = None
    context_window_limit: int | None = None
    embedding: str | None = None
    compaction_settings: CompactionSettings | None = None
    tool_ids: tuple[str, ...] = ()
    tool_rules: tuple[dict[str, Any], ...] = ()
    tags: tuple[str, ...] = ()
    metadata: dict[str, Any] | None = None
    timezone: str = "UTC"
    hidden: bool | None = None
    message_buffer_autoclear: bool = False
    project_id: str | None = None
    max_files_open: int | None = None
    per_file_view_window_char_limit: int | None = None
    busy_policy: BusyPolicy | None = None
    fallback_models: tuple[str, ...] = ()


class AgentActivity(Struct, frozen=True, kw_only=True):
    """What an agent last did; kept apart from the agent, which every finished run would otherwise rewrite."""

    last_run_completion: datetime | None = None
    last_run_duration_ms: int | None = None
    last_stop_reason: StopReason | None = None
