"""Runs under which workers died again and again, on each database: which one is ended, what becomes of the others."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tertulia.domain.events import Ended, Event
from tertulia.domain.runs import Run
from tertulia.engine.lifecycle.recovery import MAX_CUTS, SUSPICIOUS_CUTS
from tertulia.ports.store import Store
from tests.support.fleet import Fleet
from tests.support.scripted import Gate, calls, say
from tests.support.world import World


@pytest.fixture
async def fleet(store: Store) -> AsyncIterator[Fleet]:
    fleet = Fleet(store)
    yield fleet
    await fleet.close()


async def _events(world: World, run_id: str) -> list[Event]:
    async with asyncio.timeout(10):
        return await world.events(run_id)


async def _suspects(fleet: Fleet, world: World, count: int) -> list[Run]:
    """Runs under which as many workers died as make them suspect; each one's model waits at a gate."""
    agent_id = (await world.agent()).agent.id
    gates = [[Gate() for _ in range(count)] for _ in range(SUSPICIOUS_CUTS)]
    world.model.scripts += [[gate, *say("never")] for life in gates for gate in life]
    runs = [await world.start(await world.conversation(agent_id), f"message {number}") for number in range(count)]
    for life in gates:
        for gate in life:
            await gate.reached.wait()
        await fleet.bury(world)
        if life is not gates[-1]:
            await world.services.runs.look()
    return runs


async def test_of_the_runs_that_workers_died_under_one_at_a_time_is_resumed(fleet: Fleet) -> None:
    first = await fleet.worker()
    runs = await _suspects(fleet, first, 3)
    gates = [Gate() for _ in runs]
    first.model.scripts += [[gate, *say("whole")] for gate in gates]
    before = len(first.model.requests)
    await first.services.runs.look()
    for number, (run, gate) in enumerate(zip(runs, gates, strict=True)):
        await gate.reached.wait()
        assert (len(first.model.requests), first.services.runs.active) == (before + number + 1, 1)
        gate.go.set()
        assert (await _events(first, run.id))[-1] == Ended()
    assert {(await first.run(run.id)).status for run in runs} == {"completed"}


async def test_a_run_that_kills_its_workers_is_ended_and_those_that_it_took_with_it_are_answered(fleet: Fleet) -> None:
    first = await fleet.worker()
    guilty, *others = await _suspects(fleet, first, 4)
    for _ in range(MAX_CUTS - SUSPICIOUS_CUTS):
        gate = Gate()
        first.model.scripts.append([gate, *say("never")])
        await first.services.runs.look()
        await gate.reached.wait()
        await fleet.bury(first)
    first.model.scripts += [say("whole") for _ in others]
    await first.services.runs.look()
    assert (await _events(first, guilty.id))[-1] == Ended()
    for run in others:
        assert (await _events(first, run.id))[-1] == Ended()
    assert (await first.run(guilty.id)).status == "failed"
    assert {(await first.run(run.id)).status for run in others} == {"completed"}


async def test_a_suspect_that_gets_past_its_step_makes_room_for_the_next(fleet: Fleet) -> None:
    first = await fleet.worker()
    one, other = await _suspects(fleet, first, 2)
    gate = Gate()
    search = ("c1", "conversation_search", '{"query": "x"}')
    first.model.scripts += [calls(search), [gate, *say("one")], say("other")]
    await first.services.runs.look()
    await gate.reached.wait()
    assert (await _events(first, other.id))[-1] == Ended()
    assert (await first.run(one.id)).status == "running"
    gate.go.set()
    assert (await _events(first, one.id))[-1] == Ended()


async def test_a_suspect_is_resumed_by_another_worker_that_has_room_for_one(fleet: Fleet) -> None:
    first, second = await fleet.worker(), await fleet.worker()
    one, other = await _suspects(fleet, first, 2)
    gates = [Gate(), Gate()]
    first.model.scripts += [[gate, *say("whole")] for gate in gates]
    await first.services.runs.look()
    await gates[0].reached.wait()
    await second.services.runs.look()
    await gates[1].reached.wait()
    assert (first.services.runs.active, second.services.runs.active) == (1, 1)
    for gate in gates:
        gate.go.set()
    assert [(await _events(first, run.id))[-1] for run in (one, other)] == [Ended(), Ended()]


async def test_a_run_that_waits_for_room_can_be_cancelled(fleet: Fleet) -> None:
    first = await fleet.worker()
    one, other = await _suspects(fleet, first, 2)
    gate = Gate()
    first.model.scripts += [[gate, *say("whole")]]
    await first.services.runs.look()
    await gate.reached.wait()
    async with asyncio.timeout(10):
        assert await first.services.runs.cancel(other.id)
    assert (await first.run(other.id)).status == "cancelled"
    gate.go.set()
    assert (await _events(first, one.id))[-1] == Ended()
