"""Agents in a store."""

import pytest

from tertulia.domain.agents import AgentActivity, CompactionSettings
from tertulia.domain.errors import NotFound
from tertulia.domain.models import ModelSettings
from tertulia.ports.events import EventChunk
from tertulia.ports.queries import AgentQuery, MessageQuery, Page, TagQuery
from tertulia.ports.store import Store
from tests.contracts.store.makers import (
    Work,
    a_trace,
    an_agent,
    at,
    stored_agent,
    stored_block,
    stored_conversation,
    stored_messages,
    stored_run,
    stored_step,
)


async def names(store: Store, query: AgentQuery) -> list[str]:
    found, count = await store.read(lambda tx: (tx.agents.find(query), tx.agents.count(query)))
    assert count == len(found) or query.page != Page()
    return [agent.name for agent in found]


async def test_an_agent_is_read_back_with_every_field(store: Store) -> None:
    agent = an_agent(
        name='Åsa "the" agent; DROP TABLE agents',
        description="helps\n\0out",
        updated_at=at(1),
        model_settings=ModelSettings(provider_type="openai", temperature=0.25, reasoning={"effort": "low"}),
        context_window_limit=4096,
        embedding="local/embed",
        compaction_settings=CompactionSettings(mode="all", clip_chars=10),
        tool_ids=("tool-2", "tool-1"),
        tool_rules=({"type": "run_first", "tool_name": "search"},),
        tags=("b", "a"),
        metadata={"deep": [{"x": None, "y": 1.5, "z": 2**62}]},
        timezone="Europe/Madrid",
        hidden=False,
        message_buffer_autoclear=True,
        project_id="project-1",
        max_files_open=3,
        per_file_view_window_char_limit=9,
    )
    await store.write(lambda tx: tx.agents.insert(agent))
    assert await store.read(lambda tx: tx.agents.get(agent.id)) == agent


async def test_an_unknown_agent_is_not_found(store: Store) -> None:
    unknown = an_agent()
    with pytest.raises(NotFound, match=f"Agent not found with id='{unknown.id}'"):
        await store.read(lambda tx: tx.agents.get(unknown.id))
    with pytest.raises(NotFound):
        await store.write(lambda tx: tx.agents.update(unknown))
    with pytest.raises(NotFound):
        await store.write(lambda tx: tx.agents.delete(unknown.id))
    with pytest.raises(NotFound):
        await store.write(lambda tx: tx.agents.set_activity(unknown.id, AgentActivity()))


async def test_many_agents_come_in_the_order_asked_for_without_the_unknown(store: Store) -> None:
    first, second = await stored_agent(store), await stored_agent(store)
    found = await store.read(lambda tx: tx.agents.get_many([second.id, "agent-unknown", first.id]))
    assert found == [second, first]
    assert await store.read(lambda tx: tx.agents.get_many([])) == []


async def test_an_update_replaces_the_agent_and_its_tags(store: Store) -> None:
    agent = await stored_agent(store, tags=("old", "kept"))
    changed = an_agent(id=agent.id, name="Bea", tags=("kept", "new"), updated_at=at(5))
    await store.write(lambda tx: tx.agents.update(changed))
    assert await store.read(lambda tx: tx.agents.get(agent.id)) == changed
    assert await store.read(lambda tx: tx.agents.tags(TagQuery())) == ["kept", "new"]


async def test_agents_are_ordered_by_their_times(store: Store) -> None:
    await stored_agent(store, name="one", created_at=at(1), updated_at=at(9))
    await stored_agent(store, name="two", created_at=at(2), updated_at=at(8))
    assert await names(store, AgentQuery()) == ["two", "one"]
    assert await names(store, AgentQuery(page=Page(ascending=True))) == ["one", "two"]
    assert await names(store, AgentQuery(order_by="updated_at")) == ["one", "two"]


async def test_agents_that_never_ran_come_last_in_both_directions_of_last_run_completion(store: Store) -> None:
    for name, completion in (("never", None), ("early", at(1)), ("late", at(2))):
        agent = await stored_agent(store, name=name)
        activity = AgentActivity(last_run_completion=completion)
        if completion:
            await store.write(lambda tx, id_=agent.id, activity=activity: tx.agents.set_activity(id_, activity))
    order = "last_run_completion"
    assert await names(store, AgentQuery(order_by=order)) == ["late", "early", "never"]
    assert await names(store, AgentQuery(order_by=order, page=Page(ascending=True))) == ["early", "late", "never"]


async def test_agents_are_filtered_by_name_and_by_part_of_it(store: Store) -> None:
    for minute, name in enumerate(("ÄRGER", "arger", "100%", "1000")):
        await stored_agent(store, name=name, created_at=at(minute))
    assert await names(store, AgentQuery(name="arger")) == ["arger"]
    assert await names(store, AgentQuery(text="ärg")) == ["ÄRGER"]
    assert await names(store, AgentQuery(text="RGER")) == ["arger", "ÄRGER"]
    assert await names(store, AgentQuery(text="0%")) == ["100%"]
    assert await names(store, AgentQuery(text="_")) == []


async def test_agents_are_filtered_by_any_or_all_tags(store: Store) -> None:
    await stored_agent(store, name="a", tags=("x",), created_at=at(1))
    await stored_agent(store, name="b", tags=("x", "y", "x"), created_at=at(2))
    await stored_agent(store, name="c", created_at=at(3))
    assert await names(store, AgentQuery(tags=("x", "y"))) == ["b", "a"]
    assert await names(store, AgentQuery(tags=("x", "y", "x"), match_all_tags=True)) == ["b"]


async def test_agents_are_filtered_by_project_block_and_last_stop_reason(store: Store) -> None:
    agent = await stored_agent(store, name="mine", project_id="p")
    await stored_agent(store, name="other")
    block = await stored_block(store, agent)
    await store.write(lambda tx: tx.agents.set_activity(agent.id, AgentActivity(last_stop_reason="max_steps")))
    assert await names(store, AgentQuery(project_id="p")) == ["mine"]
    assert await names(store, AgentQuery(block_id=block.id)) == ["mine"]
    assert await names(store, AgentQuery(last_stop_reason="max_steps")) == ["mine"]
    assert await names(store, AgentQuery(last_stop_reason="end_turn")) == []


async def test_hidden_agents_are_listed_only_when_asked_for(store: Store) -> None:
    await stored_agent(store, name="hidden", hidden=True, created_at=at(1))
    await stored_agent(store, name="shown", hidden=False, created_at=at(2))
    assert await names(store, AgentQuery()) == ["shown"]
    assert await names(store, AgentQuery(include_hidden=True)) == ["shown", "hidden"]


async def test_activity_is_kept_apart_from_the_agent(store: Store) -> None:
    agent, idle = await stored_agent(store), await stored_agent(store)
    for duration in (10, 20):
        activity = AgentActivity(
            last_run_completion=at(duration), last_run_duration_ms=duration, last_stop_reason="end_turn"
        )
        await store.write(lambda tx, activity=activity: tx.agents.set_activity(agent.id, activity))
    found = await store.read(lambda tx: tx.agents.activity([agent.id, idle.id]))
    assert found == {
        agent.id: AgentActivity(last_run_completion=at(20), last_run_duration_ms=20, last_stop_reason="end_turn"),
        idle.id: AgentActivity(),
    }
    assert await store.read(lambda tx: tx.agents.get(agent.id)) == agent


async def test_tags_are_listed_once_sorted_searched_and_paged(store: Store) -> None:
    await stored_agent(store, tags=("pear", "apple"))
    await stored_agent(store, tags=("apple", "Grape"))
    tags = await store.read(lambda tx: tx.agents.tags(TagQuery()))
    assert tags == sorted(["pear", "apple", "Grape"])
    assert await store.read(lambda tx: tx.agents.tags(TagQuery(text="AP"))) == ["Grape", "apple"]
    page = TagQuery(page=Page(limit=1, after="Grape", ascending=True))
    assert await store.read(lambda tx: tx.agents.tags(page)) == ["apple"]
    with pytest.raises(NotFound, match="Tag"):
        await store.read(lambda tx: tx.agents.tags(TagQuery(page=Page(after="plum"))))


async def test_deleting_an_agent_takes_everything_of_it_but_its_blocks(store: Store) -> None:
    agent = await stored_agent(store, tags=("x",))
    block = await stored_block(store, agent)
    conversation = await stored_conversation(store, agent)
    (message,) = await stored_messages(store, conversation, "hello")
    run = await stored_run(store, conversation)
    step = await stored_step(store, run)
    await store.write(lambda tx: tx.steps.put_frame("digest", b"frame"))
    await store.write(lambda tx: tx.steps.put_trace(a_trace(step)))
    await store.write(lambda tx: tx.events.append(run.id, EventChunk(1, 2, b"events")))
    await store.write(lambda tx: tx.agents.set_activity(agent.id, AgentActivity(last_run_duration_ms=1)))

    await store.write(lambda tx: tx.agents.delete(agent.id))

    getters: list[Work] = [
        lambda tx: tx.agents.get(agent.id),
        lambda tx: tx.conversations.get(conversation.id),
        lambda tx: tx.messages.get(message.id),
        lambda tx: tx.runs.get(run.id),
        lambda tx: tx.steps.get(step.id),
        lambda tx: tx.steps.frame("digest"),
    ]
    for getter in getters:
        with pytest.raises(NotFound):
            await store.read(getter)
    assert await store.read(lambda tx: tx.blocks.get(block.id)) == block
    assert await store.read(lambda tx: tx.messages.find(MessageQuery(agent_id=agent.id))) == []
    assert await store.read(lambda tx: tx.events.after(run.id, 0)) == []
    assert await store.read(lambda tx: tx.agents.tags(TagQuery())) == []
    assert await store.read(lambda tx: tx.agents.activity([agent.id])) == {agent.id: AgentActivity()}
