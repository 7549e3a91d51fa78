"""The log of one run that this process writes: its events in memory, until they are stored and nobody is behind."""

import asyncio
from collections.abc import Callable, Sequence

import msgspec

from tertulia.domain.events import Event
from tertulia.ports.event_log import Numbered
from tertulia.ports.store import EventChunk

KEPT_EVENTS = 32
"""How many stored events a live run keeps in memory; readers further behind read the store."""

AHEAD = 500
"""How many events readers may be shown that are not durable yet.

Whoever goes on with a run after a crash numbers frames on from beyond this, so no number comes twice.
"""

_encode = msgspec.json.Encoder().encode


class LiveRun:
    """``token`` is the fencing token that the run's events are stored under. Sequence ids go on after ``after``."""

    def __init__(
        self,
        run_id: str,
        token: int,
        after: int,
        *,
        wants_flush: Callable[[], None],
        closed: "Callable[[LiveRun], None]",
    ) -> None:
        self.run_id = run_id
        self.token = token
        self.lost = False  # another worker has the run: nothing of this log is stored any more
        self._wants_flush = wants_flush
        self._closed = closed
        self._events: list[Event] = []
        self._first = after + 1  # the sequence id of _events[0]
        self._stored = after  # the last sequence id that is durable, or on its way by the flusher
        self._durable = after  # the last sequence id that is known to be durable
        self._told = after  # the last sequence id that is not staged
        self._waiting: list[asyncio.Future[None]] = []
        self._flushed: asyncio.Future[None] | None = None
        self._open = True

    @property
    def last(self) -> int:
        return self._first + len(self._events) - 1

    @property
    def _shown(self) -> int:
        """The last sequence id that readers see."""
        return min(self._told, self._durable + AHEAD)

    def append(self, event: Event) -> None:
        self._events.append(event)
        self._told = self.last
        self._wake()
        self._wants_flush()

    async def settle(self) -> None:
        while self._flushed is not None:
            await asyncio.wait([self._flushed])

    def stage(self, *events: Event) -> EventChunk | None:
        self._events.extend(events)
        return self.unstored(self.last)

    def unstored(self, upto: int) -> EventChunk | None:
        """The events after the last stored one up to ``upto``, from now on counted as on their way."""
        first = self._stored + 1
        if upto < first:
            return None
        self._stored = upto
        return EventChunk(first, upto, _encode(self._events[first - self._first : upto - self._first + 1]))

    @property
    def unflushed(self) -> bool:
        return not self.lost and self._told > self._stored

    def flushable(self) -> EventChunk | None:
        """What was told and is not stored; staged events are their transaction's to store."""
        chunk = None if self.lost else self.unstored(self._told)
        if chunk is not None:
            self._flushed = asyncio.get_running_loop().create_future()
        return chunk

    def stored(self, chunk: EventChunk | None) -> None:
        self._arrived()
        if chunk is None:
            return
        self._durable = max(self._durable, chunk.last)
        self._told = max(self._told, chunk.last)
        self._wake()
        surplus = len(self._events) - KEPT_EVENTS
        if surplus > 0:
            surplus = min(surplus, self._stored - self._first + 1)
            del self._events[:surplus]
            self._first += surplus

    def discard(self, chunk: EventChunk | None) -> None:
        del self._events[self._told - self._first + 1 :]
        if chunk is not None:
            self.unstore(chunk)

    def unstore(self, chunk: EventChunk) -> None:
        """The chunk could not be written: what readers have seen of it is to be written again."""
        self._arrived()
        self._stored = min(self._stored, chunk.first - 1)

    def lose(self) -> None:
        self._arrived()
        self.lost = True

    def close(self) -> None:
        self._open = False
        # What was shown and is not stored nobody is shown again: its readers must not go on in what others store.
        self.lost |= self._durable < self.last
        self._closed(self)
        self._wake()

    def has(self, seq: int) -> bool:
        """Whether the event is still in memory, or will come here."""
        return seq >= self._first

    def shown_after(self, seq: int) -> Sequence[Numbered]:
        start = seq + 1
        return list(enumerate(self._events[start - self._first : self._shown - self._first + 1], start))

    async def wait(self, seq: int) -> bool:
        """Wait for an event after ``seq``; False when none will come from here."""
        while self._shown <= seq:
            if not self._open:
                return False
            waiter = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            await waiter
        return True

    def _arrived(self) -> None:
        """What was on its way is stored, or was not."""
        if self._flushed is not None:
            self._flushed.set_result(None)
            self._flushed = None

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)
