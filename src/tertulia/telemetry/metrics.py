"""The figures of one worker: counted as things happen, completed when they are asked for, written for Prometheus."""

import asyncio
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from prometheus_client import Metric, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

from tertulia import __version__
from tertulia.domain.errors import StoreUnavailable
from tertulia.domain.runs import Run
from tertulia.ports.store import Store
from tertulia.ports.telemetry import (
    CANCELLED,
    EventsStored,
    Happening,
    ModelCalled,
    ModelRetried,
    PoolUse,
    RequestAnswered,
    RequestBegan,
    RequestEnded,
    RunBegan,
    RunEnded,
    RunLeft,
    RunTakenOver,
    StepEnded,
    ToolCalled,
)
from tertulia.telemetry.instruments import OTHER, Instruments

_PATIENCE: Final = 1.0
"""Seconds that the database gets to answer whoever asks for the figures."""
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_NANO: Final = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """What is not counted but looked at. ``lag`` is in seconds."""

    store: Store
    active_runs: Callable[[], int]
    lag: Callable[[], float]
    pool: PoolUse | None = None


class Metrics:
    """Told what happens; renders it as text. Every sample has a label ``worker``.

    ``connections`` says how many clients have open to this process.

    A request for the figures of several workers behind one address is answered by any of them: by the label their
    samples are told apart.
    """

    content_type = CONTENT_TYPE_PLAIN_0_0_4

    def __init__(self, worker: int = 0, connections: Callable[[], int] | None = None) -> None:
        self.worker = worker
        self._connections = connections
        self._figures = Instruments()
        self._figures.build.of(__version__).set(1)
        process = ProcessCollector(registry=None)
        self._labelled = _Labelled([self._figures.collect, process.collect], str(worker))
        self._sources: Sources | None = None

    def look_at(self, sources: Sources) -> None:
        self._sources = sources

    def __call__(self, happening: Happening) -> None:  # noqa: C901, PLR0912  one case for each that is counted
        figures = self._figures
        match happening:
            case RequestBegan():
                figures.requests_open.add()
            case RequestAnswered():
                self._request(happening)
            case RequestEnded():
                figures.requests_open.add(-1)
            case RunBegan():
                (figures.runs_resumed if happening.resumed else figures.runs_started).add()
            case RunEnded():
                self._run(happening.run)
            case RunLeft():
                figures.runs_lost.add(happening.lost)
            case RunTakenOver():
                figures.runs_taken_over.add()
            case StepEnded():
                figures.step_seconds.observe((happening.step.step_ns or 0) * _NANO)
            case ModelCalled():
                self._model_call(happening)
            case ModelRetried():
                figures.model_errors.of(happening.provider, happening.error_type).add()
                figures.model_retries.of(happening.provider, happening.error_type).add()
            case ToolCalled():
                figures.tool_seconds.of(happening.name).observe(happening.duration_ns * _NANO)
                if happening.failed:
                    figures.tool_errors.of(happening.name).add()
            case EventsStored():
                self._flush(happening)
            case _:  # a beginning whose end is counted
                pass

    async def watch_loop(self, every: float = 1.0) -> None:
        """Look at how late the event loop is, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + every
            await asyncio.sleep(every)
            self._figures.loop_lag_seconds.observe(max(0.0, loop.time() - due))

    async def render(self) -> bytes:
        self._look_at_process()
        if self._sources is not None:
            await self._look(self._sources)
        return generate_latest(self._labelled)

    def _look_at_process(self) -> None:
        figures = self._figures
        figures.tasks.set(len(asyncio.all_tasks()))
        figures.threads.set(_threads())
        if self._connections is not None:
            figures.connections_open.set(self._connections())

    async def _look(self, sources: Sources) -> None:
        figures = self._figures
        figures.runs_active.set(sources.active_runs())
        figures.event_lag_seconds.set(sources.lag())
        if sources.pool is not None:
            figures.pool_size.set(sources.pool.size)
            figures.pool_in_use.set(sources.pool.in_use)
            figures.pool_waiting.set(sources.pool.waiting)
        try:
            waiting = await asyncio.wait_for(sources.store.read(lambda tx: tx.runs.waiting()), _PATIENCE)
            await sources.store.check_writing(_PATIENCE)
        except (StoreUnavailable, TimeoutError):
            figures.database_up.set(0)
        else:
            figures.database_up.set(1)
            figures.runs_waiting.set(waiting)

    def _request(self, answered: RequestAnswered) -> None:
        method = answered.method if answered.method in _METHODS else OTHER
        route = answered.route or OTHER
        self._figures.requests.of(method, route, str(answered.status)).add()
        self._figures.request_seconds.of(method, route).observe(answered.seconds)

    def _run(self, run: Run) -> None:
        self._figures.runs_ended.of(run.stop_reason or OTHER).add()
        if run.total_duration_ns is not None:
            self._figures.run_seconds.observe(run.total_duration_ns * _NANO)

    def _model_call(self, call: ModelCalled) -> None:
        figures, provider, model = self._figures, call.provider, call.model
        figures.model_seconds.of(provider, model).observe(call.duration_ns * _NANO)
        if call.first_token_ns is not None:
            figures.first_token_seconds.of(provider, model).observe(call.first_token_ns * _NANO)
        if call.error_type is not None and call.error_type != CANCELLED:
            figures.model_errors.of(provider, call.error_type).add()
        usage = call.usage
        if usage is None:
            return
        counts = {
            "input": usage.prompt_tokens,
            "output": usage.completion_tokens,
            "cached": usage.cached_input_tokens,
            "cache_write": usage.cache_write_tokens,
            "reasoning": usage.reasoning_tokens,
        }
        for kind, count in counts.items():
            if count:
                figures.tokens.of(provider, model, kind).add(count)

    def _flush(self, flush: EventsStored) -> None:
        self._figures.flush_seconds.observe(flush.seconds)
        if flush.count:
            self._figures.events_stored.add(flush.count)
        else:
            self._figures.flush_failures.add()


def _threads() -> int:
    """How many there are, those of libraries that are not Python among them where the system tells."""
    try:
        return len(os.listdir("/proc/self/task"))  # noqa: PTH208  names alone
    except OSError:
        return threading.active_count()


class _Labelled(Collector):
    """What the sources collect, with the worker's label at every sample."""

    def __init__(self, sources: Sequence[Callable[[], Iterable[Metric]]], worker: str) -> None:
        self._sources = sources
        self._worker = worker

    def collect(self) -> Iterator[Metric]:
        for source in self._sources:
            for family in source():
                family.samples = [
                    sample._replace(labels={**sample.labels, "worker": self._worker}) for sample in family.samples
                ]
                yield family
