"""Workers, their leases, and which of them may write of a run."""

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from tertulia.domain.conversations import Conversation
from tertulia.domain.errors import ConversationBusy, LeaseLost, NotFound
from tertulia.domain.runs import Run
from tertulia.ports.events import EventChunk
from tertulia.ports.runs import Claim
from tertulia.ports.store import Store, Transaction
from tests.contracts.store.makers import a_run, at, stored_conversation

LONG = 1000.0


async def running(store: Store, worker_id: str | None, conversation: Conversation | None = None, **fields: Any) -> Run:
    run = a_run(conversation or await stored_conversation(store), **fields)
    await store.write(lambda tx: tx.runs.insert(run, worker_id))
    return run


async def register(store: Store, *worker_ids: str, seconds: float = LONG) -> None:
    def write(tx: Transaction) -> None:
        for worker_id in worker_ids:
            tx.workers.register(worker_id, seconds)

    await store.write(write)


async def claims(store: Store, worker_id: str, limit: int = 10) -> list[Claim]:
    return await store.write(lambda tx: tx.runs.claim(worker_id, limit))


async def test_a_lease_can_be_renewed_while_it_is_good(store: Store) -> None:
    await register(store, "good")
    await register(store, "over", seconds=-1)
    assert await store.write(lambda tx: tx.workers.renew("good", LONG))
    assert not await store.write(lambda tx: tx.workers.renew("over", LONG))
    assert not await store.write(lambda tx: tx.workers.renew("unknown", LONG))
    assert await store.read(lambda tx: tx.workers.live()) == ["good"]


async def test_a_worker_that_leaves_or_is_forgotten_has_no_lease(store: Store) -> None:
    await register(store, "a", "b", "c")
    await store.write(lambda tx: tx.workers.remove("a"))
    assert await store.read(lambda tx: tx.workers.live()) == ["b", "c"]
    await store.write(lambda tx: tx.workers.forget_all())
    assert await store.read(lambda tx: tx.workers.live()) == []


async def test_a_run_that_was_given_up_is_told_from_one_whose_worker_died(store: Store) -> None:
    await register(store, "claimant")
    died = await running(store, "dead")
    left = await running(store, "leaving")
    await store.write(lambda tx: tx.runs.release_all("leaving"))
    taken = {claim.run.id: claim.given_up for claim in await claims(store, "claimant")}
    assert taken == {died.id: False, left.id: True}


async def test_only_runs_without_a_living_worker_are_taken_over(store: Store) -> None:
    await register(store, "living", "claimant")
    await register(store, "dead", seconds=-1)
    await running(store, "living")
    lost = {(await running(store, worker_id)).id for worker_id in ("dead", "gone", None)}
    taken = await claims(store, "claimant")
    assert {claim.run.id for claim in taken} == lost
    assert {(claim.token, claim.attempts, claim.cancel) for claim in taken} == {(2, 2, None)}
    assert await claims(store, "claimant") == []


async def test_a_claim_takes_no_more_than_it_may_and_the_oldest_first(store: Store) -> None:
    await register(store, "claimant")
    runs = [await running(store, None, created_at=at(minute)) for minute in (1, 2, 3)]
    assert [claim.run.id for claim in await claims(store, "claimant", 2)] == [run.id for run in runs[:2]]


async def test_claims_at_the_same_time_never_share_a_run(store: Store) -> None:
    names = [f"w{n}" for n in range(5)]
    await register(store, *names)
    lost = {(await running(store, None)).id for _ in range(20)}
    taken = [
        claim.run.id for batch in await asyncio.gather(*(claims(store, name) for name in names)) for claim in batch
    ]
    assert len(taken) == len(set(taken))
    rest = [claim.run.id for claim in await claims(store, names[0], 20)]
    assert {*taken, *rest} == lost


async def test_runs_that_were_set_aside_go_to_who_asks_for_them_one_by_one(store: Store) -> None:
    await register(store, "claimant")
    runs = [await running(store, "dead", created_at=at(minute)) for minute in (1, 2, 3)]
    await claims(store, "claimant")
    for run in runs:
        await store.write(lambda tx, id_=run.id: tx.runs.set_aside(id_, 2))
    assert await claims(store, "other") == []
    (claim,) = await store.write(lambda tx: tx.runs.claim("other", 10, 1))
    assert (claim.run.id, claim.token, claim.given_up) == (runs[0].id, 3, True)
    with pytest.raises(LeaseLost):
        await store.write(lambda tx: tx.runs.hold(runs[0].id, 2))
    assert await store.write(lambda tx: tx.runs.claim("other", 0, 1)) == []


async def test_a_run_that_was_set_aside_and_is_to_be_cancelled_goes_to_anyone(store: Store) -> None:
    await register(store, "claimant")
    run = await running(store, "dead")
    await claims(store, "claimant")
    await store.write(lambda tx: tx.runs.set_aside(run.id, 2))
    await store.write(lambda tx: tx.runs.ask_to_cancel(run.id, "cancel"))
    (claim,) = await claims(store, "other")
    assert (claim.cancel, claim.given_up) == ("cancel", True)


async def test_only_who_has_a_run_sets_it_aside(store: Store) -> None:
    await register(store, "claimant")
    run = await running(store, "dead")
    await claims(store, "claimant")
    await store.write(lambda tx: tx.runs.set_aside(run.id, 1))
    await register(store, "claimant", seconds=-1)
    (claim,) = await claims(store, "other")
    assert (claim.run.id, claim.given_up) == (run.id, False)


async def test_ended_and_waiting_runs_are_not_taken_over(store: Store) -> None:
    await register(store, "claimant")
    ended = await running(store, None)
    await store.write(lambda tx: tx.runs.update(replace(ended, status="completed")))
    waits = a_run(await stored_conversation(store), status="created")
    await store.write(lambda tx: tx.runs.insert(waits))
    assert await claims(store, "claimant") == []


async def test_who_lost_a_run_can_write_nothing_of_it(store: Store) -> None:
    await register(store, "claimant")
    run = await running(store, "dead")
    await store.write(lambda tx: tx.runs.hold(run.id, 1))
    await claims(store, "claimant")
    with pytest.raises(LeaseLost):
        await store.write(lambda tx: tx.runs.hold(run.id, 1))
    with pytest.raises(LeaseLost):
        await store.write(lambda tx: tx.events.append(run.id, EventChunk(1, 1, b"[]"), 1))
    await store.write(lambda tx: tx.runs.hold(run.id, 2))
    await store.write(lambda tx: tx.events.append(run.id, EventChunk(1, 2, b"[]"), 2))
    assert await store.read(lambda tx: tx.events.last(run.id)) == 2


async def test_an_ended_run_cannot_be_held_and_one_that_is_gone_is_not_found(store: Store) -> None:
    run = await running(store, "w")
    await store.write(lambda tx: tx.runs.update(replace(run, status="completed")))
    with pytest.raises(LeaseLost):
        await store.write(lambda tx: tx.runs.hold(run.id, 1))
    await store.write(lambda tx: tx.agents.delete(run.agent_id))
    with pytest.raises(NotFound):
        await store.write(lambda tx: tx.runs.hold(run.id, 1))
    with pytest.raises(NotFound):
        await store.write(lambda tx: tx.events.append(run.id, EventChunk(1, 1, b"[]"), 1))


async def test_many_chunks_are_stored_together_but_those_that_are_refused(store: Store) -> None:
    await register(store, "claimant")
    mine, lost, gone = [await running(store, worker_id) for worker_id in ("w", "dead", "w")]
    await register(store, "w")
    await claims(store, "claimant")
    await store.write(lambda tx: tx.agents.delete(gone.agent_id))
    chunks = [(run.id, 1, EventChunk(1, 3, b"[1,2,3]")) for run in (mine, lost, gone)]
    assert await store.write(lambda tx: tx.events.append_many(chunks)) == {lost.id, gone.id}
    assert await store.read(lambda tx: tx.events.after(mine.id, 0)) == [EventChunk(1, 3, b"[1,2,3]")]
    assert await store.read(lambda tx: tx.events.last(lost.id)) == 0


async def test_a_released_run_is_anybodys(store: Store) -> None:
    await register(store, "w", "claimant")
    run = await running(store, "w")
    await store.write(lambda tx: tx.runs.release(run.id, 7))
    assert await claims(store, "claimant") == []
    await store.write(lambda tx: tx.runs.release(run.id, 1))
    assert [claim.run for claim in await claims(store, "claimant")] == [run]


async def test_a_worker_is_told_which_of_its_runs_to_stop_and_so_is_who_takes_them_over(store: Store) -> None:
    await register(store, "w", "claimant")
    run, other = await running(store, "w"), await running(store, "w")
    assert await store.write(lambda tx: tx.runs.ask_to_cancel(run.id, "rollback"))
    assert await store.read(lambda tx: tx.runs.asked_to_cancel("w")) == [(run.id, "rollback")]
    await store.write(lambda tx: tx.workers.remove("w"))
    taken = {claim.run.id: claim.cancel for claim in await claims(store, "claimant")}
    assert taken == {run.id: "rollback", other.id: None}
    await store.write(lambda tx: tx.runs.update(replace(run, status="completed")))
    assert not await store.write(lambda tx: tx.runs.ask_to_cancel(run.id, "cancel"))
    assert not await store.write(lambda tx: tx.runs.ask_to_cancel("run-unknown", "cancel"))


async def test_a_run_is_kept_for_readers_elsewhere(store: Store) -> None:
    run = await running(store, "w")
    assert not await store.read(lambda tx: tx.runs.is_kept(run.id))
    await store.write(lambda tx: tx.runs.keep(run.id))
    assert await store.read(lambda tx: tx.runs.is_kept(run.id))
    assert await store.read(lambda tx: tx.runs.get(run.id)) == run


async def test_calls_are_noted_once_for_each_run(store: Store) -> None:
    run, other = await running(store, "w"), await running(store, "w")
    for call_id in ("a", "a", "b"):
        await store.write(lambda tx, call_id=call_id: tx.runs.note_call(run.id, call_id))
    assert await store.read(lambda tx: tx.runs.noted_calls(run.id)) == {"a", "b"}
    assert await store.read(lambda tx: tx.runs.noted_calls(other.id)) == set()


async def test_a_waiting_run_begins_under_its_workers_token(store: Store) -> None:
    conversation = await stored_conversation(store)
    first = await running(store, "w", conversation)
    waits = a_run(conversation, status="created", queued_request=b"{}")
    await store.write(lambda tx: tx.runs.insert(waits))
    begun = replace(waits, status="running", queued_request=None)
    with pytest.raises(ConversationBusy):
        await store.write(lambda tx: tx.runs.begin(begun, "w"))
    await store.write(lambda tx: tx.runs.update(replace(first, status="completed")))
    assert await store.read(lambda tx: tx.runs.next_queued(conversation.id)) == waits
    await store.write(lambda tx: tx.runs.begin(begun, "w"))
    await store.write(lambda tx: tx.runs.hold(waits.id, 1))
    assert await store.read(lambda tx: tx.runs.next_queued(conversation.id)) is None


async def test_queues_of_conversations_that_run_nothing_are_found(store: Store) -> None:
    busy, free, empty = [await stored_conversation(store) for _ in range(3)]
    await running(store, "w", busy)
    await running(store, "w", empty)
    for conversation in (busy, free, free):
        await store.write(lambda tx, it=conversation: tx.runs.insert(a_run(it, status="created")))
    assert await store.read(lambda tx: tx.runs.free_queues(10)) == [free.id]
