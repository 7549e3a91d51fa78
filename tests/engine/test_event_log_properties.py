"""Whatever is told, stored, refused, taken over and read in whatever order: no reader is ever told a wrong reply.

Two workers have one store, which takes what it is given when the test lets it, or fails. Nothing here waits for time,
and all limits are small, so that a few events go over them.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import aclosing
from functools import partial
from types import SimpleNamespace
from typing import Any, TypeAlias, TypeVar, cast

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tertulia.domain.errors import LeaseLost, StoreUnavailable, StreamInterrupted
from tertulia.domain.events import Ended, Event, Resumed, TextDelta
from tertulia.engine.lifecycle.in_order import in_order
from tertulia.ports.event_log import Numbered
from tertulia.ports.events import EventChunk
from tertulia.ports.signals import Listener, Topic
from tertulia.ports.store import Store, Transaction
from tertulia.store import event_log, live_run
from tertulia.store.event_log import StoredEventLog
from tertulia.store.live_run import LiveRun

T = TypeVar("T")
RUN = "run-1"
ROUNDS = 40  # of the loop: more than anything here takes that waits for nothing
SMALL = {"KEPT_EVENTS": 2, "AHEAD": 6, "BATCH_EVENTS": 3, "CHUNK_EVENTS": 5, "PRESSING": 3, "UNSTORED_EVENTS": 12}

Act: TypeAlias = tuple[str, int]
"""What is done, and how much of it or to which."""


class Chunks:
    """The store's events of one run; only who has its token may write."""

    def __init__(self) -> None:
        self.rows: dict[int, EventChunk] = {}
        self.token = 1
        self.status = "running"
        self.events = self
        self.runs = self

    def get(self, _run_id: str) -> Any:
        return SimpleNamespace(status=self.status)

    def append(self, _run_id: str, chunk: EventChunk, token: int | None = None) -> None:
        if token not in (None, self.token):
            raise LeaseLost(RUN)
        before = max((row.last for first, row in self.rows.items() if first < chunk.first), default=0)
        assert chunk.first == before + 1, "the store would have a gap, or an event twice"
        self.rows[chunk.first] = chunk

    def append_many(self, chunks: Sequence[tuple[str, int, EventChunk]]) -> set[str]:
        for _, token, chunk in chunks:
            if token != self.token:
                return {RUN}
            self.append(RUN, chunk)
        return set()

    def after(self, _run_id: str, seq: int, within: int, limit: int) -> list[EventChunk]:
        rows = sorted(self.rows.items())
        return [row for first, row in rows if row.last > seq and first <= seq + within][:limit]

    def kept(self, _run_id: str) -> bool:
        return bool(self.rows)

    def told(self) -> list[Event]:
        decode = msgspec.json.Decoder(list[Event]).decode
        return [event for _, row in sorted(self.rows.items()) for event in decode(row.data)]


class SlowStore:
    """One worker's way to the store. ``held`` works are done, or not, when the test says so."""

    def __init__(self, chunks: Chunks) -> None:
        self.chunks = chunks
        self.held: list[asyncio.Future[None]] = []
        self.holds = False

    async def read(self, work: Callable[[Transaction], T]) -> T:
        await asyncio.sleep(0)
        return work(cast("Transaction", self.chunks))

    async def write(self, work: Callable[[Transaction], T]) -> T:
        if self.holds:
            turn = asyncio.get_running_loop().create_future()
            self.held.append(turn)
            await turn
        await asyncio.sleep(0)
        result = work(cast("Transaction", self.chunks))
        await asyncio.sleep(0)  # it is there before whoever asked knows of it
        return result

    def let_go(self, error: Exception | None = None) -> None:
        held, self.held = self.held, []
        for turn in held:
            turn.set_exception(error) if error else turn.set_result(None)


class Bus:
    """The signals of both workers."""

    def __init__(self) -> None:
        self._told: list[Listener] = []

    def subscribe(self, topic: Topic, listener: Listener) -> None:
        del topic
        self._told.append(listener)

    def publish(self, topic: Topic, ids: Sequence[str]) -> None:
        del topic
        for told in self._told:
            told(ids)

    async def start(self) -> None: ...
    async def close(self) -> None: ...


class Reader:
    """Reads as fast as it is let to. ``end`` is how it ended."""

    def __init__(self, log: StoredEventLog, after: int) -> None:
        self.after = after
        self.got: list[Numbered] = []
        self.end = ""
        self.may = asyncio.Semaphore(0)
        self.task = asyncio.create_task(self._read(log))

    async def _read(self, log: StoredEventLog) -> None:
        try:
            async with aclosing(in_order(log.follow(RUN, self.after), RUN, self.after)) as batches:
                async for batch in batches:
                    self.got += batch
                    await self.may.acquire()
            self.end = "over"
        except StreamInterrupted as interrupted:
            self.end = "out of order" if "order" in interrupted.message else "told"


class World:
    """One run, told by whichever worker has it."""

    def __init__(self) -> None:
        bus = Bus()
        self.chunks = Chunks()
        self.stores = [SlowStore(self.chunks) for _ in range(2)]
        self.logs = [StoredEventLog(cast("Store", store), bus) for store in self.stores]
        self.views: list[list[Event]] = []  # what each holder of the run told, with what was stored before it
        self.opened: list[LiveRun] = []
        self.readers: list[Reader] = []
        self.committing: asyncio.Task[None] | None = None
        self.number = 0
        self.owner = 0
        self._open(1, [])

    def _open(self, token: int, stored: list[Event]) -> None:
        self.views.append(stored)
        self.opened.append(self.logs[self.owner].open(RUN, token, len(stored)))

    @property
    def live(self) -> LiveRun:
        return self.opened[-1]

    def event(self) -> Event:
        self.number += 1
        return TextDelta(f"message-{len(self.views)}", "otid", "step-1", 1.0, f"t{self.number}")

    def tell(self, count: int) -> None:
        for _ in range(count):
            if self._busy or self.live.full:
                return
            event = self.event()
            self.views[-1].append(event)
            self.live.append(event)

    @property
    def _busy(self) -> bool:
        return self.committing is not None and not self.committing.done()

    def commit(self, *events: Event, tries: int = 1) -> None:
        if not self._busy:
            self.committing = asyncio.create_task(self._commit(list(events), tries))

    async def _commit(self, events: list[Event], tries: int) -> None:
        live, view, store = self.live, self.views[-1], self.stores[self.owner]
        await live.settle()
        chunk = live.stage(*events)
        if chunk is None:
            return
        for _ in range(tries):
            try:
                await store.write(lambda tx: tx.events.append(RUN, chunk, live.token))
            except (StoreUnavailable, LeaseLost):
                continue
            view += events
            live.stored(chunk)
            return
        live.discard(chunk)

    def take_over(self) -> None:
        """The other worker has the run from here on; the one before finds out by itself."""
        chunks = self.chunks
        chunks.token += 1
        stored = [*chunks.told(), Resumed(RUN, 1.0)]
        chunks.append(RUN, EventChunk(len(stored), len(stored), msgspec.json.encode(stored[-1:])))
        self.owner = 1 - self.owner
        self.committing = None
        self._open(chunks.token, stored)
        self.logs[1 - self.owner].changed(RUN)

    def read(self, after: int) -> None:
        """By either worker, from the beginning or from a place that everybody knows of."""
        known = min(after // 2, len(self.chunks.told()))
        self.readers.append(Reader(self.logs[after % 2], known))

    def hold(self, worker: int) -> None:
        self.stores[worker % 2].holds = True

    def release(self, worker: int) -> None:
        self.stores[worker % 2].holds = False
        self.stores[worker % 2].let_go()

    def fail(self, worker: int) -> None:
        self.stores[worker % 2].let_go(StoreUnavailable("The disk is full."))

    def let_read(self, count: int) -> None:
        for _ in range(count):
            self.readers[count % len(self.readers)].may.release()

    def cut(self, number: int) -> None:
        """One that has lost the run finds out, whichever way."""
        if self.opened[:-1]:
            self.opened[number % (len(self.opened) - 1)].close()

    def act(self, act: Act) -> None:
        kind, count = act
        if kind == "commit":
            self.commit(*(self.event() for _ in range(count % 4)))
        elif kind == "take over":
            self.take_over()
        elif kind != "go round":
            getattr(self, kind.replace(" ", "_"))(count)

    async def finish(self) -> None:
        """Let everything go on, and the run come to its end."""
        self.release(0)
        self.release(1)
        for reader in self.readers:
            for _ in range(1000):
                reader.may.release()
        if self.committing is not None:
            await asyncio.wait([self.committing])
        for live in self.opened[:-1]:
            live.close()
        self.commit(Ended(), tries=100)
        if self.committing is not None:
            await asyncio.wait([self.committing])
        self.chunks.status = "completed"
        self.live.close()
        for log in self.logs:
            log.changed(RUN)
        await asyncio.wait_for(asyncio.gather(*(reader.task for reader in self.readers)), 10)

    def check(self) -> None:
        whole = self.chunks.told()
        assert whole == self.views[-1]
        assert "out of order" not in {reader.end for reader in self.readers}, "the guard had something to do"
        for reader in self.readers:
            got = [event for _, event in reader.got]
            assert [number for number, _ in reader.got] == list(range(reader.after + 1, reader.after + 1 + len(got)))
            if reader.end == "over":
                assert got == whole[reader.after :], "a reader was told a wrong reply"
            else:
                assert any(got == view[reader.after :][: len(got)] for view in self.views), "two workers' replies mixed"


async def _play(acts: Sequence[Act], rounds: int) -> None:
    world = World()
    world.read(0)
    for act in acts:
        world.act(act)
        for _ in range(ROUNDS if act[0] == "go round" else rounds):
            await asyncio.sleep(0)
    await world.finish()
    world.check()
    for log in world.logs:
        await log.close()


def _run(make: Callable[[], Coroutine[Any, Any, None]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SMALL.items():
            patch.setattr(live_run, name, value)
        for name, value in {"FLUSH_SECONDS": 0, "_PAUSES": 0, "READ_EVENTS": 4, "READ_CHUNKS": 2}.items():
            patch.setattr(event_log, name, value)
        asyncio.run(make())


KINDS = [
    "tell",
    "tell",
    "tell",
    "commit",
    "hold",
    "release",
    "fail",
    "take over",
    "read",
    "let read",
    "cut",
    "go round",
]
ACTS = st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 9)), max_size=40)


@settings(max_examples=300, deadline=None)
@given(acts=ACTS, rounds=st.integers(0, 3))
def test_every_reader_has_every_event_once_and_in_order_or_is_told(acts: list[Act], rounds: int) -> None:
    _run(partial(_play, acts, rounds))


def test_a_burst_that_is_stored_and_trimmed_before_any_reader_looks_reaches_all_of_them() -> None:
    """What once gave ``t499`` and then ``t1971``: told, flushed and trimmed between a reader's waking and its look."""
    burst: list[Act] = [("read", 0), ("go round", 0), *[("tell", 9), ("go round", 0)] * 12]
    _run(partial(_play, burst, 0))
    _run(partial(_play, burst, 1))


def test_a_reader_of_a_worker_that_lost_the_run_unawares_is_shown_one_workers_reply_alone() -> None:
    """It reads the store, where the other worker's events have the numbers of some that are in memory here."""
    acts: list[Act] = [
        *[("tell", 9), ("go round", 0)] * 2,
        ("hold", 0),
        ("tell", 9),
        ("go round", 0),
        ("take over", 0),
        *[("tell", 9), ("go round", 0)] * 2,
        *[("let read", 9), ("go round", 0)] * 3,
    ]
    _run(partial(_play, acts, 0))
