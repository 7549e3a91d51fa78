"""The event log in one process: live runs in memory, everything in the store.

A live run's events are shown to local readers at once and written to the store in batches, every ``FLUSH_SECONDS`` for
all runs together; a run that ends sooner is stored with its last transaction and costs no write of its own. Readers
select by sequence id, from memory where the event still is and from the store otherwise.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import suppress
from functools import partial

import msgspec
import structlog

from tertulia.domain.errors import NotFound, StoreUnavailable
from tertulia.domain.events import Ended, Event
from tertulia.ports.event_log import Numbered
from tertulia.ports.store import EventChunk, Store, Transaction

FLUSH_SECONDS = 0.05
KEPT_EVENTS = 4096
"""How many stored events a live run keeps in memory; readers further behind read the store."""

_log = structlog.get_logger(__name__)
_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(list[Event])


class LiveRun:
    """The log of one run that this process writes."""

    def __init__(
        self, run_id: str, after: int, *, wants_flush: Callable[[], None], closed: Callable[[str], None]
    ) -> None:
        self._run_id = run_id
        self._wants_flush = wants_flush
        self._closed = closed
        self._events: list[Event] = []
        self._first = after + 1  # the sequence id of _events[0]
        self._stored = after  # the last sequence id that is durable, or on its way by the flusher
        self._shown = after  # the last sequence id that readers see
        self._waiting: list[asyncio.Future[None]] = []
        self._open = True

    @property
    def last(self) -> int:
        return self._first + len(self._events) - 1

    def append(self, event: Event) -> None:
        self._events.append(event)
        self._shown = self.last
        self._wake()
        self._wants_flush()

    def stage(self, *events: Event) -> EventChunk | None:
        self._events.extend(events)
        return self.unstored(self.last)

    def unstored(self, upto: int) -> EventChunk | None:
        """The events after the last stored one up to ``upto``, from now on counted as on their way."""
        first = self._stored + 1
        if upto < first:
            return None
        self._stored = upto
        return EventChunk(first, upto, _encoder.encode(self._events[first - self._first : upto - self._first + 1]))

    def flushable(self) -> EventChunk | None:
        """What readers have seen and the store has not; staged events are their transaction's to store."""
        return self.unstored(self._shown)

    def stored(self, chunk: EventChunk | None) -> None:
        if chunk is not None and chunk.last > self._shown:
            self._shown = chunk.last
            self._wake()
        surplus = len(self._events) - KEPT_EVENTS
        if surplus > 0:
            surplus = min(surplus, self._stored - self._first + 1)
            del self._events[:surplus]
            self._first += surplus

    def discard(self, chunk: EventChunk | None) -> None:
        del self._events[self._shown - self._first + 1 :]
        if chunk is not None:
            self.unstore(chunk)

    def unstore(self, chunk: EventChunk) -> None:
        """The chunk could not be written: what readers have seen of it is to be written again."""
        self._stored = min(self._stored, chunk.first - 1)

    def close(self) -> None:
        self._open = False
        self._closed(self._run_id)
        self._wake()

    def has(self, seq: int) -> bool:
        """Whether the event is still in memory, or will come here."""
        return seq >= self._first

    def shown_after(self, seq: int) -> list[Numbered]:
        start = seq + 1
        return list(enumerate(self._events[start - self._first : self._shown - self._first + 1], start))

    async def wait(self, seq: int) -> bool:
        """Wait for an event after ``seq``; False when none will come."""
        while self._shown <= seq:
            if not self._open:
                return False
            waiter = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            await waiter
        return True

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)


class LocalEventLog:
    """The event log of a server that is one process."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._live: dict[str, LiveRun] = {}
        self._flush_due: asyncio.TimerHandle | None = None
        self._flushing: asyncio.Task[None] | None = None

    def open(self, run_id: str, after: int = 0) -> LiveRun:
        run = LiveRun(run_id, after, wants_flush=self._schedule, closed=self._forget)
        self._live[run_id] = run
        return run

    async def follow(self, run_id: str, after: int = 0) -> AsyncGenerator[Sequence[Numbered], None]:
        seq, known = after, False
        while True:
            live = self._live.get(run_id)
            if live is not None and live.has(seq + 1):
                known = True
                if not await live.wait(seq):
                    return
                batch = live.shown_after(seq)
            else:
                chunks = await self._store.read(partial(_chunks_after, run_id, seq))
                batch = _events_after(chunks, seq)
                if not batch:
                    if live is not None or run_id in self._live:
                        continue
                    if not known and not await self._store.read(partial(_chunks_after, run_id, 0)):
                        raise NotFound("Run", run_id)
                    return
                known = True
            yield batch
            seq = batch[-1][0]
            if isinstance(batch[-1][1], Ended):
                return

    def _forget(self, run_id: str) -> None:
        self._live.pop(run_id, None)

    def _schedule(self) -> None:
        if self._flush_due is None and self._flushing is None:
            self._flush_due = asyncio.get_running_loop().call_later(FLUSH_SECONDS, self._start_flush)

    def _start_flush(self) -> None:
        self._flush_due = None
        self._flushing = asyncio.get_running_loop().create_task(self._flush())

    async def _flush(self) -> None:
        due = [(run_id, run, chunk) for run_id, run in self._live.items() if (chunk := run.flushable()) is not None]
        try:
            if due:
                await self._store.write(partial(_append_all, [(run_id, chunk) for run_id, _, chunk in due]))
            for _, run, chunk in due:
                run.stored(chunk)
        except BaseException as error:
            # Readers have the events from memory; the next flush, or the run's own transaction, stores them.
            for _, run, chunk in due:
                run.unstore(chunk)
            if not isinstance(error, StoreUnavailable):
                raise
            _log.warning("events_not_stored", runs=len(due), error=str(error))
        finally:
            self._flushing = None


def _append_all(chunks: Sequence[tuple[str, EventChunk]], tx: Transaction) -> None:
    for run_id, chunk in chunks:
        with suppress(NotFound):  # a run that was deleted meanwhile; the others' events are theirs
            tx.events.append(run_id, chunk)


def _chunks_after(run_id: str, seq: int, tx: Transaction) -> list[EventChunk]:
    return tx.events.after(run_id, seq)


def _events_after(chunks: Sequence[EventChunk], seq: int) -> list[Numbered]:
    """The events of the chunks after ``seq``, stopping at a gap, which is a flush still on its way."""
    numbered: list[Numbered] = []
    for chunk in chunks:
        if chunk.first > seq + 1:
            break
        events = list(enumerate(_decoder.decode(chunk.data), chunk.first))[seq + 1 - chunk.first :]
        numbered += events
        seq = max(seq, chunk.last)
    return numbered
