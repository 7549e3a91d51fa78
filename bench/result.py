"""Everything one run found, as it is written to JSON."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.machine import Busyness, Machine
from bench.processes import Memory
from bench.scenarios.burst import Burst
from bench.scenarios.dialects import TokenPath
from bench.scenarios.history import History
from bench.scenarios.messages import MessageCost
from bench.scenarios.prompt_cache import CachedShare
from bench.scenarios.startup import Startup
from bench.scenarios.throughput import Level
from bench.scenarios.tokens import TokenCost


@dataclass(slots=True)
class MemoryUse:
    """The server's memory: ready and idle, after its first messages, after all load on it, with long histories."""

    idle: Memory | None = None
    after_first_messages: Memory | None = None
    after_load: Memory | None = None
    after_history: Memory | None = None


@dataclass(slots=True)
class Result:
    """A scenario that was not run, or failed, is None. Times are milliseconds unless a field says otherwise.

    Attributes:
        failures: what went wrong, by scenario.
    """

    label: str
    date: str
    effort: str
    machine: Machine
    busyness: Busyness = field(default_factory=Busyness)
    memory: MemoryUse = field(default_factory=MemoryUse)
    startup: Startup | None = None
    blocking: MessageCost | None = None
    streaming: MessageCost | None = None
    tokens: TokenCost | None = None
    dialects: TokenPath | None = None
    prompt_cache: Sequence[CachedShare] | None = None
    throughput: list[Level] = field(default_factory=list[Level])
    history: History | None = None
    burst: Burst | None = None
    failures: dict[str, str] = field(default_factory=dict[str, str])


SCENARIOS: Sequence[str] = (
    "startup",
    "messages",
    "tokens",
    "dialects",
    "prompt_cache",
    "throughput",
    "burst",
    "history",
)
"""The names `--only` takes, in the order they run."""
