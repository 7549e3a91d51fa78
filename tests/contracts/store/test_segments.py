"""Conversations that share history: forks, and histories taken back."""

from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tertulia.domain.conversations import Conversation
from tertulia.domain.errors import NotFound
from tertulia.domain.messages import Message
from tertulia.ports.queries import MessageQuery, SearchQuery
from tertulia.ports.store import Store
from tests.contracts.store.makers import (
    a_conversation,
    a_message,
    a_prompt,
    a_trace,
    stored_agent,
    stored_conversation,
    stored_messages,
    stored_run,
    stored_step,
)


async def forked(store: Store, source: Conversation, upto: int) -> Conversation:
    agent = await store.read(lambda tx: tx.agents.get(source.agent_id))
    copy = a_conversation(agent)
    prompt = a_prompt(copy, f"prompt of {copy.id}")
    await store.write(lambda tx: tx.conversations.fork(source.id, copy, prompt, upto))
    return await store.read(lambda tx: tx.conversations.get(copy.id))


async def texts(store: Store, conversation: Conversation, start: int = 1, stop: int = 999) -> str:
    found = await store.read(lambda tx: tx.messages.range(conversation.id, start, stop))
    return "".join(message.text for message in found)


async def test_a_fork_reads_shared_history_and_its_own_prompt(store: Store) -> None:
    source = await stored_conversation(store)
    await stored_messages(store, source, *"abcd")
    copy = await forked(store, source, 3)
    await stored_messages(store, copy, *"xyz")
    await stored_messages(store, source, *"ef")
    assert copy.head == 3
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


async def test_a_message_has_a_position_in_each_conversation_that_shows_it(store: Store) -> None:
    source = await stored_conversation(store)
    shared, later = await stored_messages(store, source, *"ab")
    copy = await forked(store, source, 2)
    await stored_messages(store, copy, "x")
    for conversation in (source, copy):
        assert await store.read(lambda tx, id_=conversation.id: tx.messages.position(id_, shared.id)) == 1
    assert await store.read(lambda tx: tx.messages.position(source.id, later.id)) == 2
    with pytest.raises(NotFound, match="Message not found"):
        await store.read(lambda tx: tx.messages.position(copy.id, later.id))


async def test_a_truncated_conversation_goes_on_at_its_new_head(store: Store) -> None:
    conversation = await stored_conversation(store)
    kept, gone = await stored_messages(store, conversation, *"ab")
    run = await stored_run(store, conversation)
    before, after = await stored_step(store, run), await stored_step(store, run)
    await store.write(lambda tx: tx.conversations.set_context(conversation.id, 3))
    await store.write(lambda tx: tx.steps.put_trace(a_trace(before, head=2)))
    await store.write(lambda tx: tx.steps.put_trace(a_trace(after, head=3)))

    await store.write(lambda tx: tx.messages.truncate(conversation.id, 2))

    stored = await store.read(lambda tx: tx.conversations.get(conversation.id))
    assert (stored.head, stored.context_from, stored.epoch) == (2, 2, 1)
    with pytest.raises(NotFound):
        await store.read(lambda tx: tx.messages.get(gone.id))
    new = await stored_messages(store, conversation, *"cd")
    assert await store.read(lambda tx: tx.messages.range(conversation.id, 1, 99)) == [kept, *new]
    # What the later step was shown is gone, and its positions hold something else now.
    assert await store.read(lambda tx: tx.steps.trace(before.id)) is not None
    assert await store.read(lambda tx: tx.steps.trace(after.id)) is None


@dataclass
class Model:
    """What the conversations of one agent ought to hold, kept as plain lists."""

    histories: dict[str, list[Message]] = field(default_factory=dict[str, list[Message]])
    conversations: list[Conversation] = field(default_factory=list[Conversation])

    def add(self, conversation: Conversation, history: list[Message]) -> None:
        self.conversations.append(conversation)
        self.histories[conversation.id] = history


kinds = st.sampled_from(["append", "append", "fork", "fork", "truncate", "reset", "delete"])
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
    elif operation == "truncate":
        head = min(amount, len(history)) + 1
        await store.write(lambda tx: tx.messages.truncate(conversation.id, head))
        del history[head - 1 :]
    elif operation == "reset":
        await store.write(lambda tx: tx.messages.reset(conversation.id))
        history.clear()
    else:
        await store.write(lambda tx: tx.conversations.delete(conversation.id))
        model.conversations.remove(conversation)
        del model.histories[conversation.id]
