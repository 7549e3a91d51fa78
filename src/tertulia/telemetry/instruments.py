"""Every figure that is counted as things happen: its name, its labels, and what it means.

Labels have few values: no ids, and of what comes from outside only the first so many. Counting is done on the
event loop alone, so it is plain arithmetic without a lock; Prometheus' own classes come in where figures are written.
"""

import math
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import accumulate
from typing import Final, Generic, TypeVar

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

QUICK: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
SLOW: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320)
"""Upper bounds in seconds."""
_PREFIX: Final = "tertulia_"
_LIMIT: Final = 1000
"""How many combinations of labels a figure has; a client can name as many models as it likes."""
OTHER: Final = "other"
"""The label of all that come after them."""


class Count:
    """A number that rises, or one that is set."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def add(self, count: float = 1) -> None:
        self.value += count

    def set(self, value: float) -> None:
        self.value = value


class Spread:
    """How many of the observed values lie below which bound, and their sum."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def buckets(self) -> list[tuple[str, float]]:
        """Each bound with the number of values up to it."""
        bounds = [*map(float, self.bounds), math.inf]
        names = ["+Inf" if bound == math.inf else str(bound) for bound in bounds]
        return list(zip(names, accumulate(self.counts), strict=True))


C = TypeVar("C", Count, Spread)


class Family(Generic[C]):
    """A figure by its labels, in at most ``limit`` combinations."""

    def __init__(self, make: Callable[[], C], limit: int) -> None:
        self.children: dict[tuple[str, ...], C] = {}
        self._make = make
        self._limit = limit

    def of(self, *labels: str) -> C:
        child = self.children.get(labels)
        if child is None:
            if len(self.children) >= self._limit:
                labels = (OTHER,) * len(labels)
            child = self.children.setdefault(labels, self._make())
        return child


class Instruments:
    """All the figures of one worker, and what writes them down."""

    def __init__(self) -> None:
        self._written: list[Callable[[], Metric]] = []
        model, failure = ("provider", "model"), ("provider", "error_type")

        self.requests = self._counts("http_requests", "Requests that were answered.", ("method", "route", "status"))
        self.request_seconds = self._spreads(
            "http_request_seconds", "From a request to the start of its response.", ("method", "route"), QUICK
        )
        self.requests_open = self._gauge("http_requests_open", "Requests being answered, streams included.")

        self.runs_started = self._count("runs_started", "Runs started here.")
        self.runs_resumed = self._count("runs_resumed", "Runs started elsewhere or earlier and resumed here.")
        self.runs_ended = self._counts("runs_ended", "Runs that ended here.", ("stop_reason",))
        self.runs_taken_over = self._count("runs_taken_over", "Runs taken over from dead workers.")
        self.runs_lost = self._count("runs_lost", "Runs that other workers took over from this one.")
        self.runs_active = self._gauge("runs_active", "Runs that this worker is answering.")
        self.runs_waiting = self._gauge(
            "runs_waiting", "Runs queued in all conversations; every worker reports the same figure."
        )
        self.run_seconds = self._spread("run_seconds", "From a run's start to its end.", SLOW)
        self.step_seconds = self._spread("step_seconds", "A model call and the tools it asked for.", SLOW)

        self.model_seconds = self._spreads(
            "model_call_seconds", "From a model request to the end of its reply, or its failure.", model, SLOW
        )
        self.first_token_seconds = self._spreads(
            "model_first_token_seconds", "From a model request to the first token of its reply.", model, SLOW
        )
        self.tokens = self._counts(
            "model_tokens",
            "Tokens as the provider counted them. cached and cache_write are part of input, reasoning of output.",
            (*model, "kind"),
        )
        self.model_errors = self._counts("model_errors", "Model calls that failed, retried ones included.", failure)
        self.model_retries = self._counts("model_retries", "Model calls that were retried.", failure)
        self.tool_seconds = self._spreads("tool_call_seconds", "Calls of the server's own tools.", ("tool",), SLOW)
        self.tool_errors = self._counts("tool_errors", "Calls of the server's own tools that failed.", ("tool",))

        self.events_stored = self._count("events_stored", "Events stored while their run was in progress.")
        self.flush_seconds = self._spread("event_flush_seconds", "Storing a batch of events.", QUICK)
        self.flush_failures = self._count("event_flush_failures", "Batches of events that could not be stored.")
        self.event_lag_seconds = self._gauge("event_lag_seconds", "How long the oldest unstored event has waited.")

        self.database_up = self._gauge("database_up", "1 if the database answered when the metrics were collected.")
        self.pool_size = self._gauge("pool_size", "Connections to the database that may be open.")
        self.pool_in_use = self._gauge("pool_in_use", "Connections to the database that are busy.")
        self.pool_waiting = self._gauge("pool_waiting", "Transactions waiting for a connection.")
        self.loop_lag_seconds = self._spread(
            "event_loop_lag_seconds", "How late the event loop was, sampled every second.", QUICK
        )
        self.connections_open = self._gauge("http_connections_open", "Open client connections, idle ones included.")
        self.tasks = self._gauge("tasks", "Tasks on the event loop, waiting ones included.")
        self.threads = self._gauge("threads", "Threads of the process.")
        self.build = self._family(GaugeMetricFamily, "build", "Always 1; the label says which version.", ("version",))

    def collect(self) -> Iterator[Metric]:
        """Everything as it stands."""
        return (written() for written in self._written)

    def _count(self, name: str, meaning: str) -> Count:
        return self._counts(name, meaning, ()).of()

    def _counts(self, name: str, meaning: str, labels: Sequence[str]) -> Family[Count]:
        return self._family(CounterMetricFamily, name, meaning, labels)

    def _gauge(self, name: str, meaning: str) -> Count:
        return self._family(GaugeMetricFamily, name, meaning, ()).of()

    def _spread(self, name: str, meaning: str, bounds: Sequence[float]) -> Spread:
        return self._spreads(name, meaning, (), bounds).of()

    def _spreads(self, name: str, meaning: str, labels: Sequence[str], bounds: Sequence[float]) -> Family[Spread]:
        family = Family(partial(Spread, bounds), _LIMIT)

        def written() -> Metric:
            metric = HistogramMetricFamily(_PREFIX + name, meaning, labels=labels)
            for values, spread in family.children.items():
                metric.add_metric(values, spread.buckets(), spread.total)
            return metric

        self._written.append(written)
        return family

    def _family(
        self,
        kind: type[CounterMetricFamily | GaugeMetricFamily],
        name: str,
        meaning: str,
        labels: Sequence[str],
    ) -> Family[Count]:
        family = Family(Count, _LIMIT)

        def written() -> Metric:
            metric = kind(_PREFIX + name, meaning, labels=labels)
            for values, count in family.children.items():
                metric.add_metric(values, count.value)
            return metric

        self._written.append(written)
        return family
