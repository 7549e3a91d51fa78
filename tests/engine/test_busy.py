"""Busy policies: what becomes of a message to a conversation that is answering another one."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from tertulia.domain.agents import BusyPolicy
from tertulia.domain.errors import ConversationBusy, QueueFull
from tertulia.domain.events import Ended, RunStarted, Stopped
from tertulia.domain.messages import TextPart
from tertulia.domain.runs import Run
from tertulia.engine.agents import AgentDraft
from tertulia.engine.lifecycle.settings import RunSettings
from tertulia.engine.requests import NewMessage, SendRequest
from tertulia.ports.provider import TextPiece
from tertulia.ports.store import Transaction
from tests.support.scripted import Gate, calls, say
from tests.support.services import services_over
from tests.support.world import World

pytestmark = pytest.mark.anyio

T = TypeVar("T")


async def send(world: World, conversation_id: str, text: str, busy: BusyPolicy | None = None) -> Run:
    message = NewMessage(role="user", content=(TextPart(text),))
    return await world.services.runs.start(SendRequest(conversation_id=conversation_id, messages=(message,), busy=busy))


async def running(world: World) -> tuple[str, Run, Gate]:
    """A conversation whose run stands at a gate after its first word."""
    agent_id, gate = (await world.agent()).agent.id, Gate()
    world.model.scripts.append([TextPiece("first "), gate, *say("done")])
    run = await send(world, agent_id, "one")
    await gate.reached.wait()
    return agent_id, run, gate


async def test_messages_that_wait_are_answered_in_the_order_they_came(world: World) -> None:
    agent_id, first, gate = await running(world)
    waiting = [await send(world, agent_id, text, "enqueue") for text in ("two", "three")]
    assert [run.status for run in waiting] == ["created", "created"]
    gate.go.set()
    events = [await world.events(run.id) for run in (first, *waiting)]
    assert all(isinstance(log[0], RunStarted) and log[-1] == Ended() for log in events)
    assert [text for role, text in await world.told(agent_id) if role == "user"] == ["one", "two", "three"]
    assert {(await world.run(run.id)).status for run in waiting} == {"completed"}


async def test_what_waits_can_be_cancelled(world: World) -> None:
    agent_id, _, gate = await running(world)
    waits = await send(world, agent_id, "two", "enqueue")
    assert await world.services.runs.cancel(waits.id)
    assert await world.events(waits.id) == [
        RunStarted(waits.id, waits.created_at.timestamp()),
        Stopped("cancelled"),
        Ended(),
    ]
    gate.go.set()
    await send(world, agent_id, "three", "enqueue")
    assert "two" not in str(await world.told(agent_id))


@pytest.mark.parametrize("run_settings", [RunSettings(queue_limit=2)])
async def test_the_queue_is_bounded(world: World) -> None:
    agent_id, _, gate = await running(world)
    for text in ("two", "three"):
        await send(world, agent_id, text, "enqueue")
    with pytest.raises(QueueFull):
        await send(world, agent_id, "four", "enqueue")
    gate.go.set()


async def test_a_message_that_interrupts_keeps_what_was_said_so_far(world: World) -> None:
    agent_id, first, _ = await running(world)
    world.model.scripts.append(say("second"))
    run = await send(world, agent_id, "two", "interrupt")
    await world.events(run.id)
    assert (await world.run(first.id)).status == "cancelled"
    history = await world.history(agent_id)
    assert [(m.text, m.partial) for m in history] == [
        ("one", False),
        ("first ", True),
        ("two", False),
        ("second", False),
    ]


async def test_a_message_that_rolls_back_leaves_nothing_of_the_other(world: World) -> None:
    agent_id, gate = (await world.agent()).agent.id, Gate()
    world.model.scripts += [calls(("c1", "conversation_search", '{"query": "x"}')), [gate]]
    first = await send(world, agent_id, "one")
    await gate.reached.wait()
    world.model.scripts.append(say("second"))
    run = await send(world, agent_id, "two", "rollback")
    await world.events(run.id)
    assert await world.told(agent_id) == [("user", "two"), ("assistant", "second")]
    assert (await world.events(first.id))[-2:] == [Stopped("cancelled"), Ended()]
    await world.send(agent_id, "three")
    assert [message.text for message in world.model.requests[-1].messages] == ["two", "second", "three"]


async def test_a_message_that_interrupts_goes_before_those_that_wait(world: World) -> None:
    agent_id, _, _ = await running(world)
    waits = await send(world, agent_id, "later", "enqueue")
    now = await send(world, agent_id, "now", "interrupt")
    await world.events(now.id)
    await world.events(waits.id)
    assert [text for role, text in await world.told(agent_id) if role == "user"] == ["one", "now", "later"]


async def test_the_agent_may_say_what_happens(world: World) -> None:
    agent = (await world.agent(AgentDraft(busy_policy="enqueue"))).agent
    gate = Gate()
    world.model.scripts.append([gate, *say("ok")])
    await send(world, agent.id, "one")
    await gate.reached.wait()
    assert (await send(world, agent.id, "two")).status == "created"
    with pytest.raises(ConversationBusy):
        await send(world, agent.id, "three", "reject")
    gate.go.set()


async def test_many_that_wait_at_once_all_get_their_turn(world: World) -> None:
    agent_id = (await world.agent()).agent.id
    started = await asyncio.gather(*(send(world, agent_id, f"m{n}", "enqueue") for n in range(20)))
    for run in started:
        assert (await world.events(run.id))[-1] == Ended()
    assert len(world.model.requests) == 20


async def test_what_waits_goes_on_after_a_restart(world: World, tmp_path: Path) -> None:
    agent_id, _, _ = await running(world)
    waits = await send(world, agent_id, "two", "enqueue")
    await world.services.runs.close()
    restarted = services_over(world.store, world.services.catalogue)
    await restarted.runs.open()
    async with asyncio.timeout(10):
        after = World(restarted, world.model)
        assert (await after.events(waits.id))[-1] == Ended()
    assert (await after.run(waits.id)).status == "completed"
    await restarted.runs.close()


async def test_a_cancel_that_comes_while_a_run_is_ending_does_not_strand_what_waits(world: World) -> None:
    agent_id, first, gate = await running(world)
    waits = await send(world, agent_id, "two", "enqueue")
    ending = asyncio.Event()
    write = world.store.write

    async def slow(work: Callable[[Transaction], T]) -> T:
        result = await write(work)
        ending.set()
        return result

    world.store.write = slow  # pyright: ignore[reportAttributeAccessIssue] a moment between the write and its news
    gate.go.set()
    await ending.wait()
    await world.services.runs.cancel(first.id)
    async with asyncio.timeout(10):
        assert (await world.events(waits.id))[-1] == Ended()


async def test_a_waiting_message_cancelled_just_as_its_turn_comes_is_either_cancelled_or_answered_not_both(
    world: World,
) -> None:
    agent_id, first, gate = await running(world)
    waits = await send(world, agent_id, "two", "enqueue")
    write, beginning, go = world.store.write, asyncio.Event(), asyncio.Event()

    async def slow(work: Callable[[Transaction], T]) -> T:
        result = await write(work)
        if not go.is_set() and (await world.run(waits.id)).status == "running":
            beginning.set()
            await go.wait()
        return result

    world.store.write = slow  # pyright: ignore[reportAttributeAccessIssue] a moment in which its turn has just come
    second = Gate()
    world.model.scripts.append([second, *say("never")])
    gate.go.set()
    async with asyncio.timeout(10):
        await beginning.wait()
        cancelling = asyncio.create_task(world.services.runs.cancel(waits.id))
        await asyncio.sleep(0)
        go.set()
        assert await cancelling
        assert (await world.events(waits.id))[-2:] == [Stopped("cancelled"), Ended()]
    assert (await world.run(waits.id)).status == "cancelled"
    assert world.services.runs.active == 0
    await world.send(agent_id, "three")
    assert (await world.run(first.id)).status == "completed"
