"""Steps, their metrics and their provider traces as the API shows them."""

from typing import Any, Literal

from msgspec import structs
from pydantic import Field

from tertulia.api.wire.common import BodyModel, Instant, JsonObject, Names, ResponseModel, is_none
from tertulia.api.wire.runs import completion_details, prompt_details
from tertulia.domain import runs
from tertulia.domain.runs import StepStatus, StepTrace, StopReason


class FailedTry(ResponseModel):
    """Ours: a call of a model that failed before anything was said, and was made again."""

    model: str = Field(description="The model's handle.")
    error_type: str
    message: str
    detail: str
    delay: float | None = Field(
        description="Seconds until the same model was retried; null if the next model was asked instead."
    )


class Step(ResponseModel):
    id: str
    run_id: str | None
    agent_id: str | None
    status: StepStatus | None
    stop_reason: StopReason | None
    model: str | None
    model_handle: str | None
    model_endpoint: str | None
    context_window_limit: int | None
    provider_id: str | None = None
    provider_name: str | None
    provider_category: str | None
    prompt_tokens: int | None
    completion_tokens: int | None
    total_tokens: int | None
    cached_input_tokens: int | None
    cache_write_tokens: int | None
    reasoning_tokens: int | None
    prompt_tokens_details: JsonObject | None
    completion_tokens_details: JsonObject | None
    error_type: str | None
    error_data: JsonObject | None
    feedback: Literal["positive", "negative"] | None
    tags: list[str] | None
    request_id: str | None
    project_id: str | None
    origin: str | None = None
    tid: str | None = None
    trace_id: str | None = None
    messages: list[JsonObject] | None = None
    """Deprecated in the API and never filled in: list the step's messages instead."""
    failed_tries: list[FailedTry] | None = Field(
        None, exclude_if=is_none, description="Tertulia's addition; absent if none failed."
    )


class StepMetrics(ResponseModel):
    """Nanoseconds; starts are since the epoch."""

    id: str
    run_id: str | None
    agent_id: str | None
    step_start_ns: int | None
    step_ns: int | None
    llm_request_start_ns: int | None
    llm_request_ns: int | None
    tool_execution_ns: int | None
    provider_id: str | None = None
    project_id: str | None
    template_id: str | None = None
    base_template_id: str | None = None


class BillingContext(ResponseModel):
    cost_source: str | None
    customer_id: str | None
    plan_type: str | None


class ProviderTrace(ResponseModel):
    """The request and the reply of one model call, as they were on the provider's wire."""

    id: str | None
    step_id: str | None
    run_id: str | None
    agent_id: str | None
    agent_tags: list[str] | None = None
    call_type: str | None = "agent_step"
    source: str | None = "tertulia"
    latency_ms: int | None
    llm_config: JsonObject | None
    compaction_settings: JsonObject | None = None
    billing_context: BillingContext | None = None
    request_json: JsonObject
    response_json: JsonObject
    org_id: str | None = None
    created_by_id: str | None = None
    last_updated_by_id: str | None = None
    created_at: Instant | None
    updated_at: Instant | None
    failed_tries: list[FailedTry] | None = Field(
        None, exclude_if=is_none, description="Tertulia's addition; absent if none failed."
    )


class FeedbackBody(BodyModel):
    """``null`` or an absent field takes the feedback back; ``tags`` are replaced only when given."""

    feedback: Literal["positive", "negative"] | None = None
    tags: Names | None = None


def step_to_wire(step: runs.Step) -> Step:
    usage = step.usage
    completion, prompt = completion_details(usage), prompt_details(usage)
    return Step(
        id=step.id,
        run_id=step.run_id,
        agent_id=step.agent_id,
        status=step.status,
        stop_reason=step.stop_reason,
        model=step.model,
        model_handle=step.model_handle,
        model_endpoint=step.model_endpoint,
        context_window_limit=step.context_window_limit,
        provider_name=step.provider_name,
        provider_category=step.provider_category,
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        total_tokens=usage.total_tokens,
        cached_input_tokens=usage.cached_input_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        reasoning_tokens=usage.reasoning_tokens,
        prompt_tokens_details=prompt.model_dump() if prompt else None,
        completion_tokens_details=completion.model_dump() if completion else None,
        error_type=step.error_type,
        error_data=step.error_data,
        feedback=step.feedback,
        tags=list(step.tags),
        request_id=step.request_id,
        project_id=step.project_id,
        failed_tries=_failed_tries(step),
    )


def metrics_to_wire(step: runs.Step) -> StepMetrics:
    return StepMetrics(
        id=step.id,
        run_id=step.run_id,
        agent_id=step.agent_id,
        step_start_ns=step.step_start_ns,
        step_ns=step.step_ns,
        llm_request_start_ns=step.llm_request_start_ns,
        llm_request_ns=step.llm_request_ns,
        tool_execution_ns=step.tool_execution_ns,
        project_id=step.project_id,
    )


def trace_to_wire(step: runs.Step, trace: StepTrace, request: dict[str, Any]) -> ProviderTrace:
    """``request`` is the body as it was sent."""
    return ProviderTrace(
        id=f"provider_trace-{step.id.removeprefix('step-')}",
        step_id=step.id,
        run_id=step.run_id,
        agent_id=step.agent_id,
        latency_ms=None if step.llm_request_ns is None else step.llm_request_ns // 1_000_000,
        llm_config={
            "handle": step.model_handle,
            "model": step.model,
            "model_endpoint": step.model_endpoint,
            "provider_name": step.provider_name,
            "provider_category": step.provider_category,
            "context_window": step.context_window_limit,
        },
        request_json=request,
        response_json=trace.reply,
        created_at=trace.created_at,
        updated_at=trace.created_at,
        failed_tries=_failed_tries(step),
    )


def _failed_tries(step: runs.Step) -> list[FailedTry] | None:
    return [FailedTry(**structs.asdict(failed)) for failed in step.failed_tries] or None
