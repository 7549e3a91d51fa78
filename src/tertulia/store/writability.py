"""Whether a database takes writes: asked of it only where something says that it may not."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from tertulia.domain.errors import StoreUnavailable
from tertulia.ports.store import Transaction

_KEPT_SECONDS: Final = 5.0
"""How long a trial that succeeded is good for, where there is nothing but little room to doubt it."""


class _Write(Protocol):
    def __call__(self, work: Callable[[Transaction], None], /) -> Awaitable[None]: ...


class Writability:
    """A full disk still takes small changes to rows that are there, and every read.

    So a write that was refused leaves a doubt, which nothing but a trial clears: one that needs as much new room as a
    message does. ``scarce`` says whether there is reason to try although nothing was refused.
    """

    def __init__(self, write: _Write, scarce: Callable[[], bool] = lambda: False) -> None:
        self._write = write
        self._scarce = scarce
        self._refusal: StoreUnavailable | None = None
        self._trial: asyncio.Task[None] | None = None
        self._good_until = 0.0

    def refused(self, error: StoreUnavailable) -> None:
        """A write failed for want of a database."""
        self._refusal = error

    async def check(self, seconds: float) -> None:
        """Find out, if there is reason to doubt it.

        :raises StoreUnavailable: saying why, if nothing can be written or nothing is within so many seconds.
        """
        if self._refusal is None and (time.monotonic() < self._good_until or not await asyncio.to_thread(self._scarce)):
            return
        if self._trial is None:  # one for all who ask meanwhile
            self._trial = asyncio.create_task(self._try(), name="write-trial")
        done, _ = await asyncio.wait([self._trial], timeout=seconds)
        if self._refusal is not None:
            raise StoreUnavailable(self._refusal.message)
        if not done:
            raise StoreUnavailable(f"The database did not take a write within {seconds:g} seconds.")

    async def _try(self) -> None:
        try:
            await self._write(lambda tx: tx.workers.take_room())
            await self._write(lambda tx: tx.workers.give_room_back())
        except StoreUnavailable as error:
            self._refusal = error
        else:
            self._refusal = None
            self._good_until = time.monotonic() + _KEPT_SECONDS
        finally:
            self._trial = None
