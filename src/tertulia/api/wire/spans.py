"""A run as spans, as tracing tools show them: the run, its steps, and each step's model call and tools."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from tertulia.api.wire.common import Instant, ResponseModel
from tertulia.domain.runs import Run, Step


class Span(ResponseModel):
    """Attributes have the names of OpenTelemetry's conventions for generative AI. Null durations are still running."""

    trace_id: str
    span_id: str
    parent_span_id: str | None
    name: str
    start_time: Instant
    duration_ns: int | None
    status: str
    attributes: dict[str, Any]


def spans_of(run: Run, steps: Sequence[Step]) -> Iterator[Span]:
    """The spans in the order they began; ``steps`` are the run's, oldest first."""
    yield Span(
        trace_id=run.id,
        span_id=run.id,
        parent_span_id=None,
        name="invoke_agent",
        start_time=run.created_at,
        duration_ns=run.total_duration_ns,
        status=run.status,
        attributes={"gen_ai.agent.id": run.agent_id, "gen_ai.conversation.id": run.conversation_id}
        | ({"error.type": run.error["error_type"]} if run.error else {}),
    )
    for step in steps:
        yield from _of_step(run, step)


def _of_step(run: Run, step: Step) -> Iterator[Span]:
    start = _instant(step.step_start_ns) or step.created_at
    begun = _instant(step.llm_request_start_ns) or start
    common: dict[str, Any] = {"trace_id": run.id, "status": step.status}
    yield Span(
        **common,
        span_id=step.id,
        parent_span_id=run.id,
        name="step",
        start_time=start,
        duration_ns=step.step_ns,
        attributes={"error.type": step.error_type} if step.error_type else {},
    )
    yield Span(
        **common,
        span_id=f"{step.id}-chat",
        parent_span_id=step.id,
        name=f"chat {step.model}",
        start_time=begun,
        duration_ns=step.llm_request_ns,
        attributes={
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": step.provider_name,
            "gen_ai.request.model": step.model,
            "gen_ai.usage.input_tokens": step.usage.prompt_tokens,
            "gen_ai.usage.output_tokens": step.usage.completion_tokens,
        },
    )
    if step.tool_execution_ns is not None:
        yield Span(
            **common,
            span_id=f"{step.id}-tools",
            parent_span_id=step.id,
            name="execute_tools",
            start_time=begun + timedelta(microseconds=(step.llm_request_ns or 0) // 1000),
            duration_ns=step.tool_execution_ns,
            attributes={"gen_ai.operation.name": "execute_tool"},
        )


def _instant(epoch_ns: int | None) -> datetime | None:
    return None if epoch_ns is None else datetime.fromtimestamp(epoch_ns / 1e9, UTC)
