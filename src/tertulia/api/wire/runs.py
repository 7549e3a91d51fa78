"""Runs as the API shows them."""

from pydantic import Field

from tertulia.api.wire.common import Instant, JsonObject, ResponseModel
from tertulia.api.wire.messages import MessageType
from tertulia.domain import runs
from tertulia.domain.ids import DEFAULT_CONVERSATION
from tertulia.domain.runs import RunStatus, StopReason, Usage


class RequestConfig(ResponseModel):
    use_assistant_message: bool | None
    assistant_message_tool_name: str | None
    assistant_message_tool_kwarg: str | None
    include_return_message_types: list[MessageType] | None


class Run(ResponseModel):
    id: str
    agent_id: str
    conversation_id: str | None = Field(description="`default` for the agent's own conversation.")
    status: RunStatus | None
    stop_reason: StopReason | None
    background: bool | None
    created_at: Instant | None
    completed_at: Instant | None
    total_duration_ns: int | None
    ttft_ns: int | None
    request_config: RequestConfig | None
    metadata: JsonObject | None
    callback_url: str | None
    callback_error: str | None
    callback_sent_at: Instant | None
    callback_status_code: int | None
    base_template_id: str | None


class CompletionTokensDetails(ResponseModel):
    reasoning_tokens: int | None


class PromptTokensDetails(ResponseModel):
    cached_tokens: int | None
    cache_read_tokens: int | None
    cache_creation_tokens: int | None


class RunUsage(ResponseModel):
    """Tokens of all steps of a run together."""

    completion_tokens: int | None
    prompt_tokens: int | None
    total_tokens: int | None
    completion_tokens_details: CompletionTokensDetails | None
    prompt_tokens_details: PromptTokensDetails | None


def run_to_wire(run: runs.Run) -> Run:
    return Run(
        id=run.id,
        agent_id=run.agent_id,
        conversation_id=wire_conversation_id(run.conversation_id, run.agent_id),
        status=run.status,
        stop_reason=run.stop_reason,
        background=run.background,
        created_at=run.created_at,
        completed_at=run.completed_at,
        total_duration_ns=run.total_duration_ns,
        ttft_ns=run.ttft_ns,
        request_config=_config_to_wire(run.request_config),
        metadata=_metadata(run),
        callback_url=run.callback_url,
        callback_error=run.callback_error,
        callback_sent_at=run.callback_sent_at,
        callback_status_code=run.callback_status_code,
        base_template_id=run.base_template_id,
    )


def _metadata(run: runs.Run) -> JsonObject | None:
    """With ``error`` where it failed: that is where clients look for the reason."""
    if run.error is None:
        return run.metadata
    told = {name: run.error.get(name) for name in ("error_type", "message", "detail")}
    return {**(run.metadata or {}), "error": told}


def wire_conversation_id(conversation_id: str, agent_id: str) -> str:
    """An agent's own conversation is stored under the agent's id and shown as ``default``."""
    return DEFAULT_CONVERSATION if conversation_id == agent_id else conversation_id


def _config_to_wire(config: runs.RequestConfig | None) -> RequestConfig | None:
    if config is None:
        return None
    return RequestConfig.model_validate(
        {
            "use_assistant_message": config.use_assistant_message,
            "assistant_message_tool_name": config.assistant_message_tool_name,
            "assistant_message_tool_kwarg": config.assistant_message_tool_kwarg,
            "include_return_message_types": config.include_return_message_types,
        }
    )


def usage_to_wire(usage: Usage) -> RunUsage:
    return RunUsage(
        completion_tokens=usage.completion_tokens,
        prompt_tokens=usage.prompt_tokens,
        total_tokens=usage.total_tokens,
        completion_tokens_details=completion_details(usage),
        prompt_tokens_details=prompt_details(usage),
    )


def completion_details(usage: Usage) -> CompletionTokensDetails | None:
    """None where the provider tells nothing."""
    if usage.reasoning_tokens is None:
        return None
    return CompletionTokensDetails(reasoning_tokens=usage.reasoning_tokens)


def prompt_details(usage: Usage) -> PromptTokensDetails | None:
    """None where the provider tells nothing."""
    if usage.cached_input_tokens is None and usage.cache_write_tokens is None:
        return None
    return PromptTokensDetails(
        cached_tokens=usage.cached_input_tokens,
        cache_read_tokens=usage.cached_input_tokens,
        cache_creation_tokens=usage.cache_write_tokens,
    )
