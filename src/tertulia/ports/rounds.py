"""Sharing the event loop: work that may be long is done in slices, and each slice waits for its turn.

The loop goes round all that is ready. What is done in one round everybody else waits for, so a round has a budget that
all slices share: those that come when it is spent are done in a later round, in the order they came.
"""

import asyncio
from time import perf_counter
from typing import Final

ROUND_SECONDS: Final = 0.004


class _Round:
    """The round that the loop is in: when its budget is spent, and of which loop it is."""

    __slots__ = ("loop", "until")

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        self.until = 0.0

    def end(self) -> None:
        self.loop = None
        self.until = 0.0


_round: Final = _Round()


async def turn() -> None:
    """Return at once if this round of the loop has time left, else in one that has.

    To be called before each slice of work, which may take a millisecond or two, or no more than the reading of a token:
    while there is time left, it is one look at the clock. To ask for the running loop is a system call, and dearer.
    """
    while perf_counter() >= _round.until:
        loop = asyncio.get_running_loop()
        if _round.loop is not loop:
            _round.loop = loop
            _round.until = perf_counter() + ROUND_SECONDS
            loop.call_soon(_round.end)
            return
        await asyncio.sleep(0)
