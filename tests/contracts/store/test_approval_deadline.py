"""Calls that nobody answers in time, on each database: they are denied once, by any worker, without a message."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from tertulia.domain.errors import NothingPending
from tertulia.domain.messages import TextPart, ToolReturnPart
from tertulia.domain.tools import ToolSpec
from tertulia.engine.approval_deadline import deny_overdue
from tertulia.engine.requests import NewAnswer, NewMessage, SendRequest
from tertulia.ports.store import Store
from tests.support.fleet import Fleet
from tests.support.scripted import Gate, calls, say
from tests.support.world import World

BASH = ToolSpec(id="", name="Bash", description="Run a command.", parameters={"type": "object"}, tool_type="custom")
OVER = timedelta(0)
LONG = timedelta(days=1)


@pytest.fixture
async def fleet(store: Store) -> AsyncIterator[Fleet]:
    fleet = Fleet(store)
    yield fleet
    await fleet.close()


@pytest.fixture
async def world(fleet: Fleet) -> World:
    return await fleet.worker()


async def _send(world: World, conversation_id: str, **fields: Any) -> str:
    request = SendRequest(conversation_id=conversation_id, client_tools=(BASH,), **fields)
    run = await world.services.runs.start(request)
    await world.events(run.id)
    return run.id


async def _ask(world: World, *called: str) -> tuple[str, str]:
    """A conversation whose calls wait for the client, and the run that made them."""
    conversation_id = await world.conversation((await world.agent()).agent.id)
    world.model.scripts.append(calls(*((id_, "Bash", "{}") for id_ in called)))
    return conversation_id, await _say(world, conversation_id, "list")


async def _say(world: World, conversation_id: str, text: str) -> str:
    return await _send(world, conversation_id, messages=(NewMessage(role="user", content=(TextPart(text),)),))


def _ran(id_: str) -> NewAnswer:
    return NewAnswer(returns=(ToolReturnPart(tool_call_id=id_, name="", content="a.txt"),))


async def _pending(world: World, conversation_id: str) -> list[str]:
    return [call.id for call in await world.services.conversations.pending_calls(conversation_id)]


async def test_overdue_calls_are_denied_in_the_name_of_the_run_that_made_them(world: World) -> None:
    conversation_id, run_id = await _ask(world, "b1", "b2")
    assert await deny_overdue(world.store, OVER) == 1
    assert await _pending(world, conversation_id) == []
    *_, first, second = await world.history(conversation_id)
    assert [(m.role, m.run_id, m.is_err) for m in (first, second)] == [("tool", run_id, True)] * 2
    assert "No answer came" in first.text
    assert (await world.run(run_id)).stop_reason == "requires_approval"
    assert len(world.model.requests) == 1
    world.model.scripts.append(say("on we go"))
    await _say(world, conversation_id, "never mind")
    assert (await world.told(conversation_id))[-1] == ("assistant", "on we go")


async def test_many_workers_that_look_at_once_deny_a_call_once(fleet: Fleet, world: World) -> None:
    stores = [world.store, *[(await fleet.worker()).store for _ in range(4)]]
    asked = [await _ask(world, f"b{number}") for number in range(5)]
    denied = await asyncio.gather(*(deny_overdue(store, OVER) for store in stores))
    assert sum(denied) == len(asked)
    for conversation_id, _ in asked:
        roles = [message.role for message in await world.history(conversation_id)]
        assert roles == ["user", "assistant", "tool"]


async def test_calls_that_have_time_left_and_those_that_were_answered_stay_as_they_are(world: World) -> None:
    waits, _ = await _ask(world, "b1")
    answered, _ = await _ask(world, "b2")
    world.model.scripts.append(say("fine"))
    await _send(world, answered, answers=(_ran("b2"),))
    assert await deny_overdue(world.store, LONG) == 0
    assert await _pending(world, waits) == ["b1"]
    assert await deny_overdue(world.store, OVER) == 1
    assert (await world.told(answered))[-1] == ("assistant", "fine")


async def test_a_call_whose_answer_is_being_worked_on_is_not_denied(world: World) -> None:
    conversation_id, _ = await _ask(world, "b1")
    gate = Gate()
    world.model.scripts.append([gate, *say("fine")])
    answering = asyncio.create_task(_send(world, conversation_id, answers=(_ran("b1"),)))
    await gate.reached.wait()
    assert await deny_overdue(world.store, OVER) == 0
    gate.go.set()
    await answering
    assert await deny_overdue(world.store, OVER) == 0
    roles = [message.role for message in await world.history(conversation_id)]
    assert roles == ["user", "assistant", "approval", "tool", "assistant"]


async def test_what_is_left_of_a_request_that_was_answered_in_part_is_denied(world: World) -> None:
    conversation_id, _ = await _ask(world, "b1", "b2")
    await _send(world, conversation_id, answers=(_ran("b1"),))
    assert await _pending(world, conversation_id) == ["b2"]
    assert await deny_overdue(world.store, OVER) == 1
    assert await _pending(world, conversation_id) == []


async def test_a_late_answer_is_told_that_nothing_waits_for_it(world: World) -> None:
    conversation_id, _ = await _ask(world, "b1")
    await deny_overdue(world.store, OVER)
    with pytest.raises(NothingPending):
        await _send(world, conversation_id, answers=(_ran("b1"),))


async def test_the_calls_of_a_fork_are_denied_as_well_though_what_it_was_forked_from_is_gone(world: World) -> None:
    conversation_id, _ = await _ask(world, "b1")
    fork = await world.services.conversations.fork(conversation_id)
    await world.services.conversations.delete(conversation_id)
    assert await deny_overdue(world.store, OVER) == 1
    assert [message.role for message in await world.history(fork.id)] == ["user", "assistant", "tool"]


async def test_another_process_denies_what_one_that_is_gone_asked(fleet: Fleet, world: World) -> None:
    conversation_id, _ = await _ask(world, "b1")
    await world.services.runs.close()
    later = await fleet.worker()
    assert await deny_overdue(later.store, OVER) == 1
    assert await _pending(later, conversation_id) == []
