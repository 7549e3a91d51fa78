"""The figures the project has promised, each held against a result."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from bench.result import Result
from bench.scenarios import dialects

Sense = Literal["below", "at most", "at least"]

_HOLDS: dict[Sense, Callable[[float, float], bool]] = {
    "below": lambda value, limit: value < limit,
    "at most": lambda value, limit: value <= limit,
    "at least": lambda value, limit: value >= limit,
}

LEVEL = 64
"""Conversations of the throughput target."""


@dataclass(frozen=True, slots=True)
class Target:
    """A promise and what was measured; `met` is None for a scenario that did not run."""

    name: str
    sense: Sense
    limit: float
    unit: str
    value: float | None
    met: bool | None


def check(result: Result) -> Sequence[Target]:
    """Hold a result against every target. Nothing is taken off: the endpoint's own time is inside each value."""
    blocking, streaming, history, burst, memory = (
        result.blocking,
        result.streaming,
        result.history,
        result.burst,
        result.memory,
    )
    first_event = streaming.first_event if streaming else None
    level = next((one for one in result.throughput if one.conversations == LEVEL and not one.streaming), None)
    kept = min((one.kept for one in result.prompt_cache), default=None) if result.prompt_cache else None
    decoded = {one.name: one.total for one in (result.dialects.dialects if result.dialects else ())}
    return (
        _target("blocking message", "below", 5, "ms", blocking and blocking.total.median),
        _target("streamed message", "below", 5, "ms", streaming and streaming.total.median),
        _target("first event", "below", 3, "ms", first_event and first_event.median),
        _target(f"{LEVEL} conversations", "at least", 300, "messages/s", level and level.messages_per_s),
        _target("10,000 messages out of context", "at most", 1.2, "× of 10", history and history.out_of_context_ratio),
        _target("each message in context", "at most", 3, "µs", history and history.in_context_us),
        *(
            _target(f"token, {name}", "below", limit, "µs", decoded.get(name))
            for name, limit in dialects.LIMITS_US.items()
        ),
        _target("prompt kept from turn to turn", "at least", 1, "of 1", kept),
        _target("memory, idle", "below", 120, "MB", memory.idle and memory.idle.rss_mb),
        _target("memory, after load", "below", 120, "MB", memory.after_load and memory.after_load.rss_mb),
        _target("100 conversations × 200 ms", "below", 2000, "ms", burst and burst.worst_ms),
        _target("100 conversations × 200 ms", "at most", 0, "errors", burst and burst.errors),
    )


def _target(name: str, sense: Sense, limit: float, unit: str, value: float | None) -> Target:
    return Target(name, sense, limit, unit, value, None if value is None else _HOLDS[sense](value, limit))


def table(targets: Sequence[Target]) -> str:
    verdicts = {True: "pass", False: "FAIL", None: "not run"}
    rows = [
        f"  {verdicts[one.met]:<8} {one.name:<32} {'–' if one.value is None else f'{one.value:g}':>9} {one.unit:<11}"
        f" ({one.sense} {one.limit:g})"
        for one in targets
    ]
    return "\n".join(["Targets:", *rows])
