"""Spans of what an engine does, gathered in memory."""

from collections.abc import Sequence

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from tertulia.domain.errors import ProviderOverloaded
from tertulia.domain.messages import TextPart
from tertulia.domain.models import ModelSettings
from tertulia.engine.agents import AgentDraft
from tertulia.engine.requests import NewMessage, SendRequest
from tertulia.ports.provider import Finished, TextPiece
from tertulia.ports.telemetry import RunBegan, RunEnded, RunLeft, StepBegan, Telemetry
from tertulia.telemetry.spans import Spans
from tests.support.scripted import USAGE, Gate, calls, say
from tests.support.told import Told
from tests.support.world import World

pytestmark = pytest.mark.anyio

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def watchers(exporter: InMemorySpanExporter, told: Told) -> list[Telemetry]:
    """The spans first: what the test waits for comes after them."""
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return [Spans(provider.get_tracer("test")), told]


def named(spans: Sequence[ReadableSpan], name: str) -> ReadableSpan:
    (found,) = [span for span in spans if span.name == name]
    return found


def parent(span: ReadableSpan) -> int | None:
    return span.parent.span_id if span.parent else None


def own(span: ReadableSpan) -> int:
    assert span.context is not None
    return span.context.span_id


async def conversation_of(world: World, **fields: object) -> str:
    agent = await world.agent(AgentDraft(name="Ada", **fields))  # pyright: ignore[reportArgumentType]  a test's own fields
    return await world.conversation(agent.agent.id)


async def test_a_run_is_a_span_with_its_steps_model_calls_and_tools_inside(
    world: World, told: Told, exporter: InMemorySpanExporter
) -> None:
    conversation = await conversation_of(world)
    world.model.scripts.append(calls(("call-1", "conversation_search", '{"query": "the secret"}')))
    world.model.scripts.append(say("done"))
    await world.send(conversation, "hello")
    (ended,) = await told.until(RunEnded)
    spans = exporter.get_finished_spans()
    assert [span.name for span in spans] == [
        "chat model",
        "execute_tool conversation_search",
        "step",
        "chat model",
        "step",
        "invoke_agent Ada",
    ]
    asked, tool, first, again, second, run = spans
    assert parent(run) is None
    assert {parent(first), parent(second)} == {own(run)}
    assert {parent(asked), parent(tool)} == {own(first)}
    assert parent(again) == own(second)
    assert run.attributes is not None
    assert run.attributes["gen_ai.operation.name"] == "invoke_agent"
    assert run.attributes["gen_ai.conversation.id"] == conversation
    assert run.attributes["tertulia.run.id"] == ended.run.id
    assert run.attributes["tertulia.run.stop_reason"] == "end_turn"
    assert tool.attributes is not None
    assert (tool.attributes["gen_ai.tool.name"], tool.attributes["gen_ai.tool.call.id"]) == (
        "conversation_search",
        "call-1",
    )


async def test_a_model_call_follows_the_conventions(world: World, told: Told, exporter: InMemorySpanExporter) -> None:
    settings = ModelSettings(provider_type="openai", temperature=0.5, max_output_tokens=100)
    conversation = await conversation_of(world, model_settings=settings)
    world.model.scripts.append([TextPiece("hi"), Finished(reason="stop", usage=USAGE, reply={"model": "model-0125"})])
    await world.send(conversation, "hello")
    await told.until(RunEnded)
    call = named(exporter.get_finished_spans(), "chat model")
    assert call.kind is SpanKind.CLIENT
    assert call.attributes is not None
    attributes = dict(call.attributes)
    first_chunk = attributes.pop("gen_ai.response.time_to_first_chunk")
    assert isinstance(first_chunk, float)
    assert attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "model",
        "gen_ai.request.stream": True,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.max_tokens": 100,
        "gen_ai.response.model": "model-0125",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 10,
        "gen_ai.usage.output_tokens": 2,
        "tertulia.provider": "scripted",
        "tertulia.purpose": "reply",
    }


async def test_what_failed_says_what_kind_of_failure_it_was(
    world: World, told: Told, exporter: InMemorySpanExporter
) -> None:
    conversation = await conversation_of(world)
    world.model.scripts.append([ProviderOverloaded("busy")])
    await world.send(conversation, "hello")
    await told.until(RunEnded)
    spans = exporter.get_finished_spans()
    assert [span.name for span in spans] == ["chat model", "step", "invoke_agent Ada"]
    for span in spans:
        assert span.status.status_code is StatusCode.ERROR
        assert span.attributes is not None
        assert span.attributes["error.type"] == "llm_error"


async def test_a_run_is_part_of_the_clients_trace_even_when_it_has_to_wait_for_its_turn(
    world: World, told: Told, exporter: InMemorySpanExporter
) -> None:
    conversation = await conversation_of(world)
    gate = Gate()
    world.model.scripts.append([TextPiece("wait"), gate, Finished(reason="stop", usage=None)])
    first = await world.start(conversation, "one")
    await gate.reached.wait()
    second = await world.services.runs.start(
        SendRequest(
            conversation_id=conversation,
            messages=(NewMessage(role="user", content=(TextPart("two"),)),),
            busy="enqueue",
            traceparent=f"00-{TRACE}-{SPAN}-01",
        )
    )
    gate.go.set()
    await told.until(RunEnded, 2)
    runs = {
        span.attributes["tertulia.run.id"]: span
        for span in exporter.get_finished_spans()
        if span.attributes and "tertulia.run.id" in span.attributes
    }
    own_trace, told_trace = runs[first.id], runs[second.id]
    assert own_trace.parent is None
    assert told_trace.context is not None
    assert f"{told_trace.context.trace_id:032x}" == TRACE
    assert f"{parent(told_trace):016x}" == SPAN


async def test_nothing_that_was_said_is_in_a_span(world: World, told: Told, exporter: InMemorySpanExporter) -> None:
    conversation = await conversation_of(world)
    world.model.scripts.append(calls(("call-1", "conversation_search", '{"query": "xyzzy"}')))
    world.model.scripts.append(say("xyzzy, of course"))
    await world.send(conversation, "the word is xyzzy")
    await told.until(RunEnded)
    assert not [span.name for span in exporter.get_finished_spans() if "xyzzy" in span.to_json()]


async def test_a_run_that_is_left_ends_its_spans(world: World, told: Told, exporter: InMemorySpanExporter) -> None:
    conversation = await conversation_of(world)
    gate = Gate()
    world.model.scripts.append([TextPiece("wait"), gate])
    await world.start(conversation, "one")
    await told.until(StepBegan)
    await gate.reached.wait()
    await world.services.runs.close()
    await told.until(RunLeft)
    spans = exporter.get_finished_spans()
    assert [span.name for span in spans] == ["chat model", "step", "invoke_agent Ada"]
    call, _, run = spans
    assert call.attributes is not None
    assert call.attributes["error.type"] == "cancelled"
    assert run.attributes is not None
    assert run.attributes["tertulia.run.left"] == "handed over"
    assert [began.resumed for began in told.of(RunBegan)] == [False]
