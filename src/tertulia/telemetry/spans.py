"""Spans for OpenTelemetry: one for each run, step, model call and tool, by the conventions for generative AI.

The names of attributes are those of the GenAI semantic conventions; what they have no name for begins with
``tertulia.``. What was said is in none.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

from tertulia.domain.models import ModelSettings
from tertulia.domain.runs import Usage
from tertulia.ports.telemetry import (
    Happening,
    ModelCalled,
    RunBegan,
    RunEnded,
    RunLeft,
    StepBegan,
    StepEnded,
    ToolCalled,
)

_PROVIDERS: Final = {
    "google_ai": "gcp.gemini",
    "google_vertex": "gcp.vertex_ai",
    "bedrock": "aws.bedrock",
    "azure": "azure.ai.openai",
    "mistral": "mistral_ai",
    "xai": "x_ai",
    "chatgpt_oauth": "openai",
}
"""The conventions' names of providers where they are not ours."""

_PROPAGATOR: Final = TraceContextTextMapPropagator()


@dataclass(slots=True)
class _Open:
    """The spans of a run that are not over."""

    run: Span
    step: Span | None = None

    @property
    def innermost(self) -> Context:
        return set_span_in_context(self.step or self.run)


class Spans:
    """Told what happens; makes spans of it. A run that goes on at another worker has a span of its own there."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        self._open: dict[str, _Open] = {}

    def __call__(self, happening: Happening) -> None:
        match happening:
            case RunBegan():
                self._run_began(happening)
            case RunEnded():
                self._run_ended(happening)
            case RunLeft():
                self._run_left(happening)
            case StepBegan():
                self._step_began(happening)
            case StepEnded():
                self._step_ended(happening)
            case ModelCalled():
                self._model_called(happening)
            case ToolCalled():
                self._tool_called(happening)
            case _:  # figures, of no run
                pass

    def _run_began(self, began: RunBegan) -> None:
        run = began.run
        provider, _, model = began.model.partition("/")
        attributes: dict[str, AttributeValue] = {
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.provider.name": _PROVIDERS.get(provider, provider),
            "gen_ai.request.model": model,
            "gen_ai.agent.id": run.agent_id,
            "gen_ai.agent.name": began.agent_name,
            "gen_ai.conversation.id": run.conversation_id,
            "tertulia.run.id": run.id,
            "tertulia.run.background": run.background,
            "tertulia.run.resumed": began.resumed,
        }
        # Begun at the root where the client has no trace: what is current here is nobody's.
        parent = _PROPAGATOR.extract({"traceparent": began.traceparent}, Context()) if began.traceparent else Context()
        name = f"invoke_agent {began.agent_name}"
        self._open[run.id] = _Open(self._tracer.start_span(name, parent, SpanKind.INTERNAL, attributes))

    def _run_ended(self, ended: RunEnded) -> None:
        run = ended.run
        spans = self._close(run.id)
        if spans is None:
            return  # it waited for its turn, or was ended for a worker that was gone
        spans.run.set_attributes({"tertulia.run.status": run.status, "tertulia.run.stop_reason": run.stop_reason or ""})
        if run.error is not None:
            _fail(spans.run, str(run.error.get("error_type", run.stop_reason)))
        spans.run.end()

    def _run_left(self, left: RunLeft) -> None:
        spans = self._close(left.run_id)
        if spans is not None:
            spans.run.set_attribute("tertulia.run.left", "lost" if left.lost else "handed over")
            spans.run.end()

    def _close(self, run_id: str) -> _Open | None:
        spans = self._open.pop(run_id, None)
        if spans is not None and spans.step is not None:
            spans.step.end()
        return spans

    def _step_began(self, began: StepBegan) -> None:
        spans = self._open.get(began.run_id)
        if spans is None:
            return
        if spans.step is not None:
            spans.step.end()
        attributes = {"tertulia.step.number": began.number}
        spans.step = self._tracer.start_span("step", set_span_in_context(spans.run), attributes=attributes)

    def _step_ended(self, ended: StepEnded) -> None:
        spans, step = self._open.get(ended.step.run_id), ended.step
        if spans is None or spans.step is None:
            return
        spans.step.set_attributes({"tertulia.step.id": step.id, "tertulia.step.status": step.status})
        if step.error_type is not None:
            _fail(spans.step, step.error_type)
        spans.step.end()
        spans.step = None

    def _model_called(self, call: ModelCalled) -> None:
        spans = self._open.get(call.run_id) if call.run_id else None
        attributes: dict[str, AttributeValue | None] = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": _PROVIDERS.get(call.provider_type, call.provider_type),
            "gen_ai.request.model": call.model,
            "gen_ai.request.stream": True,
            "gen_ai.response.model": call.response_model,
            "gen_ai.response.finish_reasons": call.finish_reason and (call.finish_reason,),
            "gen_ai.response.time_to_first_chunk": call.first_token_ns and call.first_token_ns / 1e9,
            "tertulia.provider": call.provider,
            "tertulia.purpose": call.purpose,
            "tertulia.provider_request.id": call.request_id,
            **_settings(call.settings),
            **_usage(call.usage),
        }
        span = self._tracer.start_span(
            f"chat {call.model}",
            spans.innermost if spans else Context(),
            SpanKind.CLIENT,
            _given(attributes),
            start_time=call.started_ns,
        )
        if call.error_type is not None:
            _fail(span, call.error_type)
        span.end(call.started_ns + call.duration_ns)

    def _tool_called(self, call: ToolCalled) -> None:
        spans = self._open.get(call.run_id)
        span = self._tracer.start_span(
            f"execute_tool {call.name}",
            spans.innermost if spans else Context(),
            SpanKind.INTERNAL,
            {
                "gen_ai.operation.name": "execute_tool",
                "gen_ai.tool.name": call.name,
                "gen_ai.tool.call.id": call.call_id,
                "gen_ai.tool.type": "function",
            },
            start_time=call.started_ns,
        )
        if call.failed:
            _fail(span, "tool_error")
        span.end(call.started_ns + call.duration_ns)


def _fail(span: Span, error_type: str) -> None:
    span.set_attribute("error.type", error_type)
    span.set_status(StatusCode.ERROR)


def _settings(settings: ModelSettings | None) -> dict[str, AttributeValue | None]:
    if settings is None:
        return {}
    return {
        "gen_ai.request.max_tokens": settings.max_output_tokens,
        "gen_ai.request.temperature": settings.temperature,
    }


def _usage(usage: Usage | None) -> dict[str, AttributeValue | None]:
    if usage is None:
        return {}
    return {
        "gen_ai.usage.input_tokens": usage.prompt_tokens,
        "gen_ai.usage.output_tokens": usage.completion_tokens,
        "gen_ai.usage.cache_read.input_tokens": usage.cached_input_tokens,
        "gen_ai.usage.cache_creation.input_tokens": usage.cache_write_tokens,
        "gen_ai.usage.reasoning.output_tokens": usage.reasoning_tokens,
    }


def _given(attributes: Mapping[str, AttributeValue | None]) -> dict[str, AttributeValue]:
    return {name: value for name, value in attributes.items() if value is not None}
