"""Runs in a store."""

import asyncio

import pytest
from msgspec.structs import replace

from tertulia.domain.errors import ConversationBusy, NotFound
from tertulia.domain.runs import RequestConfig, Run, RunStatus
from tertulia.ports.queries import Page, RunQuery
from tertulia.ports.store import Store, Transaction
from tests.contracts.store.makers import (
    a_conversation,
    a_message,
    a_run,
    an_agent,
    at,
    stored_conversation,
    stored_run,
)


async def ids(store: Store, query: RunQuery) -> list[str]:
    return [run.id for run in await store.read(lambda tx: tx.runs.find(query))]


async def test_a_run_is_read_back_with_every_field(store: Store) -> None:
    run = a_run(
        await stored_conversation(store),
        background=True,
        stop_reason="end_turn",
        completed_at=at(1),
        total_duration_ns=10**12,
        ttft_ns=5,
        request_config=RequestConfig(include_return_message_types=("tool_call_message",)),
        metadata={"a": 1},
        input_otids=("o1", "o2"),
        error={"error_type": "llm_error"},
        callback_url="https://example.org",
        callback_error="e",
        callback_sent_at=at(2),
        callback_status_code=500,
        base_template_id="b",
        project_id="p",
    )
    await store.write(lambda tx: tx.runs.insert(run))
    assert await store.read(lambda tx: tx.runs.get(run.id)) == run


async def test_an_unknown_run_is_not_found(store: Store) -> None:
    unknown = a_run(a_conversation(an_agent()))
    with pytest.raises(NotFound, match="Run not found"):
        await store.read(lambda tx: tx.runs.get(unknown.id))
    with pytest.raises(NotFound, match="Run not found"):
        await store.write(lambda tx: tx.runs.update(unknown))
    with pytest.raises(NotFound, match="Conversation not found"):
        await store.write(lambda tx: tx.runs.insert(unknown))


async def test_a_conversation_has_one_running_run(store: Store) -> None:
    conversation = await stored_conversation(store)
    first = await stored_run(store, conversation, status="running")
    with pytest.raises(ConversationBusy) as busy:
        await stored_run(store, conversation, status="running")
    assert busy.value.run_id == first.id
    assert await store.read(lambda tx: tx.runs.active(conversation.id)) == first
    await stored_run(store, await stored_conversation(store), status="running")


async def test_of_two_running_runs_stored_at_once_one_is_refused(store: Store) -> None:
    conversation = await stored_conversation(store)
    outcomes = await asyncio.gather(
        *(stored_run(store, conversation, status="running") for _ in range(2)), return_exceptions=True
    )
    assert {type(outcome) for outcome in outcomes} == {Run, ConversationBusy}


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
async def test_the_end_of_a_run_frees_its_conversation(store: Store, status: RunStatus) -> None:
    conversation = await stored_conversation(store)
    first = await stored_run(store, conversation, status="running")
    ended = replace(first, status=status, completed_at=at(1), stop_reason="end_turn")
    await store.write(lambda tx: tx.runs.update(ended))
    assert await store.read(lambda tx: tx.runs.get(first.id)) == ended
    assert await store.read(lambda tx: tx.runs.active(conversation.id)) is None
    second = await stored_run(store, conversation, status="running")
    with pytest.raises(ConversationBusy) as busy:
        await store.write(lambda tx: tx.runs.update(first))
    assert busy.value.run_id == second.id


async def test_a_refused_run_undoes_what_was_written_with_it(store: Store) -> None:
    conversation = await stored_conversation(store)
    active = await stored_run(store, conversation, status="running")

    def insert(tx: Transaction) -> None:
        tx.runs.insert(a_run(conversation))
        tx.messages.append(conversation.id, [a_message(conversation)])

    with pytest.raises(ConversationBusy) as busy:
        await store.write(insert)
    assert busy.value.run_id == active.id
    assert await store.read(lambda tx: tx.conversations.get(conversation.id)) == conversation


async def test_all_running_runs_are_listed_oldest_first(store: Store) -> None:
    await stored_run(store)
    await stored_run(store, status="created")
    late = await stored_run(store, status="running", created_at=at(2))
    early = await stored_run(store, status="running", created_at=at(1))
    assert await store.read(lambda tx: tx.runs.all_active()) == [early, late]


async def test_runs_wait_in_their_conversations_queue_beside_the_running_one(store: Store) -> None:
    conversation, other = await stored_conversation(store), await stored_conversation(store)
    running = await stored_run(store, conversation, status="running")
    second = await stored_run(store, conversation, status="created", created_at=at(2), queued_request=b'{"a": 1}')
    first = await stored_run(store, conversation, status="created", created_at=at(1))
    elsewhere = await stored_run(store, other, status="created", created_at=at(3))
    assert await store.read(lambda tx: tx.runs.queued(conversation.id)) == [first, second]
    assert await store.read(lambda tx: tx.runs.queued()) == [first, second, elsewhere]
    assert await store.read(lambda tx: tx.runs.waiting()) == 3
    assert await store.read(lambda tx: tx.runs.active(other.id)) is None
    with pytest.raises(ConversationBusy):
        await store.write(lambda tx: tx.runs.update(replace(first, status="running")))
    await store.write(lambda tx: tx.runs.update(replace(running, status="completed")))
    await store.write(lambda tx: tx.runs.update(replace(first, status="running")))
    assert await store.read(lambda tx: tx.runs.queued(conversation.id)) == [second]


async def test_runs_are_filtered_by_their_fields(store: Store) -> None:
    conversation = await stored_conversation(store)
    one = await stored_run(store, conversation, created_at=at(1), stop_reason="end_turn")
    two = await stored_run(store, conversation, created_at=at(2), status="running", background=True)
    three = await stored_run(store, created_at=at(3), status="failed", stop_reason="error")
    assert await ids(store, RunQuery()) == [three.id, two.id, one.id]
    assert await ids(store, RunQuery(page=Page(ascending=True))) == [one.id, two.id, three.id]
    for query, expected in (
        (RunQuery(agent_ids=(conversation.agent_id,)), [two, one]),
        (RunQuery(agent_ids=(conversation.agent_id, three.agent_id)), [three, two, one]),
        (RunQuery(conversation_id=conversation.id), [two, one]),
        (RunQuery(statuses=("running", "failed")), [three, two]),
        (RunQuery(background=True), [two]),
        (RunQuery(background=False), [three, one]),
        (RunQuery(stop_reason="error"), [three]),
    ):
        assert await ids(store, query) == [run.id for run in expected], query
