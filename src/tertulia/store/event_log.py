"""The event log: runs of this process from memory, all others from the store.

A live run's events are shown to the readers of its own process at once and written to the store in batches, every
``FLUSH_SECONDS`` for all runs together; a run that ends sooner is stored with its last transaction and costs no write
of its own. Readers select by sequence id; those of other workers' runs are woken by signals, and look by themselves
every ``LOOK_SECONDS`` in case one was lost.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from functools import partial
from weakref import WeakValueDictionary

import msgspec
import structlog

from tertulia.domain.errors import NotFound, StoreUnavailable, StreamInterrupted
from tertulia.domain.events import Ended, Event
from tertulia.domain.runs import ACTIVE_STATUSES
from tertulia.ports.event_log import Numbered
from tertulia.ports.events import EventChunk
from tertulia.ports.rounds import turn
from tertulia.ports.signals import NoSignals, Signals
from tertulia.ports.store import Store, Transaction
from tertulia.ports.telemetry import EventsStored, Telemetry, no_telemetry
from tertulia.store.live_run import STOPPING, LiveRun, Where

FLUSH_SECONDS = 0.05
LONGEST_FLUSH_SECONDS = 1.0
LOOK_SECONDS = 2.0

READ_EVENTS = 1000
READ_CHUNKS = 32
"""How much of a log is read from the store at once."""

_PAUSES = 9
"""How many times as long as a flush took is waited before the next."""

_log = structlog.get_logger(__name__)
_decoder = msgspec.json.Decoder(list[Event])


class _Place:
    """Where a reader is: it has all up to ``seq``.

    ``live`` is the log of this process that it reads, to its end, whatever comes in its place; ``mine`` says that it
    was shown ``seq`` by that. A run is ``known`` once something of it was seen.
    """

    __slots__ = ("_after", "known", "live", "mine", "run_id", "seq")

    def __init__(self, run_id: str, after: int) -> None:
        self.run_id = run_id
        self.seq = self._after = after
        self.live: LiveRun | None = None
        self.mine = False
        self.known = False

    def enter(self, live: LiveRun | None) -> None:
        self.known |= live is not None or self.live is not None
        self.live, self.mine = live, False

    def over(self) -> None:
        """Nothing follows.

        :raises StreamInterrupted: if what the reader was given so far is not all of the run.
        """
        if self.seq != self._after:
            raise StreamInterrupted(self.run_id, "The rest of this run's events is no longer kept.")


class StoredEventLog:
    """The events of all runs in one store, which other workers may write as well."""

    def __init__(self, store: Store, signals: Signals | None = None, telemetry: Telemetry = no_telemetry) -> None:
        self._store = store
        self._telemetry = telemetry
        self._signals = signals or NoSignals()
        self._signals.subscribe("events", self.wake)
        self._live: dict[str, LiveRun] = {}
        # An event lives as long as a reader holds it: runs that nobody waits for any more leave nothing behind.
        self._watched: WeakValueDictionary[str, asyncio.Event] = WeakValueDictionary()
        self._flush_due: asyncio.TimerHandle | None = None
        self._flushing: asyncio.Task[bool] | None = None
        self._pause = FLUSH_SECONDS
        self._closed = False
        self._unstored_since: float | None = None
        self._failing_with: str | None = None

    @property
    def lag(self) -> float:
        """How long the oldest event that is not stored yet has waited for it, in seconds."""
        return 0.0 if self._unstored_since is None else time.monotonic() - self._unstored_since

    def open(self, run_id: str, token: int = 1, after: int = 0) -> LiveRun:
        run = LiveRun(run_id, token, after, wants_flush=self._schedule, closed=self._forget)
        self._live[run_id] = run
        self.wake([run_id])
        return run

    async def follow(self, run_id: str, after: int = 0) -> AsyncGenerator[Sequence[Numbered], None]:
        place = _Place(run_id, after)
        while not self._closed:
            batches = await self._following(place)
            if batches is None:
                return
            for batch in batches:
                yield batch
                place.seq = batch[-1][0]
                if isinstance(batch[-1][1], Ended):
                    return
        raise StreamInterrupted(run_id, STOPPING)

    async def _following(self, place: "_Place") -> Sequence[Sequence[Numbered]] | None:
        """What follows the place, after a wait where that is nothing yet; None if nothing can follow.

        :raises StreamInterrupted: if it cannot be had, though the run has not ended there.
        """
        if place.live is None:
            place.enter(self._live.get(place.run_id))
        live = place.live
        if live is None:
            return await self._stored_elsewhere(place)
        answer = live.after(place.seq, mine=place.mine)
        if not isinstance(answer, Where):
            place.mine = True
            return (answer,)
        match answer:
            case Where.LATER:
                await live.change()
            case Where.STORED:
                # No more than the log knows to be its own: another worker may have written what comes after.
                upto = live.durable
                chunks, _ = await self._store.read(partial(_next, place.run_id, place.seq, known=True))
                if not chunks:
                    return place.over()
                return await _decode(chunks, place.seq, upto)
            case Where.OVER:
                place.enter(None)
            case Where.LOST:
                raise StreamInterrupted(place.run_id, live.why)
        return ()

    async def _stored_elsewhere(self, place: "_Place") -> Sequence[Sequence[Numbered]] | None:
        changed = self._watched.setdefault(place.run_id, asyncio.Event())
        chunks, over = await self._store.read(partial(_next, place.run_id, place.seq, known=place.known))
        place.known = True
        if over:
            return place.over()
        if not chunks and place.run_id not in self._live:
            await self._change(place.run_id, changed)
        return await _decode(chunks, place.seq)

    def wake(self, run_ids: Sequence[str] | None) -> None:
        """The runs have new events in the store; None: any may have."""
        for run_id in list(self._watched) if run_ids is None else run_ids:
            changed = self._watched.pop(run_id, None)
            if changed is not None:
                changed.set()

    def changed(self, run_id: str) -> None:
        """Tell readers everywhere of events that were stored without a log of this process."""
        self.wake([run_id])
        self._signals.publish("events", [run_id])

    async def close(self) -> None:
        """Store what can be, and let all readers go."""
        self._closed = True
        if self._flush_due is not None:
            self._flush_due.cancel()
        if self._flushing is not None:
            await self._flushing
        while any(run.unflushed for run in self._live.values()) and await self._flush():
            pass
        for run in list(self._live.values()):
            run.close()
        self.wake(None)

    async def _change(self, run_id: str, changed: asyncio.Event) -> None:
        try:
            await asyncio.wait_for(changed.wait(), LOOK_SECONDS)
        except TimeoutError:
            if self._watched.get(run_id) is changed:
                self.wake([run_id])

    def _forget(self, run: LiveRun) -> None:
        if self._live.get(run.run_id) is run:
            del self._live[run.run_id]
        self._signals.publish("events", [run.run_id])

    def _schedule(self, now: bool = False) -> None:  # noqa: FBT001, FBT002  a callback's argument
        if self._flushing is not None or self._closed:
            return  # what is stored now is looked at again when it is done
        if self._flush_due is None:
            if self._unstored_since is None:
                self._unstored_since = time.monotonic()
        elif not now or self._pause == 0:
            return
        else:
            self._flush_due.cancel()
        self._pause = 0 if now else self._pause
        self._flush_due = asyncio.get_running_loop().call_later(self._pause, self._start_flush)

    def _start_flush(self) -> None:
        self._flush_due = None
        self._flushing = asyncio.get_running_loop().create_task(self._flush())

    async def _flush(self) -> bool:
        """Store some of what every run told; whether that was possible."""
        due: list[tuple[LiveRun, EventChunk]] = []
        begun, stored = time.monotonic(), False
        try:
            for run in list(self._live.values()):
                if run.unflushed:
                    await turn()
                    if (chunk := run.flushable()) is not None:
                        due.append((run, chunk))
            stored = await self._store_chunks(due)
        finally:
            self._flushing = None
            count = sum(chunk.last - chunk.first + 1 for _, chunk in due) if stored else 0
            self._measure(len(due), count, time.monotonic() - begun)
        if stored:
            self._unstored_since = None
        # What was told meanwhile, or could not be stored.
        left = [run for run in self._live.values() if run.unflushed]
        if left:
            self._schedule(now=stored and any(run.presses for run in left))
        return stored

    async def _store_chunks(self, due: Sequence[tuple[LiveRun, EventChunk]]) -> bool:
        """Whether they could be stored. If not, the next flush stores them, or each run's own transaction."""
        if not due:
            return True
        try:
            lost = await self._store.write(partial(_append_all, due))
        except BaseException as error:
            for run, chunk in due:
                run.unstore(chunk)
            if not isinstance(error, Exception):
                raise
            # Readers have the events from memory. A run that waits for the store for long is given up with a word.
            if str(error) != self._failing_with:  # once, however often it is tried again
                _log.warning("events_not_stored", runs=len(due), error=str(error), exc_info=_is_unexpected(error))
            self._failing_with = str(error)
            return False
        if self._failing_with is not None:
            self._failing_with = None
            _log.info("events_stored_again")
        for run, chunk in due:
            if run in lost:
                run.lose()
            else:
                run.stored(chunk)
        self._signals.publish("events", [run.run_id for run, _ in due])
        return True

    def _measure(self, runs: int, count: int, took: float) -> None:
        # With very many live runs, storing is not to take more than a part of the time.
        self._pause = min(max(FLUSH_SECONDS, _PAUSES * took), LONGEST_FLUSH_SECONDS)
        if runs:
            self._telemetry(EventsStored(count, took))


def _is_unexpected(error: BaseException) -> bool:
    return not isinstance(error, StoreUnavailable)


def _append_all(due: Sequence[tuple[LiveRun, EventChunk]], tx: Transaction) -> Sequence[LiveRun]:
    """Store the chunks; of which runs they were refused, because they were taken over or deleted meanwhile."""
    refused = tx.events.append_many([(run.run_id, run.token, chunk) for run, chunk in due])
    return [run for run, _ in due if run.run_id in refused]


def _next(run_id: str, seq: int, tx: Transaction, *, known: bool) -> tuple[list[EventChunk], bool]:
    """Stored chunks with the events after ``seq``, and whether none can follow.

    :raises NotFound: if no event of such a run was ever kept, unless the run is ``known`` already.
    """
    chunks = _consecutive(tx.events.after(run_id, seq, READ_EVENTS, READ_CHUNKS), seq)
    if chunks:
        return chunks, False
    try:
        run = tx.runs.get(run_id)
    except NotFound:
        if known:
            return [], True  # deleted meanwhile
        raise
    if run.status in ACTIVE_STATUSES:
        return [], False
    if not known and not tx.events.kept(run_id):
        raise NotFound("Run", run_id)
    return [], True


def _consecutive(chunks: Sequence[EventChunk], seq: int) -> list[EventChunk]:
    """The chunks that go on from ``seq``, up to a gap, which is a flush still on its way."""
    consecutive: list[EventChunk] = []
    for chunk in chunks:
        if chunk.first > seq + 1:
            break
        consecutive.append(chunk)
        seq = max(seq, chunk.last)
    return consecutive


async def _decode(chunks: Sequence[EventChunk], seq: int, upto: int | None = None) -> list[Sequence[Numbered]]:
    """The events of the chunks after ``seq``, no further than ``upto``."""
    batches: list[Sequence[Numbered]] = []
    for chunk in chunks:
        await turn()
        last = chunk.last if upto is None else min(chunk.last, upto)
        events = list(enumerate(_decoder.decode(chunk.data), chunk.first))
        batch = events[max(0, seq + 1 - chunk.first) : max(0, last + 1 - chunk.first)]
        if batch:
            batches.append(batch)
            seq = last
    return batches
