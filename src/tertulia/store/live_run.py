"""The log of one run that this process writes: its events in memory, until they are stored and nobody is behind.

Every event is kept with its number, and a reader is answered by :meth:`LiveRun.after` alone: in one step, with exactly
what follows its place, or with where to look for it. Nothing is ever computed from a position that was looked at
before.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Final

import msgspec

from tertulia.domain.errors import LeaseLost, StoreUnavailable
from tertulia.domain.events import Event
from tertulia.ports.event_log import Numbered
from tertulia.ports.events import EventChunk

KEPT_EVENTS: Final = 32
"""How many stored events a live run keeps in memory; readers further behind read the store."""

AHEAD: Final = 500
"""How many events readers may be shown that are not durable yet.

A worker that resumes a run after a crash numbers frames from beyond this, so no number is used twice.
"""

BATCH_EVENTS: Final = 256
"""How many events a reader is given at once."""

CHUNK_EVENTS: Final = 1000
"""How many events are stored as one chunk."""

PRESSING: Final = AHEAD // 2
"""With so many events waiting for the store, it is not waited for more: readers would soon be shown nothing."""

UNSTORED_EVENTS: Final = 4000
UNSTORED_CHARS: Final = 4 * 1024 * 1024
"""How far the model may be ahead of the store; then it is read from no further until the store has caught up."""

ROOM_SECONDS: Final = 30.0
"""How long the model is kept waiting for a store that takes nothing, before the run is given up for now."""

STOPPING: Final = "The server is stopping."
"""Why a log is closed that was neither lost nor given up: who makes its run is told to leave."""

_LARGE: Final = 1024  # characters from which on an event's length is counted: most are tokens

_encode = msgspec.json.Encoder().encode


class Where(Enum):
    """Where a reader finds what follows its place, if not in the answer."""

    STORED = "in the store, up to what is durable of this log; it is no longer here"
    LATER = "nowhere yet"
    OVER = "not here: the log was closed, and all of it is in the store"
    LOST = "nowhere: what follows is not stored, and another worker may write something else"


class Window:
    """Consecutive events with their numbers, of which the first may be let go of."""

    def __init__(self, after: int) -> None:
        self._events: list[Numbered] = []
        self._first = after + 1

    @property
    def last(self) -> int:
        """The number of the last event there was."""
        return self._first + len(self._events) - 1

    def append(self, event: Event) -> int:
        number = self.last + 1
        self._events.append((number, event))
        return number

    def after(self, seq: int, upto: int, limit: int) -> Sequence[Numbered] | None:
        """The events after ``seq`` up to the number ``upto``, at most so many; None if some of them are gone."""
        start = seq + 1 - self._first
        if start < 0:
            return None
        return self._events[start : start + max(0, min(upto - seq, limit))]

    def forget(self, upto: int) -> None:
        """Let go of the events up to this number."""
        count = min(upto, self.last) + 1 - self._first
        if count > 0:
            del self._events[:count]
            self._first += count

    def take_back(self, after: int) -> None:
        """As if the events after this number had never been."""
        while self._events and self._events[-1][0] > after:
            self._events.pop()


class LiveRun:
    """``token`` is the fencing token that the run's events are stored under. Sequence ids go on after ``after``.

    ``wants_flush`` is called when there is something to store; with True, when it is not to wait.
    """

    def __init__(
        self,
        run_id: str,
        token: int,
        after: int,
        *,
        wants_flush: Callable[[bool], None],
        closed: "Callable[[LiveRun], None]",
    ) -> None:
        self.run_id = run_id
        self.token = token
        self.lost = False  # another worker has the run: nothing of this log is stored any more
        self.why = STOPPING  # what readers are told whom the end of this log leaves without the rest
        self._wants_flush = wants_flush
        self._closed = closed
        self._window = Window(after)
        self._stored = after  # the last sequence id that is durable, or on its way
        self._durable = after  # the last sequence id that is known to be durable
        self._told = after  # the last sequence id that is not staged
        self._large: deque[tuple[int, int]] = deque()  # the lengths of large events that are not durable
        self._large_chars = 0
        self._waiting: list[asyncio.Future[None]] = []
        self._room: list[asyncio.Future[None]] = []
        self._flushed: asyncio.Future[None] | None = None
        self._open = True

    # What the run's own task asks of it.

    def append(self, event: Event, chars: int = 0) -> None:
        self._told = self._window.append(event)
        if chars >= _LARGE:
            self._large.append((self._told, chars))
            self._large_chars += chars
        if self._waiting:
            self._wake()
        self._wants_flush(self.presses)

    @property
    def full(self) -> bool:
        return self._told - self._durable >= UNSTORED_EVENTS or self._large_chars >= UNSTORED_CHARS

    async def room(self) -> None:
        while self.full:
            if self.lost:
                raise LeaseLost(self.run_id)
            waiter = asyncio.get_running_loop().create_future()
            self._room.append(waiter)
            try:
                async with asyncio.timeout(ROOM_SECONDS):
                    await waiter
            except TimeoutError:
                message = f"The database accepted no writes for {ROOM_SECONDS:g} seconds, in the middle of a reply."
                raise StoreUnavailable(message) from None

    async def settle(self) -> None:
        while self._flushed is not None:
            await asyncio.wait([self._flushed])

    def stage(self, *events: Event) -> EventChunk | None:
        for event in events:
            self._window.append(event)
        return self._chunk(self._window.last)

    def stored(self, chunk: EventChunk | None) -> None:
        self._arrived()
        if chunk is None:
            return
        self._durable = max(self._durable, chunk.last)
        self._told = max(self._told, chunk.last)
        while self._large and self._large[0][0] <= self._durable:
            self._large_chars -= self._large.popleft()[1]
        self._window.forget(min(self._durable, self._window.last - KEPT_EVENTS))
        self._wake()

    def discard(self, chunk: EventChunk | None) -> None:
        self._window.take_back(self._told)
        if chunk is not None:
            self.unstore(chunk)

    def lose(self) -> None:
        self._arrived()
        self.lost = True
        self.why = "Another worker took the run over."
        self._wake()

    def give_up(self, why: str) -> None:
        self.why = why
        self.lost = True

    def close(self) -> None:
        self._open = False
        # What was shown and is not stored nobody is shown again: its readers must not go on in what others store.
        self.lost |= self._durable < self._window.last
        self._closed(self)
        self._wake()

    # What readers ask of it.

    @property
    def durable(self) -> int:
        """The last sequence id that is known to be in the store as this log told it."""
        return self._durable

    def after(self, seq: int, *, mine: bool) -> Sequence[Numbered] | Where:
        """What follows for a reader that has everything up to ``seq``: never empty, the very next event first.

        ``mine`` says that this log showed it ``seq``. Whoever read further in the store than this log knows of may
        have read what another worker stored, and is shown nothing of the same numbers.
        """
        batch: Sequence[Numbered] | None = ()
        if mine or seq <= self._durable:
            batch = self._window.after(seq, min(self._told, self._durable + AHEAD), BATCH_EVENTS)
        if batch is None:
            return Where.STORED  # only what is durable is ever let go of
        if batch:
            return batch
        if self._open:
            return Where.LATER
        return Where.LOST if self.lost else Where.OVER

    async def change(self) -> None:
        """Wait until the answer to a reader may be another one."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        await waiter

    # What whoever stores it asks of it.

    @property
    def unflushed(self) -> bool:
        return not self.lost and self._told > self._stored

    @property
    def presses(self) -> bool:
        """Whether so much waits for the store that it is to be stored at once."""
        return self._told - self._stored >= PRESSING or self._large_chars >= UNSTORED_CHARS

    def flushable(self) -> EventChunk | None:
        """What was told and is not stored; staged events are their transaction's to store."""
        chunk = None if self.lost else self._chunk(min(self._told, self._stored + CHUNK_EVENTS))
        if chunk is not None:
            self._flushed = asyncio.get_running_loop().create_future()
        return chunk

    def unstore(self, chunk: EventChunk) -> None:
        """The chunk could not be written: what readers have seen of it is to be written again."""
        self._arrived()
        self._stored = min(self._stored, chunk.first - 1)

    def _chunk(self, upto: int) -> EventChunk | None:
        """The events after the last stored one up to ``upto``, from now on counted as on their way."""
        first = self._stored + 1
        if upto < first:
            return None
        unstored = self._window.after(self._stored, upto, upto)
        if unstored is None:
            message = f"the log of {self.run_id} let go of events that are not stored"
            raise AssertionError(message)
        self._stored = upto
        return EventChunk(first, upto, _encode([event for _, event in unstored]))

    def _arrived(self) -> None:
        """What was on its way is stored, or was not."""
        if self._flushed is not None:
            self._flushed.set_result(None)
            self._flushed = None

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        if self._room and (self.lost or not self.full):
            waiting += self._room
            self._room = []
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)
