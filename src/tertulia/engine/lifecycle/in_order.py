"""What stands between a run's log and whoever reads it: nothing goes on to a reader but the very next event."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import structlog

from tertulia.domain.errors import StreamInterrupted
from tertulia.ports.event_log import Numbered

_log = structlog.get_logger(__name__)


async def in_order(
    batches: AsyncGenerator[Sequence[Numbered], None], run_id: str, after: int
) -> AsyncGenerator[Sequence[Numbered], None]:
    """The batches, as long as each goes on where the one before ended.

    No log is known to give others. A reply with a hole that says it is whole would be the worst there is, so whoever
    reads one is told instead, and reads the run again.

    :raises StreamInterrupted: at the first event that is not the next one.
    """
    async with aclosing(batches):
        async for batch in batches:
            numbers = range(after + 1, after + 1 + len(batch))
            if [number for number, _ in batch] != list(numbers):
                _log.error("event_log_broken", run_id=run_id, after=after, first=batch[0][0], last=batch[-1][0])
                raise StreamInterrupted(run_id, "The run's events did not arrive in order.")
            after += len(batch)
            yield batch
