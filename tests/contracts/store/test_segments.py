"""Conversations that share history: what a fork will be, written here row by row until there is an operation for it."""

from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tertulia.domain.conversations import Conversation
from tertulia.domain.errors import NotFound
from tertulia.domain.messages import Message
from tertulia.ports.store import MessageQuery, SearchQuery, Store, Transaction
from tests.contracts.store.makers import (
    a_conversation,
    a_message,
    a_prompt,
    stored_agent,
    stored_conversation,
    stored_messages,
)


def fork(tx: Transaction, source: Conversation, copy: Conversation, position: int) -> None:
    """Make ``copy`` share the source's positions 1 to ``position`` - 1 and go on from there in its own log."""
    tx.conversations.insert(copy, a_prompt(copy, f"prompt of {copy.id}"))
    run = cast("Any", tx).messages._session.run
    mine, own = (
        "SELECT log_id FROM conversations WHERE id = ?",
        "conversation_segments (conversation_id, lo, hi, log_id)",
    )
    run("DELETE FROM conversation_segments WHERE conversation_id = ?", copy.id)
    run(f"INSERT INTO {own} VALUES (?, 0, 1, ({mine}))", copy.id, copy.id)
    run(
        f"INSERT INTO {own} SELECT ?, max(lo, 1), min(coalesce(hi, ?), ?), log_id FROM conversation_segments "
        "WHERE conversation_id = ? AND lo < ? AND coalesce(hi, ?) > 1",
        copy.id, position, position, source.id, position, position,
    )  # fmt: skip
    run(f"INSERT INTO {own} VALUES (?, ?, NULL, ({mine}))", copy.id, position, copy.id)
    run("UPDATE conversations SET head = ? WHERE id = ?", position, copy.id)


async def forked(store: Store, source: Conversation, position: int) -> Conversation:
    agent = await store.read(lambda tx: tx.agents.get(source.agent_id))
    copy = a_conversation(agent)
    await store.write(lambda tx: fork(tx, source, copy, position))
    return copy


async def texts(store: Store, conversation: Conversation, start: int = 1, stop: int = 999) -> str:
    found = await store.read(lambda tx: tx.messages.range(conversation.id, start, stop))
    return "".join(message.text for message in found)


async def test_a_fork_reads_shared_history_and_its_own_prompt(store: Store) -> None:
    source = await stored_conversation(store)
    await stored_messages(store, source, *"abcd")
    copy = await forked(store, source, 3)
    await stored_messages(store, copy, *"xyz")
    await stored_messages(store, source, *"ef")
    assert await texts(store, source) == "abcdef"
    assert await texts(store, copy) == "abxyz"
    assert await texts(store, copy, 2, 4) == "bx"
    assert await texts(store, copy, 0, 1) == f"prompt of {copy.id}"
    system = await store.read(lambda tx: tx.messages.system(copy.id))
    assert system.text == f"prompt of {copy.id}"
    listed = await store.read(lambda tx: tx.messages.find(MessageQuery(conversation_id=copy.id, roles=("user",))))
    assert "".join(message.text for message in listed) == "zyxba"
    ids = await store.read(lambda tx: tx.messages.ids_from(copy.id, 1))
    assert ids == [message.id for message in reversed(listed)]


async def test_a_search_in_a_fork_finds_shared_messages_and_none_that_came_later(store: Store) -> None:
    source = await stored_conversation(store)
    await stored_messages(store, source, "word shared", "word later")
    copy = await forked(store, source, 2)
    await stored_messages(store, copy, "word own")
    found = await store.read(lambda tx: tx.messages.search(SearchQuery(text="word", conversation_id=copy.id)))
    assert {message.text for message in found} == {"word shared", "word own"}


@pytest.mark.parametrize("how", ["delete", "reset"])
async def test_shared_messages_outlive_the_conversation_they_were_written_in(store: Store, how: str) -> None:
    source = await stored_conversation(store)
    shared = await stored_messages(store, source, *"ab")
    (later,) = await stored_messages(store, source, "c")
    copy = await forked(store, source, 3)
    await stored_messages(store, copy, "x")
    if how == "delete":
        await store.write(lambda tx: tx.conversations.delete(source.id))
    else:
        await store.write(lambda tx: tx.messages.reset(source.id))
        await stored_messages(store, source, "new")
        assert await texts(store, source) == "new"
    assert await texts(store, copy) == "abx"
    with pytest.raises(NotFound):
        await store.read(lambda tx: tx.messages.get(later.id))
    await store.write(lambda tx: tx.conversations.delete(copy.id))
    with pytest.raises(NotFound):
        await store.read(lambda tx: tx.messages.get(shared[0].id))


@dataclass
class Model:
    """What the conversations of one agent ought to hold, kept as plain lists."""

    histories: dict[str, list[Message]] = field(default_factory=dict[str, list[Message]])
    conversations: list[Conversation] = field(default_factory=list[Conversation])

    def add(self, conversation: Conversation, history: list[Message]) -> None:
        self.conversations.append(conversation)
        self.histories[conversation.id] = history


kinds = st.sampled_from(["append", "append", "fork", "fork", "reset", "delete"])
operations = st.lists(st.tuples(kinds, st.integers(0, 99), st.integers(0, 6)), max_size=25)


@given(steps=operations, bounds=st.tuples(st.integers(1, 12), st.integers(1, 12)))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=30)
async def test_forks_of_forks_hold_what_plain_copies_would(
    store: Store, steps: list[tuple[str, int, int]], bounds: tuple[int, int]
) -> None:
    agent = await stored_agent(store)
    model = Model()
    model.add(await stored_conversation(store, agent), [])
    for operation, which, amount in steps:
        await apply(store, model, operation, model.conversations[which % len(model.conversations)], amount)
        if not model.conversations:
            break
    start, stop = bounds
    for conversation in model.conversations:
        history = model.histories[conversation.id]
        assert (await store.read(lambda tx, id_=conversation.id: tx.conversations.get(id_))).head == len(history) + 1
        found = await store.read(lambda tx, id_=conversation.id: tx.messages.range(id_, start, stop))
        assert found == history[start - 1 : max(stop - 1, start - 1)]
    alive = {message.id for history in model.histories.values() for message in history}
    listed = await store.read(lambda tx: tx.messages.find(MessageQuery(agent_id=agent.id, roles=("user",), limit=None)))
    assert {message.id for message in listed} == alive


async def apply(store: Store, model: Model, operation: str, conversation: Conversation, amount: int) -> None:
    history = model.histories[conversation.id]
    if operation == "append":
        added = [a_message(conversation, str(number)) for number in range(amount)]
        await store.write(lambda tx: tx.messages.append(conversation.id, added))
        history += added
    elif operation == "fork":
        position = min(amount, len(history)) + 1
        model.add(await forked(store, conversation, position), history[: position - 1])
    elif operation == "reset":
        await store.write(lambda tx: tx.messages.reset(conversation.id))
        history.clear()
    else:
        await store.write(lambda tx: tx.conversations.delete(conversation.id))
        model.conversations.remove(conversation)
        del model.histories[conversation.id]
