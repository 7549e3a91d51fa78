"""What the end of a run brings about: telling somebody, describing a conversation, the turn of whoever waits."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

import structlog

from tertulia.domain.runs import Run

_log = structlog.get_logger(__name__)

EndHook: TypeAlias = Callable[[Run], Awaitable[None]]
"""Does its part for a run that has ended, given as it was when it began: what it came to is in the store."""


NextTurn: TypeAlias = Callable[[str], Awaitable[None]]
"""Gives a conversation, by its id, to whatever waits for it."""


class EndHooks:
    """Begins the hooks of each run that ends, and ends them with the server. No reader waits for them."""

    def __init__(self, hooks: Sequence[EndHook] = ()) -> None:
        self._hooks = hooks
        self._next_turns: list[NextTurn] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def subscribe(self, next_turn: NextTurn) -> None:
        """Have ``next_turn`` called whenever a conversation is free, before the run that had it is forgotten."""
        self._next_turns.append(next_turn)

    async def on_end(self, run: Run, *, free: bool) -> None:
        """The run's end is stored. ``free``: nobody has its conversation held for a run of their own."""
        self.begin(run)
        if free:
            for next_turn in self._next_turns:
                await next_turn(run.conversation_id)

    def begin(self, run: Run) -> None:
        for hook in self._hooks:
            task = asyncio.create_task(_done(hook, run))
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


async def _done(hook: EndHook, run: Run) -> None:
    try:
        await hook(run)
    except Exception:  # noqa: BLE001  nobody waits for a hook, so the log is where its failure is told
        _log.exception("chore_failed", run_id=run.id)
