"""The events of runs as the store has them, in chunks."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class EventChunk:
    """Consecutive events of a run as the event log encoded them: sequence ids ``first`` to ``last``."""

    first: int
    last: int
    data: bytes


class Events(Protocol):
    def append(self, run_id: str, chunk: EventChunk, token: int | None = None) -> None:
        """Store a chunk. One that begins with the same event takes the place of what was stored of it.

        So it can be stored again, with what came after it, where it is not known whether it was.

        :raises NotFound: if there is no such run.
        :raises LeaseLost: if the run has another fencing token than the given one.
        """
        ...

    def append_many(self, chunks: Sequence[tuple[str, int, EventChunk]]) -> set[str]:
        """Store chunks of different runs, each with its run's fencing token; of which runs they were refused."""
        ...

    def last(self, run_id: str) -> int:
        """The sequence id of the last event that is stored; 0 for none."""
        ...

    def after(self, run_id: str, seq: int, within: int | None = None, limit: int | None = None) -> list[EventChunk]:
        """The chunks that hold events after ``seq``, in order; the first may begin before it.

        With ``within`` only those that begin among the next so many events, with ``limit`` at most so many.
        """
        ...

    def kept(self, run_id: str) -> bool:
        """Whether any event of the run is stored."""
        ...

    def prune(self, before: datetime, limit: int) -> int:
        """Remove the events of at most so many ended runs that began before; of how many it was."""
        ...
