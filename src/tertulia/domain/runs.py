"""Runs and steps: one message's way through the engine, and each call of the model on that way."""

from datetime import datetime
from typing import Any, Literal, TypeAlias

from msgspec import Struct

RunStatus: TypeAlias = Literal["created", "running", "completed", "failed", "cancelled"]
StepStatus: TypeAlias = Literal["pending", "success", "failed", "cancelled"]
StopReason: TypeAlias = Literal[
    "end_turn",
    "error",
    "llm_api_error",
    "invalid_llm_response",
    "invalid_tool_call",
    "max_steps",
    "max_tokens_exceeded",
    "no_tool_call",
    "tool_rule",
    "cancelled",
    "insufficient_credits",
    "requires_approval",
    "context_window_overflow_in_system_prompt",
]
Cancel: TypeAlias = Literal["cancel", "rollback", "cancel_for_next", "rollback_for_next"]
"""How a run is stopped: keeping what it added to the history, or taking it back.

``…_for_next``: whoever stops it begins the next run of the conversation.
"""


def meaning_of(how: Cancel) -> tuple[bool, bool]:
    """Whether what the run added is taken back, and whether whoever stops it begins the next one."""
    return how.startswith("rollback"), how.endswith("for_next")


ACTIVE_STATUSES: tuple[RunStatus, ...] = ("created", "running")


class Usage(Struct, frozen=True, kw_only=True):
    """Tokens. ``None`` where the provider does not tell."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    cached_input_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            completion_tokens=self.completion_tokens + other.completion_tokens,
            total_tokens=self.total_tokens + other.total_tokens,
            cached_input_tokens=_sum(self.cached_input_tokens, other.cached_input_tokens),
            cache_write_tokens=_sum(self.cache_write_tokens, other.cache_write_tokens),
            reasoning_tokens=_sum(self.reasoning_tokens, other.reasoning_tokens),
        )


def _sum(left: int | None, right: int | None) -> int | None:
    return right if left is None else left if right is None else left + right


class RequestConfig(Struct, frozen=True, kw_only=True):
    """What a request asked of its reply; kept with the run so that a later reader sees the same."""

    use_assistant_message: bool = True
    assistant_message_tool_name: str = "send_message"
    assistant_message_tool_kwarg: str = "message"
    include_return_message_types: tuple[str, ...] | None = None
    include_compaction_messages: bool = False
    stream_tokens: bool = False


class Run(Struct, frozen=True, kw_only=True):
    """One request being answered. Durations are nanoseconds.

    ``input_otids`` are the client's ids of the messages that started it. ``error`` is the failure as the reader of a
    stream sees it (``error_type``, ``message``, ``detail``). A run of status ``created`` waits in its conversation's
    queue with its ``queued_request``. A running one has its ``request`` too, without what is in the history already,
    and the position ``first`` of the first message it added, for the worker that may have to resume it; ``cuts``
    counts the workers that died of it, by what it was doing, and ``times_set_aside`` the takeovers after which it was
    not resumed.
    ``fingerprint`` is the same for the same request sent again by a client's library. ``abandoned`` says of a cancelled
    run that it was so because nobody waited for it any more.
    """

    id: str
    agent_id: str
    conversation_id: str
    status: RunStatus
    created_at: datetime
    background: bool = False
    stop_reason: StopReason | None = None
    completed_at: datetime | None = None
    total_duration_ns: int | None = None
    ttft_ns: int | None = None
    request_config: RequestConfig | None = None
    metadata: dict[str, Any] | None = None
    input_otids: tuple[str, ...] = ()
    error: dict[str, Any] | None = None
    queued_request: bytes | None = None
    request: bytes | None = None
    first: int | None = None
    cuts: dict[str, int] | None = None
    times_set_aside: int = 0
    fingerprint: str | None = None
    abandoned: bool = False
    callback_url: str | None = None
    callback_error: str | None = None
    callback_sent_at: datetime | None = None
    callback_status_code: int | None = None
    base_template_id: str | None = None
    project_id: str | None = None


class FailedTry(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A call of a model that failed before anything was said, and was made again.

    ``model`` is the handle. ``delay`` is the seconds until the same model was asked again, None where the next model
    was asked in its place.
    """

    model: str
    error_type: str
    message: str
    detail: str
    delay: float | None = None


class Step(Struct, frozen=True, kw_only=True):
    """One call of a model and what it cost. Durations and starts are nanoseconds (starts since the epoch).

    ``model`` and what belongs to it are those of the model that answered, or of the last that failed;
    ``failed_tries`` are those before, in their order.
    """

    id: str
    run_id: str
    agent_id: str
    conversation_id: str
    status: StepStatus
    created_at: datetime
    model: str
    model_handle: str
    model_endpoint: str | None
    provider_name: str
    provider_category: str
    context_window_limit: int
    usage: Usage
    stop_reason: StopReason | None = None
    error_type: str | None = None
    error_data: dict[str, Any] | None = None
    feedback: Literal["positive", "negative"] | None = None
    tags: tuple[str, ...] = ()
    request_id: str | None = None
    step_start_ns: int | None = None
    step_ns: int | None = None
    llm_request_start_ns: int | None = None
    llm_request_ns: int | None = None
    tool_execution_ns: int | None = None
    project_id: str | None = None
    failed_tries: tuple[FailedTry, ...] = ()


class StepTrace(Struct, frozen=True, kw_only=True):
    """The provider's request and reply of a step.

    The request is kept as its parts: ``frame`` names the stored system prompt, tools and settings (shared by the steps
    that sent the same), and the history is the positions ``pins`` and ``context_from`` to ``head`` - 1, which never
    change. So a trace costs the same at 10 messages and at 10,000. ``reply`` is the provider's own object.
    ``missing_images`` has the reason for each image address that led nowhere, and for each message, by its id, whose
    images the provider refused.
    """

    step_id: str
    conversation_id: str
    frame: str
    context_from: int
    head: int
    reply: dict[str, Any]
    created_at: datetime
    pins: tuple[int, ...] = ()
    missing_images: dict[str, str] = {}
