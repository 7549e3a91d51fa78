"""Chores: what is still to be done when a run has ended, such as telling somebody. No reader waits for them."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

import structlog

from tertulia.domain.runs import Run

_log = structlog.get_logger(__name__)

Chore: TypeAlias = Callable[[Run], Awaitable[None]]
"""Does its part for a run that has ended, given as it was when it began: what it came to is in the store."""


class Chores:
    """Begins the chores of each run that ends, and ends them with the server."""

    def __init__(self, chores: Sequence[Chore] = ()) -> None:
        self._chores = chores
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, run: Run) -> None:
        for chore in self._chores:
            task = asyncio.create_task(_done(chore, run))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def settled(self) -> None:
        """Wait until nothing is left to do."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def close(self) -> None:
        """Leave what is not done."""
        for task in self._tasks:
            task.cancel()
        await self.settled()


async def _done(chore: Chore, run: Run) -> None:
    try:
        await chore(run)
    except Exception:  # noqa: BLE001  nobody waits for a chore, so the log is where its failure is told
        _log.exception("chore_failed", run_id=run.id)
