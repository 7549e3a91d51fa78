"""Event chunks in a store."""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from tertulia.domain.errors import NotFound
from tertulia.ports.events import EventChunk
from tertulia.ports.store import Store
from tests.contracts.store.makers import stored_run


async def test_chunks_after_a_sequence_id_come_in_order_with_the_one_that_holds_it(store: Store) -> None:
    run, other = await stored_run(store), await stored_run(store)
    chunks = [EventChunk(1, 3, b"one\0"), EventChunk(4, 4, b"two"), EventChunk(5, 9, b"three")]
    for chunk in chunks:
        await store.write(lambda tx, chunk=chunk: tx.events.append(run.id, chunk))
    await store.write(lambda tx: tx.events.append(other.id, EventChunk(1, 99, b"other")))
    for seq, expected in ((0, chunks), (2, chunks), (3, chunks[1:]), (4, chunks[2:]), (8, chunks[2:]), (9, [])):
        assert await store.read(lambda tx, seq=seq: tx.events.after(run.id, seq)) == expected, seq


async def test_a_run_without_events_has_none(store: Store) -> None:
    assert await store.read(lambda tx: tx.events.after("run-x", 0)) == []


async def test_events_need_their_run(store: Store) -> None:
    with pytest.raises(NotFound, match="Run not found with id='run-x'"):
        await store.write(lambda tx: tx.events.append("run-x", EventChunk(1, 1, b"")))


async def test_the_events_of_ended_runs_are_removed_when_they_are_old_enough(store: Store) -> None:
    ended, running = await stored_run(store), await stored_run(store)
    for run in (ended, running):
        await store.write(lambda tx, run=run: tx.events.append(run.id, EventChunk(1, 3, b"one")))
    await store.write(lambda tx: tx.runs.update(replace(ended, status="completed")))
    await store.write(lambda tx: tx.runs.update(replace(running, status="running")))
    begun = ended.created_at
    assert await store.write(lambda tx: tx.events.prune(begun, 10)) == 0
    assert await store.read(lambda tx: tx.events.kept(ended.id))
    assert await store.write(lambda tx: tx.events.prune(begun + timedelta(days=1), 10)) == 1
    assert not await store.read(lambda tx: tx.events.kept(ended.id))
    assert await store.read(lambda tx: tx.events.kept(running.id))
    assert await store.write(lambda tx: tx.events.prune(begun + timedelta(days=1), 10)) == 0
