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

from tertulia.domain.errors import NotFound, StoreUnavailable
from tertulia.domain.events import Ended, Event
from tertulia.domain.runs import ACTIVE_STATUSES
from tertulia.ports.event_log import Numbered
from tertulia.ports.signals import NoSignals, Signals
from tertulia.ports.store import EventChunk, Store, Transaction
from tertulia.ports.telemetry import EventsStored, Telemetry, no_telemetry
from tertulia.store.live_run import LiveRun

FLUSH_SECONDS = 0.05
LONGEST_FLUSH_SECONDS = 1.0
LOOK_SECONDS = 2.0

_PAUSES = 9
"""How many times as long as a flush took is waited before the next."""

_log = structlog.get_logger(__name__)
_decoder = msgspec.json.Decoder(list[Event])


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
        self._flushing: asyncio.Task[None] | None = None
        self._pause = FLUSH_SECONDS
        self._closed = False
        self._unstored_since: float | None = None

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
        seq, known = after, False
        live: LiveRun | None = None
        while not self._closed:
            live = live or self._live.get(run_id)  # which is read to its end, whatever came in its place
            if live is not None and live.has(seq + 1):
                known = True
                if not await live.wait(seq):
                    if live.lost:
                        return  # what this reader was shown last may not be what the store has
                    live = None
                    continue
                batch = live.shown_after(seq)
            else:
                changed = self._watched.setdefault(run_id, asyncio.Event())
                batch, over = await self._store.read(partial(_next, run_id, seq, known))
                if not batch:
                    if over:
                        return
                    known = True
                    if run_id not in self._live:
                        await self._change(run_id, changed)
                    continue
                known = True
            yield batch
            seq = batch[-1][0]
            if isinstance(batch[-1][1], Ended):
                return

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
        if self._flush_due is not None:
            self._flush_due.cancel()
        if self._flushing is not None:
            await self._flushing
        self._closed = True
        await self._flush()
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

    def _schedule(self) -> None:
        if self._flush_due is None and self._flushing is None and not self._closed:
            self._flush_due = asyncio.get_running_loop().call_later(self._pause, self._start_flush)
            if self._unstored_since is None:
                self._unstored_since = time.monotonic()

    def _start_flush(self) -> None:
        self._flush_due = None
        self._flushing = asyncio.get_running_loop().create_task(self._flush())

    async def _flush(self) -> None:
        due = [(run, chunk) for run in self._live.values() if (chunk := run.flushable()) is not None]
        again, count, begun = False, 0, time.monotonic()
        try:
            if due:
                lost = await self._store.write(partial(_append_all, due))
                for run, chunk in due:
                    if run in lost:
                        run.lose()
                    else:
                        run.stored(chunk)
                self._signals.publish("events", [run.run_id for run, _ in due])
                count = sum(chunk.last - chunk.first + 1 for _, chunk in due)
        except BaseException as error:
            # Readers have the events from memory; the next flush, or the run's own transaction, stores them.
            for run, chunk in due:
                run.unstore(chunk)
            if not isinstance(error, StoreUnavailable):
                raise
            again = True
            _log.warning("events_not_stored", runs=len(due), error=str(error))
        finally:
            self._flushing = None
            self._measure(len(due), count, time.monotonic() - begun)
        if not again:
            self._unstored_since = None
        # What was told meanwhile, or could not be stored.
        if again or any(run.unflushed for run in self._live.values()):
            self._schedule()

    def _measure(self, runs: int, count: int, took: float) -> None:
        # With very many live runs, storing is not to take more than a part of the time.
        self._pause = min(max(FLUSH_SECONDS, _PAUSES * took), LONGEST_FLUSH_SECONDS)
        if runs:
            self._telemetry(EventsStored(count, took))


def _append_all(due: Sequence[tuple[LiveRun, EventChunk]], tx: Transaction) -> Sequence[LiveRun]:
    """Store the chunks; of which runs they were refused, because they were taken over or deleted meanwhile."""
    refused = tx.events.append_many([(run.run_id, run.token, chunk) for run, chunk in due])
    return [run for run, _ in due if run.run_id in refused]


def _next(run_id: str, seq: int, known: bool, tx: Transaction) -> tuple[list[Numbered], bool]:  # noqa: FBT001
    """The stored events after ``seq``, and whether none can follow.

    :raises NotFound: if no event of such a run was ever kept, unless the run is ``known`` already.
    """
    events = _events_after(tx.events.after(run_id, seq), seq)
    if events:
        return events, False
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
