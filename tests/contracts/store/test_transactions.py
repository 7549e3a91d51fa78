"""Transactions: what a store promises of reads and writes, whatever is in them."""

import asyncio
from typing import cast

import pytest

from tertulia.domain.agents import Agent
from tertulia.domain.errors import NotFound, StoreUnavailable
from tertulia.ports.queries import AgentQuery
from tertulia.ports.store import Store, Transaction
from tertulia.store.sql.transaction import SqlTransaction
from tests.contracts.store.makers import Work, an_agent, stored_agent


class Refused(Exception):
    pass


def insert_then_fail(agent: Agent) -> Work:
    def work(tx: Transaction) -> None:
        tx.agents.insert(agent)
        raise Refused

    return work


async def names(store: Store) -> set[str]:
    return {agent.name for agent in await store.read(lambda tx: tx.agents.find(AgentQuery()))}


async def test_a_work_gives_back_what_it_returns(store: Store) -> None:
    assert await store.write(lambda tx: 5) == 5
    assert await store.read(lambda tx: "x") == "x"


async def test_a_work_sees_its_own_writes(store: Store) -> None:
    agent = an_agent()

    def work(tx: Transaction) -> Agent:
        tx.agents.insert(agent)
        return tx.agents.get(agent.id)

    assert await store.write(work) == agent


async def test_a_read_sees_everything_acknowledged_before(store: Store) -> None:
    for number in range(50):
        agent = await stored_agent(store, name=str(number))
        assert await store.read(lambda tx, agent=agent: tx.agents.get(agent.id)) == agent


async def test_a_failing_work_undoes_its_writes_and_raises_where_it_was_awaited(store: Store) -> None:
    agent = an_agent()
    with pytest.raises(Refused):
        await store.write(insert_then_fail(agent))
    with pytest.raises(NotFound):
        await store.read(lambda tx: tx.agents.get(agent.id))


async def test_a_failing_work_undoes_nothing_of_those_committed_with_it(store: Store) -> None:
    kept, refused = [an_agent(name=f"kept {n}") for n in range(20)], [an_agent() for _ in range(20)]
    works = [
        work
        for good, bad in zip(kept, refused, strict=True)
        for work in (store.write(lambda tx, good=good: tx.agents.insert(good)), store.write(insert_then_fail(bad)))
    ]
    outcomes = await asyncio.gather(*works, return_exceptions=True)
    assert outcomes[::2] == [None] * 20
    assert {type(outcome) for outcome in outcomes[1::2]} == {Refused}
    assert await names(store) == {agent.name for agent in kept}


async def test_a_work_that_the_database_refuses_spoils_no_other(store: Store) -> None:
    agent = await stored_agent(store)
    outcomes = await asyncio.gather(
        store.write(lambda tx: tx.agents.insert(agent)), stored_agent(store, name="fine"), return_exceptions=True
    )
    assert isinstance(outcomes[0], Exception)
    assert await names(store) == {agent.name, "fine"}


async def test_works_are_run_in_the_order_they_were_asked_for(store: Store) -> None:
    ran: list[int] = []
    await asyncio.gather(*(store.write(lambda tx, number=number: ran.append(number)) for number in range(50)))
    assert ran == list(range(50))


async def test_reading_until_something_changes_lets_it_change(store: Store) -> None:
    changes: list[int] = []
    asyncio.get_running_loop().call_soon(changes.append, 1)
    reads = 0
    while not changes and reads < 1000:
        await store.read(lambda tx: None)
        reads += 1
    assert changes


async def test_a_read_cannot_write(store: Store) -> None:
    with pytest.raises(Exception, match=r"readonly|read-only"):
        await store.read(lambda tx: tx.agents.insert(an_agent()))
    assert await names(store) == set()


async def test_a_write_whose_caller_was_cancelled_disturbs_nobody(store: Store) -> None:
    cancelled = asyncio.create_task(stored_agent(store, name="cancelled"))
    await asyncio.sleep(0)
    cancelled.cancel()
    await stored_agent(store, name="fine")
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    assert "fine" in await names(store)


async def test_a_write_that_was_refused_is_followed_by_a_trial_that_leaves_nothing_behind(store: Store) -> None:
    def refuse(_: Transaction) -> None:
        raise StoreUnavailable("The disk is full.")

    with pytest.raises(StoreUnavailable):
        await store.write(refuse)
    for _ in range(2):
        await store.check_writing(30)
    await store.write(lambda tx: tx.workers.take_room())  # as does a trial whose end is refused
    with pytest.raises(StoreUnavailable):
        await store.write(refuse)
    await store.check_writing(30)

    def left(tx: Transaction) -> list[object]:
        return cast("SqlTransaction", tx).workers._session.rows("SELECT id FROM workers")

    assert await store.read(left) == []


async def test_a_closed_store_is_unavailable(store: Store) -> None:
    await store.close()
    with pytest.raises(StoreUnavailable):
        await store.read(lambda tx: None)
    with pytest.raises(StoreUnavailable):
        await store.write(lambda tx: None)
    await store.close()


async def test_closing_finishes_what_was_asked_before(store: Store) -> None:
    writes = [asyncio.create_task(stored_agent(store)) for _ in range(10)]
    await asyncio.sleep(0)
    await store.close()
    assert len(await asyncio.gather(*writes)) == 10


async def test_a_store_describes_itself_without_secrets(store: Store) -> None:
    assert set(store.describe()) == {"engine", "location", "revision"}
