"""The figures of one worker, read as Prometheus reads them."""

import asyncio
import contextlib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tertulia.domain.errors import ProviderOverloaded, StoreUnavailable
from tertulia.domain.runs import Run, Step, Usage
from tertulia.engine.agents import AgentDraft
from tertulia.ports.provider import Finished, Retrying, TextPiece
from tertulia.ports.telemetry import (
    CANCELLED,
    EventsStored,
    ModelCalled,
    RequestAnswered,
    RunBegan,
    RunEnded,
    RunLeft,
    RunTakenOver,
    StepEnded,
    ToolCalled,
)
from tertulia.store.sqlite.store import open_sqlite
from tertulia.telemetry.metrics import Metrics, Sources
from tests.support.scripted import Gate, calls, say
from tests.support.sqlite_files import with_tables
from tests.support.told import Told
from tests.support.world import World

pytestmark = pytest.mark.anyio

NOW = datetime.now(UTC)


async def samples(metrics: Metrics) -> dict[tuple[str, str], float]:
    """Each sample by its name and its labels, the worker's left out."""
    text = (await metrics.render()).decode()
    return {
        (sample.name, _labels(sample.labels)): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def _labels(labels: Mapping[str, str]) -> str:
    return " ".join(f"{name}={value}" for name, value in sorted(labels.items()) if name != "worker")


def a_run(**fields: object) -> Run:
    given = {"id": "run-1", "agent_id": "agent-1", "conversation_id": "conv-1", "status": "completed"}
    return Run(**{**given, "created_at": NOW, **fields})  # pyright: ignore[reportArgumentType]  a test's own fields


def a_call(**fields: object) -> ModelCalled:
    given: dict[str, object] = {
        "run_id": "run-1",
        "purpose": "reply",
        "provider": "openai",
        "provider_type": "openai",
        "model": "gpt",
        "settings": None,
        "started_ns": 1,
        "duration_ns": 2_000_000_000,
    }
    return ModelCalled(**{**given, **fields})  # pyright: ignore[reportArgumentType]  as above


async def test_every_sample_says_which_worker_it_is_of() -> None:
    metrics = Metrics(worker=3)
    metrics(RunBegan(run=a_run(), agent_name="Ada", model="openai/gpt"))
    families = list(text_string_to_metric_families((await metrics.render()).decode()))
    assert families
    assert {sample.labels["worker"] for family in families for sample in family.samples} == {"3"}


async def test_requests_are_counted_by_route_and_not_by_path() -> None:
    metrics = Metrics()
    metrics(RequestAnswered(method="GET", route="/v1/runs/{run_id}", status=200, seconds=0.003))
    metrics(RequestAnswered(method="BREW", route=None, status=404, seconds=0.003))
    found = await samples(metrics)
    assert found["tertulia_http_requests_total", "method=GET route=/v1/runs/{run_id} status=200"] == 1
    assert found["tertulia_http_requests_total", "method=other route=other status=404"] == 1
    seconds = "method=GET route=/v1/runs/{run_id}"
    assert found["tertulia_http_request_seconds_count", seconds] == 1
    assert found["tertulia_http_request_seconds_bucket", f"le=0.0025 {seconds}"] == 0
    assert found["tertulia_http_request_seconds_bucket", f"le=0.005 {seconds}"] == 1
    assert found["tertulia_http_request_seconds_bucket", f"le=+Inf {seconds}"] == 1


async def test_runs_are_counted_by_how_they_began_and_ended() -> None:
    metrics = Metrics()
    metrics(RunBegan(run=a_run(), agent_name="Ada", model="openai/gpt"))
    metrics(RunTakenOver("run-2"))
    metrics(RunBegan(run=a_run(id="run-2"), agent_name="Ada", model="openai/gpt", resumed=True))
    metrics(RunLeft("run-2", lost=True))
    metrics(RunLeft("run-3", lost=False))
    metrics(RunEnded(a_run(stop_reason="end_turn", total_duration_ns=3_000_000_000)))
    step = Step(
        id="step-1",
        run_id="run-1",
        agent_id="agent-1",
        conversation_id="conv-1",
        status="success",
        created_at=NOW,
        model="gpt",
        model_handle="openai/gpt",
        model_endpoint=None,
        provider_name="openai",
        provider_category="base",
        context_window_limit=1,
        usage=Usage(),
        step_ns=500_000_000,
    )
    metrics(StepEnded(step))
    found = await samples(metrics)
    assert found["tertulia_runs_started_total", ""] == 1
    assert found["tertulia_runs_resumed_total", ""] == 1
    assert found["tertulia_runs_taken_over_total", ""] == 1
    assert found["tertulia_runs_lost_total", ""] == 1
    assert found["tertulia_runs_ended_total", "stop_reason=end_turn"] == 1
    assert found["tertulia_run_seconds_sum", ""] == 3
    assert found["tertulia_step_seconds_sum", ""] == 0.5


async def test_what_a_model_took_is_counted_by_provider_and_model() -> None:
    metrics = Metrics()
    usage = Usage(prompt_tokens=10, completion_tokens=4, total_tokens=14, cached_input_tokens=6, reasoning_tokens=1)
    metrics(a_call(first_token_ns=250_000_000, usage=usage))
    metrics(a_call(error_type="llm_timeout"))
    metrics(a_call(error_type=CANCELLED))
    found = await samples(metrics)
    model = "model=gpt provider=openai"
    assert found["tertulia_model_call_seconds_count", model] == 3
    assert found["tertulia_model_first_token_seconds_sum", model] == 0.25
    tokens = {kind: found.get(("tertulia_model_tokens_total", f"kind={kind} {model}")) for kind in ("input", "output")}
    assert tokens == {"input": 10, "output": 4}
    assert found["tertulia_model_tokens_total", f"kind=cached {model}"] == 6
    assert found["tertulia_model_tokens_total", f"kind=reasoning {model}"] == 1
    errors = {labels: value for (name, labels), value in found.items() if name == "tertulia_model_errors_total"}
    assert errors == {"error_type=llm_timeout provider=openai": 1}


async def test_names_from_outside_cannot_make_endless_series() -> None:
    metrics = Metrics()
    for number in range(1100):
        metrics(a_call(model=f"made-up-{number}"))
    found = await samples(metrics)
    counts = {labels: value for (name, labels), value in found.items() if name == "tertulia_model_call_seconds_count"}
    assert len(counts) == 1001
    assert counts["model=other provider=other"] == 100


async def test_tools_and_flushes_that_failed_are_counted() -> None:
    metrics = Metrics()
    for failed in (False, True):
        metrics(
            ToolCalled(
                run_id="run-1", call_id="c", name="web_search", started_ns=1, duration_ns=100_000_000, failed=failed
            )
        )
    metrics(EventsStored(12, 0.004))
    metrics(EventsStored(0, 5.0))
    found = await samples(metrics)
    assert found["tertulia_tool_call_seconds_count", "tool=web_search"] == 2
    assert found["tertulia_tool_errors_total", "tool=web_search"] == 1
    assert found["tertulia_events_stored_total", ""] == 12
    assert found["tertulia_event_flush_seconds_count", ""] == 2
    assert found["tertulia_event_flush_failures_total", ""] == 1


class _Pool:
    in_use, waiting, size = 3, 2, 8


async def test_what_is_looked_at_is_looked_at_when_it_is_asked_for(tmp_path: Path) -> None:
    metrics = Metrics()
    store = await open_sqlite(with_tables(tmp_path / "tertulia.db"))
    metrics.look_at(Sources(store=store, active_runs=lambda: 4, lag=lambda: 0.5, pool=_Pool()))
    found = await samples(metrics)
    names = ("database_up", "runs_active", "runs_waiting", "event_lag_seconds", "pool_in_use", "pool_waiting")
    assert [found[f"tertulia_{name}", ""] for name in names] == [1, 4, 0, 0.5, 3, 2]
    assert found["tertulia_pool_size", ""] == 8
    await store.close()
    assert (await samples(metrics))["tertulia_database_up", ""] == 0


async def test_figures_are_there_while_the_database_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = Metrics()
    store = await open_sqlite(with_tables(tmp_path / "tertulia.db"))

    async def fail(_work: object) -> None:
        raise StoreUnavailable("The database cannot be used.")

    monkeypatch.setattr(store, "read", fail)
    metrics.look_at(Sources(store=store, active_runs=lambda: 4, lag=lambda: 0))
    found = await samples(metrics)
    assert (found["tertulia_database_up", ""], found["tertulia_runs_active", ""]) == (0, 4)
    await store.close()


async def test_a_late_event_loop_is_seen() -> None:
    metrics = Metrics()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.01):
            await metrics.watch_loop(every=0)
    assert (await samples(metrics))["tertulia_event_loop_lag_seconds_count", ""] > 0


async def test_a_message_leaves_its_traces_in_the_figures(world: World, told: Told) -> None:
    metrics = world.services.metrics
    assert isinstance(metrics, Metrics)
    agent = await world.agent(AgentDraft(name="Ada", include_base_tools=True))
    conversation = await world.conversation(agent.agent.id)
    busy = ProviderOverloaded("busy")
    world.model.scripts.append([Retrying(1, busy, 0.0), *calls(("call-1", "conversation_search", '{"query": "x"}'))])
    world.model.scripts.append(say("done"))
    await world.send(conversation, "hello")
    world.model.scripts.append([ProviderOverloaded("busy")])
    await world.send(conversation, "again")
    await told.until(RunEnded, 2)
    found = await samples(metrics)
    assert found["tertulia_runs_started_total", ""] == 2
    assert found["tertulia_runs_ended_total", "stop_reason=end_turn"] == 1
    assert found["tertulia_runs_ended_total", "stop_reason=llm_api_error"] == 1
    assert found["tertulia_step_seconds_count", ""] == 3
    model = "model=model provider=scripted"
    assert found["tertulia_model_call_seconds_count", model] == 3
    assert found["tertulia_model_first_token_seconds_count", model] == 2
    assert found["tertulia_model_tokens_total", f"kind=input {model}"] == 20
    failed = "error_type=llm_error provider=scripted"
    assert found["tertulia_model_retries_total", failed] == 1
    assert found["tertulia_model_errors_total", failed] == 2
    assert found["tertulia_tool_call_seconds_count", "tool=conversation_search"] == 1
    assert found["tertulia_runs_active", ""] == 0


async def test_runs_that_go_on_and_runs_that_wait_are_told_apart(world: World) -> None:
    metrics = world.services.metrics
    assert isinstance(metrics, Metrics)
    agent = await world.agent(AgentDraft(name="Ada", busy_policy="enqueue"))
    conversation = await world.conversation(agent.agent.id)
    gate = Gate()
    world.model.scripts.append([TextPiece("wait"), gate, Finished(reason="stop", usage=None)])
    first = await world.start(conversation, "one")
    await gate.reached.wait()
    second = await world.start(conversation, "two")
    found = await samples(metrics)
    assert (found["tertulia_runs_active", ""], found["tertulia_runs_waiting", ""]) == (1, 1)
    gate.go.set()
    await world.events(first.id)
    await world.events(second.id)
    found = await samples(metrics)
    assert found["tertulia_runs_waiting", ""] == 0


async def test_what_the_process_holds_is_looked_at() -> None:
    open_connections = 3
    metrics = Metrics(connections=lambda: open_connections)
    before = await samples(metrics)
    assert before["tertulia_http_connections_open", ""] == open_connections
    assert before["tertulia_threads", ""] >= 1
    waiting = asyncio.create_task(asyncio.Event().wait())
    assert (await samples(metrics))["tertulia_tasks", ""] == before["tertulia_tasks", ""] + 1
    waiting.cancel()
