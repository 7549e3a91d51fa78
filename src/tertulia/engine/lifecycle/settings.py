"""What is set of all runs."""

from dataclasses import dataclass
from datetime import timedelta

from tertulia.engine.turn.compaction import THRESHOLD


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """``approval_deadline`` is how long tool calls wait for an answer before they are denied.

    ``queue_limit`` is how many runs may wait for one conversation, ``compaction_threshold`` the part of a context
    window from which on a history is compacted, ``max_runs`` how many runs a worker answers at once. A worker that
    sends no heartbeat for ``lease`` seconds loses its runs to the others; at once, if its supervisor says that the
    process of this ``life`` is dead.
    """

    approval_deadline: timedelta = timedelta(days=7)
    queue_limit: int = 100
    compaction_threshold: float = THRESHOLD
    max_runs: int = 2000
    lease: float = 10.0
    life: str = ""
