"""Conversations in a store."""

import pytest
from msgspec.structs import replace

from tertulia.domain.conversations import Conversation
from tertulia.domain.errors import NotFound
from tertulia.domain.models import ModelSettings
from tertulia.ports.events import EventChunk
from tertulia.ports.queries import ConversationQuery, Page
from tertulia.ports.store import Store
from tests.contracts.store.makers import (
    Work,
    a_conversation,
    a_prompt,
    a_trace,
    an_agent,
    at,
    stored_agent,
    stored_conversation,
    stored_messages,
    stored_run,
    stored_step,
)


async def summaries(store: Store, query: ConversationQuery) -> list[str | None]:
    return [conversation.summary for conversation in await store.read(lambda tx: tx.conversations.find(query))]


async def reread(store: Store, conversation: Conversation) -> Conversation:
    return await store.read(lambda tx: tx.conversations.get(conversation.id))


async def test_a_conversation_is_read_back_with_every_field_and_its_prompt_at_position_0(store: Store) -> None:
    conversation = a_conversation(
        await stored_agent(store),
        updated_at=at(1),
        summary="weather",
        description="talk",
        model="openai/x",
        model_settings=ModelSettings(provider_type="openai", strict=True),
        context_window_limit=1000,
        archived=True,
        archived_at=at(2),
        hidden=True,
        last_message_at=at(3),
        last_run_completion=at(4),
        context_from=1,
        epoch=0,
    )
    prompt = a_prompt(conversation)
    await store.write(lambda tx: tx.conversations.insert(conversation, prompt))
    assert await reread(store, conversation) == replace(conversation, head=1)
    assert await store.read(lambda tx: tx.messages.system(conversation.id)) == prompt
    assert await store.read(lambda tx: tx.messages.range(conversation.id, 0, 9)) == [prompt]


async def test_an_unknown_conversation_is_not_found(store: Store) -> None:
    unknown = a_conversation(an_agent())
    works: list[Work] = [
        lambda tx: tx.conversations.get(unknown.id),
        lambda tx: tx.conversations.update(unknown),
        lambda tx: tx.conversations.touch(unknown.id, last_message_at=at(1)),
        lambda tx: tx.conversations.set_context(unknown.id, 3),
        lambda tx: tx.conversations.delete(unknown.id),
        lambda tx: tx.messages.append(unknown.id, []),
        lambda tx: tx.messages.system(unknown.id),
        lambda tx: tx.messages.set_system(unknown.id, a_prompt(unknown)),
        lambda tx: tx.messages.reset(unknown.id),
        lambda tx: tx.messages.truncate(unknown.id, 1),
    ]
    for work in works:
        with pytest.raises(NotFound, match=f"Conversation not found with id='{unknown.id}'"):
            await store.write(work)


async def test_a_conversation_needs_its_agent(store: Store) -> None:
    orphan = a_conversation(an_agent())
    with pytest.raises(NotFound, match="Agent not found"):
        await store.write(lambda tx: tx.conversations.insert(orphan, a_prompt(orphan)))


async def test_an_update_leaves_the_fields_that_belong_to_messages(store: Store) -> None:
    conversation = await stored_conversation(store)
    await stored_messages(store, conversation, "one", "two")
    await store.write(lambda tx: tx.conversations.set_context(conversation.id, 2))
    changed = replace(
        conversation, summary="new", archived=True, last_message_at=at(5), updated_at=at(6), head=77, epoch=7
    )
    await store.write(lambda tx: tx.conversations.update(changed))
    assert await reread(store, conversation) == replace(changed, head=3, context_from=2, epoch=0)


async def test_an_update_can_clear_a_field(store: Store) -> None:
    conversation = await stored_conversation(store, summary="old", last_message_at=at(1), last_run_completion=at(1))
    cleared = replace(conversation, summary=None, last_message_at=None, last_run_completion=None)
    await store.write(lambda tx: tx.conversations.update(cleared))
    assert await reread(store, conversation) == cleared


async def test_touching_sets_the_given_times_alone(store: Store) -> None:
    conversation = await stored_conversation(store, summary="kept")
    await store.write(lambda tx: tx.conversations.touch(conversation.id, last_message_at=at(1)))
    await store.write(lambda tx: tx.conversations.touch(conversation.id, last_run_completion=at(2)))
    touched = replace(conversation, last_message_at=at(1), last_run_completion=at(2))
    assert await reread(store, conversation) == touched


async def test_the_context_begins_where_it_is_set_to(store: Store) -> None:
    conversation = await stored_conversation(store)
    await stored_messages(store, conversation, "one", "two")
    await store.write(lambda tx: tx.conversations.set_context(conversation.id, 3, [2]))
    assert await reread(store, conversation) == replace(conversation, head=3, context_from=3, pins=(2,))
    await store.write(lambda tx: tx.conversations.set_context(conversation.id, 2))
    assert await reread(store, conversation) == replace(conversation, head=3, context_from=2)


async def test_default_conversations_are_stored_but_never_listed(store: Store) -> None:
    agent = await stored_agent(store)
    default = await stored_conversation(store, agent, id=agent.id)
    assert (await reread(store, default)).is_default
    assert await store.read(lambda tx: tx.conversations.find(ConversationQuery(agent_id=agent.id))) == []


async def test_conversations_are_filtered_by_their_fields(store: Store) -> None:
    agent = await stored_agent(store)
    await stored_conversation(store, agent, summary="Weather in Oslo", created_at=at(1))
    await stored_conversation(store, summary="other agent", created_at=at(2))
    await stored_conversation(store, agent, summary="archived", archived=True, created_at=at(3))
    await stored_conversation(store, agent, summary="hidden", hidden=True, created_at=at(4))
    weather = "Weather in Oslo"
    assert await summaries(store, ConversationQuery()) == ["other agent", weather]
    assert await summaries(store, ConversationQuery(agent_id=agent.id)) == [weather]
    assert await summaries(store, ConversationQuery(archived=True)) == ["archived"]
    assert await summaries(store, ConversationQuery(archived=None)) == ["archived", "other agent", weather]
    assert await summaries(store, ConversationQuery(summary_search="IN OSLO")) == [weather]
    assert await summaries(store, ConversationQuery(include_hidden=True)) == ["hidden", "other agent", weather]


async def test_conversations_without_the_ordering_time_come_last_in_both_directions(store: Store) -> None:
    agent = await stored_agent(store)
    await stored_conversation(store, agent, summary="a", created_at=at(1), last_message_at=at(8))
    await stored_conversation(store, agent, summary="b", created_at=at(2), last_run_completion=at(5))
    await stored_conversation(store, agent, summary="c", created_at=at(3), last_message_at=at(9))
    ascending = Page(ascending=True)
    assert await summaries(store, ConversationQuery()) == ["c", "b", "a"]
    assert await summaries(store, ConversationQuery(page=ascending)) == ["a", "b", "c"]
    assert await summaries(store, ConversationQuery(order_by="last_message_at")) == ["c", "a", "b"]
    assert await summaries(store, ConversationQuery(order_by="last_message_at", page=ascending)) == ["a", "c", "b"]
    assert (await summaries(store, ConversationQuery(order_by="last_run_completion")))[0] == "b"


async def test_deleting_a_conversation_takes_its_messages_runs_and_steps(store: Store) -> None:
    agent = await stored_agent(store)
    conversation, other = await stored_conversation(store, agent), await stored_conversation(store, agent)
    (message,) = await stored_messages(store, conversation, "gone")
    (kept,) = await stored_messages(store, other, "kept")
    run = await stored_run(store, conversation)
    steps = [await stored_step(store, run), await stored_step(store, await stored_run(store, other))]
    await store.write(lambda tx: tx.events.append(run.id, EventChunk(1, 1, b"e")))
    for frame in ("shared", "own"):
        await store.write(lambda tx, frame=frame: tx.steps.put_frame(frame, frame.encode()))
    await store.write(lambda tx: tx.steps.put_trace(a_trace(steps[0], "own")))
    await store.write(lambda tx: tx.steps.put_trace(a_trace(steps[1], "shared")))

    await store.write(lambda tx: tx.conversations.delete(conversation.id))

    getters: list[Work] = [
        lambda tx: tx.conversations.get(conversation.id),
        lambda tx: tx.messages.get(message.id),
        lambda tx: tx.runs.get(run.id),
        lambda tx: tx.steps.get(steps[0].id),
        lambda tx: tx.steps.frame("own"),
    ]
    for getter in getters:
        with pytest.raises(NotFound):
            await store.read(getter)
    assert await store.read(lambda tx: tx.events.after(run.id, 0)) == []
    assert await store.read(lambda tx: tx.messages.get(kept.id)) == kept
    assert await store.read(lambda tx: tx.steps.frame("shared")) == b"shared"
    assert await store.read(lambda tx: tx.agents.get(agent.id)) == agent
