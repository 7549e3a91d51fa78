"""Runs that go from one worker to another, as both of them tell of it."""

import pytest

from tertulia.ports.provider import Finished, TextPiece
from tertulia.ports.telemetry import RunBegan, RunEnded, RunLeft, RunTakenOver
from tests.support.scripted import USAGE, Gate, ScriptedCatalogue
from tests.support.services import services_over
from tests.support.told import Told
from tests.support.world import World

pytestmark = pytest.mark.anyio


async def test_a_run_that_another_worker_took_is_lost(world: World, told: Told) -> None:
    conversation = await world.conversation((await world.agent()).agent.id)
    gate = Gate()
    world.model.scripts.append([TextPiece("half"), gate, Finished(reason="stop", usage=USAGE)])
    run = await world.start(conversation, "hello")
    await gate.reached.wait()
    await world.store.write(lambda tx: tx.workers.forget_all())
    await world.store.write(lambda tx: tx.runs.claim("another", 10))
    gate.go.set()
    assert await told.until(RunLeft) == [RunLeft(run.id, lost=True)]
    assert not told.of(RunEnded)


async def test_a_run_that_a_server_left_is_taken_over_and_gone_on_with(world: World, told: Told) -> None:
    conversation = await world.conversation((await world.agent()).agent.id)
    gate = Gate()
    world.model.scripts.append([TextPiece("half"), gate])
    run = await world.start(conversation, "hello")
    await gate.reached.wait()
    await world.services.runs.close()
    assert await told.until(RunLeft) == [RunLeft(run.id, lost=False)]
    next_told = Told()
    services = services_over(world.store, ScriptedCatalogue(), watchers=[next_told])
    await services.runs.open()
    (ended,) = await next_told.until(RunEnded)
    assert (ended.run.id, ended.run.status) == (run.id, "completed")
    assert next_told.of(RunTakenOver) == [RunTakenOver(run.id)]
    assert [began.resumed for began in next_told.of(RunBegan)] == [True]
    await services.runs.close()
