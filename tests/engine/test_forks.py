"""Forks and isolated blocks: conversations that share a past and nothing after it."""

from typing import Any

import pytest
from msgspec.structs import replace

from tertulia.domain.blocks import Block
from tertulia.domain.conversations import Conversation
from tertulia.domain.errors import Conflict, InvalidArgument, NotFound
from tertulia.domain.ids import builtin_tool_id
from tertulia.domain.messages import Compaction, Message, TextPart, ToolCallPart
from tertulia.domain.tools import ToolSpec
from tertulia.engine.conversations import ConversationDraft
from tertulia.engine.requests import NewMessage, SendRequest
from tertulia.ports.queries import BlockQuery
from tertulia.ports.store import Transaction
from tests.support.scripted import Gate, calls, say
from tests.support.world import World

pytestmark = pytest.mark.anyio

BASH = ToolSpec(id="", name="Bash", description="Run a command.", parameters={"type": "object"}, tool_type="custom")
INSERT = ("m1", "memory_insert", '{"label": "human", "new_string": "likes tea"}')


@pytest.fixture
async def conversation(world: World) -> str:
    return await world.conversation((await world.agent()).agent.id)


async def fork(world: World, conversation: str, at: Message | None = None, **fields: Any) -> str:
    return (await world.services.conversations.fork(conversation, at and at.id, **fields)).id


async def blocks(world: World, conversation_id: str) -> dict[str, Block]:
    def read(tx: Transaction) -> list[Block]:
        return tx.blocks.of_conversation(tx.conversations.get(conversation_id))

    return {block.label: block for block in await world.store.read(read)}


async def test_a_fork_remembers_what_was_said_before_it_and_nothing_after(world: World, conversation: str) -> None:
    await world.send(conversation, "one")
    made = await fork(world, conversation)
    await world.send(conversation, "two")
    await world.send(made, "three")
    assert [text for _, text in await world.told(conversation)] == ["one", "ok", "two", "ok"]
    assert [text for _, text in await world.told(made)] == ["one", "ok", "three", "ok"]
    assert [message.text for message in world.model.requests[-1].messages] == ["one", "ok", "three"]
    assert f"CONVERSATION_ID: {made}" in world.model.requests[-1].system


@pytest.mark.parametrize("first", [True, False], ids=["source first", "fork first"])
async def test_either_side_can_be_deleted(world: World, conversation: str, *, first: bool) -> None:
    await world.send(conversation, "one")
    made = await fork(world, conversation)
    gone, kept = (conversation, made) if first else (made, conversation)
    await world.services.conversations.delete(gone)
    await world.send(kept, "two")
    assert [text for _, text in await world.told(kept)] == ["one", "ok", "two", "ok"]


async def test_a_fork_at_a_message_has_it_and_what_its_calls_came_to(world: World, conversation: str) -> None:
    world.model.scripts += [calls(INSERT), say("noted")]
    await world.send(conversation, "note it")
    await world.send(conversation, "and then")
    user, called, returned, answer, *_ = await world.history(conversation)
    for at, expected in (
        (user, ["user"]),
        (called, ["user", "assistant", "tool"]),
        (returned, ["user", "assistant", "tool"]),
        (answer, ["user", "assistant", "tool", "assistant"]),
    ):
        roles = [role for role, _ in await world.told(await fork(world, conversation, at))]
        assert roles == expected


async def test_the_default_conversation_forks_into_an_ordinary_one(world: World) -> None:
    agent_id = (await world.agent()).agent.id
    await world.send(agent_id, "one")
    made = await world.services.conversations.fork(agent_id, hidden=True)
    assert (made.is_default, made.hidden, made.agent_id) == (False, True, agent_id)
    assert await world.told(made.id) == await world.told(agent_id)


async def test_a_fork_keeps_the_settings_of_its_source(world: World) -> None:
    agent_id = (await world.agent()).agent.id
    draft = ConversationDraft(summary="Tea", model="scripted/other", context_window_limit=9000)
    source = await world.services.conversations.create(agent_id, draft)
    made = await world.services.conversations.fork(source.id)
    assert (made.summary, made.model, made.context_window_limit) == ("Tea", "scripted/other", 9000)


async def test_a_message_of_another_conversation_is_no_place_to_fork_at(world: World, conversation: str) -> None:
    await world.send(conversation, "one")
    other = await world.conversation((await world.agent()).agent.id)
    (message, _) = await world.history(conversation)
    with pytest.raises(NotFound):
        await fork(world, other, message)


async def test_a_fork_beside_a_running_reply_has_what_is_durable(world: World, conversation: str) -> None:
    gate = Gate()
    world.model.scripts.append([gate, *say("slow")])
    run = await world.start(conversation, "one")
    await gate.reached.wait()
    made = await fork(world, conversation)
    await world.send(made, "two")
    gate.go.set()
    await world.events(run.id)
    assert [text for _, text in await world.told(made)] == ["one", "two", "ok"]
    assert [text for _, text in await world.told(conversation)] == ["one", "slow"]


async def test_calls_that_are_being_run_are_no_part_of_a_fork(world: World, conversation: str) -> None:
    await world.send(conversation, "one")
    call = (await world.history(conversation))[-1]
    running = replace(call, id="message-running", content=(ToolCallPart("c1", "memory_insert", "{}"),))
    await world.store.write(lambda tx: tx.messages.append(conversation, [running]))
    assert [text for _, text in await world.told(await fork(world, conversation))] == ["one", "ok"]
    with pytest.raises(Conflict):
        await fork(world, conversation, running)


async def test_both_sides_answer_a_pending_call_on_their_own(world: World, conversation: str) -> None:
    world.model.scripts.append(calls(("b1", "Bash", "{}")))
    message = NewMessage(role="user", content=(TextPart("look"),))
    request = SendRequest(conversation_id=conversation, messages=(message,), client_tools=(BASH,))
    await world.events((await world.services.runs.start(request)).id)
    made = await fork(world, conversation)
    assert [call.id for call in await world.services.conversations.pending_calls(made)] == ["b1"]


async def test_a_fork_before_a_summary_sees_what_was_seen_before_it(world: World, conversation: str) -> None:
    for text in ("one", "two", "three"):
        await world.send(conversation, text)
    first, _, second, *_ = await world.history(conversation)
    compaction = Compaction(
        trigger="test", context_from=1, pins=(), context_window=1, messages_before=6, messages_after=3
    )
    summary = replace(first, id="message-sum", role="summary", content=(TextPart("sum"),), compaction=compaction)

    def compact(tx: Transaction) -> None:
        head = tx.messages.append(conversation, [summary])
        tx.conversations.set_context(conversation, 5, [head - 1])

    await world.store.write(compact)
    for at, expected in ((None, (5, (7,))), (second, (1, ())), (summary, (5, (7,)))):
        made = await world.services.conversations.get(await fork(world, conversation, at))
        assert (made.context_from, made.pins) == expected


async def isolated(world: World, agent_id: str, *labels: str) -> Conversation:
    return await world.services.conversations.create(agent_id, ConversationDraft(isolated_block_labels=labels))


async def test_edits_of_an_isolated_block_stay_in_their_conversation(world: World) -> None:
    agent_id = (await world.agent()).agent.id
    own, other = await isolated(world, agent_id, "human"), await world.conversation(agent_id)
    world.model.scripts += [calls(INSERT), say("noted")]
    await world.send(own.id, "note it")
    await world.send(own.id, "what do I like?")
    await world.send(other, "what do I like?")
    with_tea, without = (request.system for request in world.model.requests[-2:])
    assert ("likes tea" in with_tea, "likes tea" in without) == (True, False)
    assert (await world.services.agents.block_by_label(agent_id, "human")).value == "Ann"
    assert "likes tea" in await world.services.conversations.recompile(own.id, dry_run=True)


async def test_a_fork_has_isolated_blocks_of_its_own(world: World) -> None:
    own = await isolated(world, (await world.agent()).agent.id, "human")
    made = await fork(world, own.id)
    world.model.scripts += [calls(INSERT), say("noted")]
    await world.send(made, "note it")
    values = [(await blocks(world, id_))["human"].value for id_ in (own.id, made)]
    assert ("likes tea" in values[0], "likes tea" in values[1]) == (False, True)


async def test_a_label_the_agent_does_not_have_cannot_be_isolated(world: World) -> None:
    agent_id = (await world.agent()).agent.id
    with pytest.raises(InvalidArgument, match="'persona'"):
        await isolated(world, agent_id, "persona")


@pytest.mark.parametrize("whole", [True, False], ids=["agent", "conversation"])
async def test_isolated_blocks_go_with_their_conversation(world: World, *, whole: bool) -> None:
    agent_id = (await world.agent()).agent.id
    own = await isolated(world, agent_id, "human")
    if whole:
        await world.services.agents.delete(agent_id)
    else:
        await world.services.conversations.delete(own.id)
    left = await world.store.read(lambda tx: tx.blocks.find(BlockQuery()))
    assert not {block.id for block in left} & set(own.isolated_block_ids)


async def test_a_deleted_isolated_block_leaves_the_agents_own_in_view(world: World) -> None:
    own = await isolated(world, (await world.agent()).agent.id, "human")
    (block_id,) = own.isolated_block_ids
    await world.store.write(lambda tx: tx.blocks.delete(block_id))
    await world.send(own.id, "hi")
    assert "Ann" in world.model.requests[-1].system


@pytest.mark.parametrize("command", ["delete", "rename"])
async def test_the_model_cannot_rename_or_remove_an_isolated_block(world: World, command: str) -> None:
    agent_id = (await world.agent()).agent.id
    memory = builtin_tool_id("memory")
    await world.services.agents.update(agent_id, {"tool_ids": (memory,)})
    own = await isolated(world, agent_id, "human")
    arguments = {"delete": '{"command": "delete", "path": "/memories/human"}'}.get(
        command, '{"command": "rename", "old_path": "/memories/human", "new_path": "/memories/user"}'
    )
    world.model.scripts += [calls(("m1", "memory", arguments)), say("no")]
    await world.send(own.id, "do it")
    (returned,) = [message for message in await world.history(own.id) if message.role == "tool"]
    assert (returned.is_err, "own copy" in returned.text) == (True, True)
