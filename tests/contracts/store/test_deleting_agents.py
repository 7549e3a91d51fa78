"""An agent is deleted in pieces that hold up nobody, and is there for no reader from before the first of them."""

from collections.abc import Callable

import pytest

from tertulia.domain.agents import Agent
from tertulia.domain.errors import NotFound
from tertulia.ports.queries import (
    AgentQuery,
    ConversationQuery,
    MessageQuery,
    RunQuery,
    StepQuery,
    TagQuery,
)
from tertulia.ports.store import Store, Transaction
from tests.contracts.store.makers import (
    stored_agent,
    stored_block,
    stored_conversation,
    stored_messages,
    stored_run,
    stored_step,
)

ROWS = 10


async def _full_agent(store: Store) -> Agent:
    """One with a default conversation and others, with messages, runs, steps and a block of a conversation's own."""
    agent = await stored_agent(store, tags=("gone",))
    block = await stored_block(store)
    await stored_conversation(store, agent, id=agent.id)
    await stored_conversation(store, agent, isolated_block_ids=(block.id,))
    conversation = [await stored_conversation(store, agent) for _ in range(25)][-1]
    await stored_messages(store, conversation, *("hello" for _ in range(35)))
    await stored_step(store, await stored_run(store, conversation))
    return agent


async def _seen(store: Store, agent_id: str) -> list[object]:
    def read(tx: Transaction) -> list[object]:
        return [
            *(agent for agent in tx.agents.find(AgentQuery(include_hidden=True)) if agent.id == agent_id),
            *tx.agents.get_many([agent_id]),
            *tx.agents.tags(TagQuery(text="gone")),
            *tx.conversations.find(ConversationQuery(agent_id=agent_id, archived=None, include_hidden=True)),
            *tx.runs.find(RunQuery(agent_ids=(agent_id,))),
            *tx.steps.find(StepQuery(agent_id=agent_id)),
        ]

    return await store.read(read)


async def test_an_agent_that_is_marked_is_there_for_nobody(store: Store) -> None:
    agent = await _full_agent(store)
    assert await _seen(store, agent.id)
    await store.write(lambda tx: tx.agents.mark_deleted(agent.id))
    assert await _seen(store, agent.id) == []
    reads: list[Callable[[Transaction], object]] = [
        lambda tx: tx.agents.get(agent.id),
        lambda tx: tx.conversations.get(agent.id),
        lambda tx: tx.snapshot(agent.id),
        lambda tx: tx.agents.mark_deleted(agent.id),
    ]
    for read in reads:
        with pytest.raises(NotFound):
            await store.write(read)
    assert await store.read(lambda tx: tx.agents.half_deleted()) == [agent.id]


async def test_what_a_marked_agent_had_is_removed_in_pieces_until_nothing_is_left(store: Store) -> None:
    agent = await _full_agent(store)
    other = await _full_agent(store)
    await store.write(lambda tx: tx.agents.mark_deleted(agent.id))
    pieces = 0
    while await store.write(lambda tx: tx.agents.delete_some(agent.id, ROWS)):
        pieces += 1
    assert pieces >= (27 + 35) // ROWS + 1 + 26 // ROWS
    await store.write(lambda tx: tx.agents.delete(agent.id))
    assert await store.read(lambda tx: tx.agents.half_deleted()) == []
    assert await store.read(lambda tx: tx.messages.find(MessageQuery(agent_id=agent.id, limit=10))) == []
    assert len(await _seen(store, other.id)) > 20
    assert len(await store.read(lambda tx: tx.messages.find(MessageQuery(agent_id=other.id, limit=100)))) > 35


async def test_a_piece_is_no_larger_than_what_was_asked(store: Store) -> None:
    agent = await _full_agent(store)
    await store.write(lambda tx: tx.agents.mark_deleted(agent.id))
    count = MessageQuery(agent_id=agent.id, limit=1_000)
    before = len(await store.read(lambda tx: tx.messages.find(count)))
    assert await store.write(lambda tx: tx.agents.delete_some(agent.id, ROWS))
    assert len(await store.read(lambda tx: tx.messages.find(count))) == before - ROWS
