"""Pages of lists: walking them gives every row once, in order, whatever is added meanwhile."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any, Literal, TypeAlias

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace as replaced

from tertulia.domain.conversations import Conversation
from tertulia.domain.errors import NotFound
from tertulia.ports.queries import AgentQuery, BlockQuery, ConversationQuery, Page, RunQuery, StepQuery
from tertulia.ports.store import Store, Transaction
from tests.contracts.store.makers import (
    a_conversation,
    a_prompt,
    at,
    stored_agent,
    stored_block,
    stored_conversation,
    stored_run,
    stored_step,
)

OrderBy: TypeAlias = Literal["created_at", "last_message_at"]

# Few different times, so that many rows share one and the id has to decide; and none at all.
times = st.lists(st.one_of(st.none(), st.integers(0, 3).map(at)), max_size=12)
settled = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=20)


async def conversations(store: Store, given_times: list[datetime | None]) -> str:
    """The agent of new conversations, one for each time of a last message."""
    agent = await stored_agent(store)
    rows = [a_conversation(agent, last_message_at=time, created_at=time or at(9)) for time in given_times]

    def insert(tx: Transaction) -> None:
        for row in rows:
            tx.conversations.insert(row, a_prompt(row))

    await store.write(insert)
    return agent.id


async def page(store: Store, query: ConversationQuery, **changes: Any) -> list[Conversation]:
    changed = replace(query, page=replace(query.page, **changes))
    return await store.read(lambda tx: tx.conversations.find(changed))


@pytest.mark.parametrize("order_by", ["created_at", "last_message_at"])
@pytest.mark.parametrize("ascending", [True, False])
@given(given_times=times, limit=st.integers(1, 5))
@settled
async def test_walking_pages_gives_each_row_once_in_order(
    store: Store, order_by: OrderBy, ascending: bool, given_times: list[datetime | None], limit: int
) -> None:
    agent_id = await conversations(store, given_times)
    query = ConversationQuery(agent_id=agent_id, order_by=order_by, page=Page(None, ascending=ascending))
    whole = await page(store, query)
    assert len(whole) == len(given_times)
    assert whole == sorted(whole, key=lambda row: _sort_key(row, order_by, ascending=ascending))

    walked: list[Conversation] = []
    while part := await page(store, query, limit=limit, after=walked[-1].id if walked else None):
        walked += part
    assert walked == whole


def _sort_key(row: Conversation, order_by: str, *, ascending: bool) -> tuple[object, ...]:
    time: datetime | None = getattr(row, order_by)
    sign = 1 if ascending else -1
    # A random id sorts the other way round when its characters' codes do.
    return (time is None, sign * time.timestamp() if time else 0, [sign * ord(character) for character in row.id])


@pytest.mark.parametrize("order_by", ["created_at", "last_message_at"])
@pytest.mark.parametrize("ascending", [True, False])
@given(given_times=times, limit=st.integers(1, 5))
@settled
async def test_before_ends_a_page_just_before_its_row(
    store: Store, order_by: OrderBy, ascending: bool, given_times: list[datetime | None], limit: int
) -> None:
    agent_id = await conversations(store, given_times)
    query = ConversationQuery(agent_id=agent_id, order_by=order_by, page=Page(None, ascending=ascending))
    whole = await page(store, query)
    for index, row in enumerate(whole):
        assert await page(store, query, before=row.id, limit=limit) == whole[max(0, index - limit) : index]
        assert await page(store, query, before=row.id, after=whole[0].id, limit=limit) == whole[1:index][:limit]


async def test_rows_added_meanwhile_neither_repeat_nor_hide_any(store: Store) -> None:
    agent = await stored_agent(store)
    old = [await stored_conversation(store, agent, created_at=at(minute)) for minute in range(4)]
    query = ConversationQuery(agent_id=agent.id)
    first = await page(store, query, limit=2)
    await stored_conversation(store, agent, created_at=at(99))
    assert first + await page(store, query, limit=9, after=first[-1].id) == old[::-1]


async def test_a_page_goes_on_after_a_row_that_the_filter_no_longer_lets_through(store: Store) -> None:
    conversation = await stored_conversation(store)
    runs = [await stored_run(store, conversation, created_at=at(minute)) for minute in range(3)]
    failed = RunQuery(statuses=("completed",), page=Page(after=runs[1].id))
    await store.write(lambda tx: tx.runs.update(replaced(runs[1], status="failed")))
    assert [run.id for run in await store.read(lambda tx: tx.runs.find(failed))] == [runs[0].id]


finders: dict[str, Callable[[Transaction, Page], list[Any]]] = {
    "Agent": lambda tx, page: tx.agents.find(AgentQuery(page=page)),
    "Block": lambda tx, page: tx.blocks.find(BlockQuery(page=page)),
    "Conversation": lambda tx, page: tx.conversations.find(ConversationQuery(page=page)),
    "Run": lambda tx, page: tx.runs.find(RunQuery(page=page)),
    "Step": lambda tx, page: tx.steps.find(StepQuery(page=page)),
}


@pytest.mark.parametrize("noun", finders)
async def test_a_cursor_that_names_nothing_is_not_found(store: Store, noun: str) -> None:
    for cursors in (Page(after="x"), Page(before="x")):
        with pytest.raises(NotFound, match=f"{noun} not found with id='x'"):
            await store.read(lambda tx, cursors=cursors: finders[noun](tx, cursors))


@pytest.mark.parametrize("noun", finders)
async def test_every_list_is_paged(store: Store, noun: str) -> None:
    for _ in range(3):
        await stored_step(store)
        await stored_block(store)
    whole = await store.read(lambda tx: finders[noun](tx, Page(None)))
    assert len(whole) == 3
    middle: str = whole[1].id
    for limited, expected in (
        (Page(2), whole[:2]),
        (Page(1, after=middle), whole[2:]),
        (Page(1, before=middle), whole[:1]),
        (Page(ascending=True), whole[::-1]),
        (Page(0), []),
    ):
        assert await store.read(lambda tx, limited=limited: finders[noun](tx, limited)) == expected
