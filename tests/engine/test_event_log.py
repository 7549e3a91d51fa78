"""The event log: every reader sees each event once, in order, during the run and after it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest
from msgspec.structs import replace

from tertulia.domain.clock import utc_now
from tertulia.domain.errors import NotFound, StreamInterrupted
from tertulia.domain.events import Ended, Event, RunStarted, Stopped, TextDelta
from tertulia.ports.store import Store
from tertulia.store.event_log import StoredEventLog
from tertulia.store.sqlite.store import open_sqlite
from tests.support.rows import store_run
from tests.support.sqlite_files import with_tables

pytestmark = pytest.mark.anyio


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = await open_sqlite(with_tables(tmp_path / "tertulia.db"))
    yield store
    await store.close()


def _delta(text: str) -> TextDelta:
    return TextDelta("message-1", "otid", "step-1", utc_now().timestamp(), text)


async def _read(log: StoredEventLog, run_id: str, after: int = 0) -> list[tuple[int, Event]]:
    async with aclosing(log.follow(run_id, after)) as batches:
        return [numbered async for batch in batches for numbered in batch]


async def _stored(store: Store, run_id: str) -> None:
    """Wait until the store has an event of the run; each look at it is a turn of the loop."""
    async with asyncio.timeout(10):
        while not await store.read(lambda tx: tx.events.after(run_id, 0)):
            pass


async def test_readers_during_and_after_the_run_see_the_same(store: Store) -> None:
    run, log = await store_run(store), StoredEventLog(store)
    live = log.open(run.id)
    live.append(RunStarted(run.id, 1.0))
    early = asyncio.create_task(_read(log, run.id))
    resumed = asyncio.create_task(_read(log, run.id, after=2))
    for text in "abcdef":
        live.append(_delta(text))
        await asyncio.sleep(0)
    chunk = live.stage(Stopped("end_turn"), Ended())
    assert chunk is not None
    await store.write(lambda tx: tx.events.append(run.id, chunk))
    live.stored(chunk)
    live.close()
    everything = await early
    assert [seq for seq, _ in everything] == list(range(1, 10))
    assert await resumed == everything[2:]
    assert await _read(log, run.id) == everything
    assert await _read(StoredEventLog(store), run.id, after=4) == everything[4:]


async def test_readers_are_told_of_staged_events_only_when_they_are_stored(store: Store) -> None:
    run, log = await store_run(store), StoredEventLog(store)
    live = log.open(run.id)
    live.append(RunStarted(run.id, 1.0))
    chunk = live.stage(Ended())
    assert chunk is not None
    assert live.after(0, mine=True) == [(1, RunStarted(run.id, 1.0))]
    await store.write(lambda tx: tx.events.append(run.id, chunk))
    live.stored(chunk)
    assert live.after(0, mine=True) == [(1, RunStarted(run.id, 1.0)), (2, Ended())]


async def test_a_discarded_stage_never_happened(store: Store) -> None:
    run, log = await store_run(store), StoredEventLog(store)
    live = log.open(run.id)
    live.append(RunStarted(run.id, 1.0))
    live.discard(live.stage(Stopped("end_turn"), Ended()))
    live.append(Stopped("error"))
    chunk = live.stage(Ended())
    assert chunk is not None
    assert (chunk.first, chunk.last) == (1, 3)
    await store.write(lambda tx: tx.events.append(run.id, chunk))
    live.stored(chunk)
    live.close()
    assert [event for _, event in await _read(log, run.id)] == [
        RunStarted(run.id, 1.0),
        Stopped("error"),
        Ended(),
    ]


async def test_a_run_that_takes_longer_is_stored_while_it_goes_on(store: Store) -> None:
    run, log = await store_run(store), StoredEventLog(store)
    live = log.open(run.id)
    live.append(RunStarted(run.id, 1.0))
    await _stored(store, run.id)
    live.append(_delta("later"))
    last = live.stage(Ended())
    assert last is not None
    assert last.first == 2


async def test_a_run_nobody_has_heard_of_is_not_found(store: Store) -> None:
    with pytest.raises(NotFound):
        await _read(StoredEventLog(store), "run-unknown")


async def test_following_past_the_end_ends(store: Store) -> None:
    run, log = await store_run(store), StoredEventLog(store)
    live = log.open(run.id)
    chunk = live.stage(RunStarted(run.id, 1.0), Ended())
    assert chunk is not None
    await store.write(lambda tx: tx.events.append(run.id, chunk))
    live.stored(chunk)
    live.close()
    await store.write(lambda tx: tx.runs.update(replace(run, status="completed")))
    assert await _read(log, run.id, after=2) == []


async def test_a_run_that_was_deleted_takes_no_other_runs_events_along(store: Store) -> None:
    log = StoredEventLog(store)
    gone, kept = await store_run(store), await store_run(store)
    writing, dead = log.open(kept.id), log.open(gone.id)
    await store.write(lambda tx: tx.agents.delete(gone.agent_id))
    dead.append(RunStarted(gone.id, 1.0))
    writing.append(RunStarted(kept.id, 1.0))
    await _stored(store, kept.id)
    chunk = writing.stage(Ended())
    assert chunk is not None
    await store.write(lambda tx: tx.events.append(kept.id, chunk))
    writing.stored(chunk)
    writing.close()
    assert [seq for seq, _ in await _read(log, kept.id)] == [1, 2]


async def test_a_reader_that_was_shown_what_is_not_stored_does_not_go_on_in_what_another_worker_stored(
    store: Store,
) -> None:
    run, mine, others = await store_run(store), StoredEventLog(store), StoredEventLog(store)
    live = mine.open(run.id)
    live.append(RunStarted(run.id, 1.0))
    live.append(_delta("never stored"))
    async with aclosing(mine.follow(run.id)) as batches:
        shown = await anext(batches)
        assert [seq for seq, _ in shown] == [1, 2]
        live.lose()
        live.close()
        taken = others.open(run.id)
        chunk = taken.stage(RunStarted(run.id, 1.0), _delta("stored"), _delta("too"), Ended())
        assert chunk is not None
        await store.write(lambda tx: tx.events.append(run.id, chunk))
        with pytest.raises(StreamInterrupted):
            await anext(batches)
    assert [seq for seq, _ in await _read(mine, run.id)] == [1, 2, 3, 4]


async def test_what_is_staged_waits_for_what_is_on_its_way(store: Store) -> None:
    run, log = await store_run(store), StoredEventLog(store)
    live = log.open(run.id)
    live.append(RunStarted(run.id, 1.0))
    await _stored(store, run.id)  # the flush may have an answer to come still
    await live.settle()
    chunk = live.stage(Ended())
    assert chunk is not None
    assert (chunk.first, chunk.last) == (2, 2)
    await store.write(lambda tx: tx.events.append(run.id, chunk))
    live.stored(chunk)
    live.close()
    assert [seq for seq, _ in await _read(log, run.id)] == [1, 2]


async def test_a_reader_whose_place_is_trimmed_just_before_it_looks_reads_the_store(store: Store) -> None:
    run, log = await store_run(store), StoredEventLog(store)
    live = log.open(run.id)
    live.append(RunStarted(run.id, 1.0))
    async with aclosing(log.follow(run.id)) as batches:
        got = list(await anext(batches))
        waiting = asyncio.ensure_future(anext(batches))
        await asyncio.sleep(0)
        # All in one turn of the loop: the reader is woken, and what it was woken for is stored and let go of.
        for number in range(2000):
            live.append(_delta(f"t{number}"))
        chunk = live.stage(Stopped("end_turn"), Ended())
        assert chunk is not None
        writing = asyncio.ensure_future(store.write(lambda tx: tx.events.append(run.id, chunk)))
        await asyncio.wait([writing])
        live.stored(chunk)
        live.close()
        got += await waiting
        async for batch in batches:
            got += batch
    assert [seq for seq, _ in got] == list(range(1, 2004))
    assert isinstance(got[-1][1], Ended)
