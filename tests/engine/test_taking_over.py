"""Several workers on one store: who may answer, who takes over, and what each of them is told."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tertulia.context.pairing import INTERRUPTED, is_paired
from tertulia.domain.agents import BusyPolicy
from tertulia.domain.errors import ConversationBusy
from tertulia.domain.events import Ended, Event, Failed, Resumed, Stopped, TextDelta
from tertulia.domain.messages import TextPart
from tertulia.domain.runs import Run
from tertulia.domain.tools import ToolOutcome, ToolSpec
from tertulia.engine.agents import AgentDraft
from tertulia.engine.lifecycle.recovery import MAX_CUTS
from tertulia.engine.requests import NewMessage, SendRequest
from tertulia.ports.provider import TextPiece
from tertulia.ports.tool import ToolContext
from tertulia.store.sqlite.store import open_sqlite
from tests.support.fleet import Fleet
from tests.support.scripted import Gate, calls, say
from tests.support.sqlite_files import with_tables
from tests.support.world import World

pytestmark = pytest.mark.anyio


class SlowTool:
    """Waits to be let go, and counts how often it was called."""

    def __init__(self, name: str, *, idempotent: bool) -> None:
        parameters: dict[str, Any] = {"type": "object", "properties": {}}
        self.spec = ToolSpec(
            id=f"tool-{name}",
            name=name,
            description="Waits.",
            parameters=parameters,
            tool_type="letta_builtin",
            idempotent=idempotent,
        )
        self.called = 0
        self.reached, self.go = asyncio.Event(), asyncio.Event()

    async def call(self, arguments: dict[str, Any], context: ToolContext) -> ToolOutcome:
        self.called += 1
        self.reached.set()
        await self.go.wait()
        return ToolOutcome(content="done")


@pytest.fixture
def once() -> SlowTool:
    return SlowTool("once", idempotent=False)


@pytest.fixture
def again() -> SlowTool:
    return SlowTool("again", idempotent=True)


@pytest.fixture
async def fleet(tmp_path: Path, once: SlowTool, again: SlowTool) -> AsyncIterator[Fleet]:
    store = await open_sqlite(with_tables(tmp_path / "tertulia.db"))
    fleet = Fleet(store, [once, again])
    yield fleet
    await fleet.close()
    await store.close()


async def _send(world: World, conversation_id: str, text: str, busy: BusyPolicy | None = None, **more: Any) -> Run:
    message = NewMessage(role="user", content=(TextPart(text),), otid=more.pop("otid", None))
    request = SendRequest(conversation_id=conversation_id, messages=(message,), busy=busy, **more)
    return await world.services.runs.start(request)


async def _events(world: World, run_id: str) -> list[Event]:
    async with asyncio.timeout(10):
        return await world.events(run_id)


async def test_a_run_whose_worker_is_gone_is_answered_by_another(fleet: Fleet) -> None:
    first, second = await fleet.worker(), await fleet.worker()
    agent_id = (await first.agent()).agent.id
    gate = Gate()
    first.model.scripts += [[TextPiece("half"), gate, *say("never")], say("whole")]
    run = await first.start(agent_id, "hi")
    await gate.reached.wait()
    reading = asyncio.create_task(_events(second, run.id))
    await fleet.bury(first)
    await second.services.runs.look()
    events = await reading
    assert events[-1] == Ended()
    resumed = next(event for event in events if isinstance(event, Resumed))
    kept = [e.text for e in events if isinstance(e, TextDelta) and e.message_id not in resumed.discarded]
    assert "".join(kept) == "whole"
    assert await second.told(agent_id) == [("user", "hi"), ("assistant", "whole")]


async def test_the_worker_that_lost_a_run_writes_nothing_more_of_it(fleet: Fleet) -> None:
    first, second = await fleet.worker(), await fleet.worker()
    agent_id = (await first.agent()).agent.id
    gate = Gate()
    first.model.scripts += [[TextPiece("half"), gate, *say("never")], say("whole")]
    run = await first.start(agent_id, "hi")
    await gate.reached.wait()
    await fleet.bury(first)
    await second.services.runs.look()
    told = await _events(second, run.id)
    before = await first.run(run.id)
    gate.go.set()
    async with asyncio.timeout(10):
        while first.services.runs.active:  # noqa: ASYNC110  each look is a turn of the loop
            await asyncio.sleep(0)
    assert await first.run(run.id) == before
    assert await second.told(agent_id) == [("user", "hi"), ("assistant", "whole")]
    assert await _events(first, run.id) == told


async def test_a_worker_that_finds_its_lease_over_goes_on_under_another_name(fleet: Fleet) -> None:
    first = await fleet.worker()
    agent_id = (await first.agent()).agent.id
    gate = Gate()
    first.model.scripts += [[gate, *say("never")], say("whole"), say("more")]
    run = await first.start(agent_id, "hi")
    await gate.reached.wait()
    name = first.services.runs.worker_id
    await fleet.bury(first)
    await first.services.runs.look()
    assert first.services.runs.worker_id != name
    assert (await _events(first, run.id))[-1] == Ended()
    await first.send(agent_id, "and?")
    texts = [text for _, text in await first.told(agent_id)]
    assert texts == ["hi", "whole", "and?", "more"]


async def test_two_workers_never_answer_in_one_conversation_at_once(fleet: Fleet) -> None:
    first, second = await fleet.worker(), await fleet.worker()
    agent_id = (await first.agent()).agent.id
    gate = Gate()
    first.model.scripts.append([gate, *say("ok")])
    run = await first.start(agent_id, "one")
    await gate.reached.wait()
    with pytest.raises(ConversationBusy):
        await second.start(agent_id, "two")
    waits = await _send(second, agent_id, "two", "enqueue")
    assert waits.status == "created"
    gate.go.set()
    assert (await _events(second, run.id))[-1] == Ended()
    assert (await _events(second, waits.id))[-1] == Ended()
    assert [text for role, text in await first.told(agent_id) if role == "user"] == ["one", "two"]


async def test_a_run_is_cancelled_by_any_worker(fleet: Fleet) -> None:
    first, second = await fleet.worker(), await fleet.worker()
    agent_id = (await first.agent()).agent.id
    gate = Gate()
    first.model.scripts.append([TextPiece("half"), gate])
    run = await first.start(agent_id, "one")
    await gate.reached.wait()
    async with asyncio.timeout(10):
        assert await second.services.runs.cancel_conversation(agent_id) == [run.id]
    assert (await second.run(run.id)).status == "cancelled"
    assert Stopped("cancelled") in await _events(second, run.id)


@pytest.mark.parametrize(("busy", "kept"), [("interrupt", ["one", "half", "two"]), ("rollback", ["two"])])
async def test_a_message_goes_before_one_that_another_worker_answers(
    fleet: Fleet, busy: BusyPolicy, kept: list[str]
) -> None:
    first, second = await fleet.worker(), await fleet.worker()
    agent_id = (await first.agent()).agent.id
    gate = Gate()
    first.model.scripts += [[TextPiece("half"), gate], say("at once"), say("later")]
    await first.start(agent_id, "one")
    await gate.reached.wait()
    waits = await _send(first, agent_id, "three", "enqueue")
    async with asyncio.timeout(10):
        run = await _send(second, agent_id, "two", busy)
    assert (await _events(first, run.id))[-1] == Ended()
    assert (await _events(first, waits.id))[-1] == Ended()
    assert [text for _, text in await second.told(agent_id)] == [*kept, "at once", "three", "later"]


async def test_a_retry_at_another_worker_reads_the_same_run_and_keeps_it_alive(fleet: Fleet) -> None:
    first, second = await fleet.worker(), await fleet.worker()
    agent_id = (await first.agent()).agent.id
    gate = Gate()
    first.model.scripts.append([gate, *say("ok")])
    run = await _send(first, agent_id, "one", otid="mine")
    await gate.reached.wait()
    assert (await _send(second, agent_id, "one", otid="mine")).id == run.id
    await first.services.runs.abandon(run)
    gate.go.set()
    assert (await _events(second, run.id))[-1] == Ended()
    assert (await second.run(run.id)).status == "completed"


async def test_a_call_that_must_not_run_twice_gets_a_return_that_says_so(
    fleet: Fleet, once: SlowTool, again: SlowTool
) -> None:
    first, second = await fleet.worker(), await fleet.worker()
    agent_id = (await first.agent(AgentDraft(name="Ada", tool_ids=("tool-once", "tool-again")))).agent.id
    first.model.scripts += [calls(("c1", "once", "{}"), ("c2", "again", "{}")), say("ok")]
    again.go.set()
    run = await first.start(agent_id, "go")
    await once.reached.wait()
    await fleet.bury(first)
    await second.services.runs.look()
    assert (await _events(second, run.id))[-1] == Ended()
    assert (once.called, again.called) == (1, 1)
    returns = [text for role, text in await second.told(agent_id) if role == "tool"]
    assert returns == [INTERRUPTED, "done"]
    assert is_paired(await second.history(agent_id))


async def test_a_call_that_may_run_again_does(fleet: Fleet, again: SlowTool) -> None:
    first, second = await fleet.worker(), await fleet.worker()
    agent_id = (await first.agent(AgentDraft(name="Ada", tool_ids=("tool-again",)))).agent.id
    first.model.scripts += [calls(("c1", "again", "{}")), say("ok")]
    run = await first.start(agent_id, "go")
    await again.reached.wait()
    await fleet.bury(first)
    again.reached.clear()
    await second.services.runs.look()
    await again.reached.wait()
    again.go.set()
    assert (await _events(second, run.id))[-1] == Ended()
    assert again.called == 2
    assert [text for role, text in await second.told(agent_id) if role == "tool"] == ["done"]


async def test_a_worker_that_leaves_hands_its_runs_over_at_once(fleet: Fleet) -> None:
    first, second = await fleet.worker(), await fleet.worker()
    agent_id = (await first.agent()).agent.id
    gate = Gate()
    first.model.scripts += [[gate, *say("never")], say("whole")]
    run = await first.start(agent_id, "hi")
    await gate.reached.wait()
    reading = asyncio.create_task(_events(second, run.id))
    await first.services.runs.drain(0)
    assert (await reading)[-1] == Ended()
    assert (await second.run(run.id)).status == "completed"


async def test_a_run_that_kills_every_worker_at_the_same_place_is_ended(fleet: Fleet) -> None:
    first = await fleet.worker()
    agent_id = (await first.agent()).agent.id
    gates = [Gate() for _ in range(MAX_CUTS)]
    first.model.scripts += [[gate, *say("never")] for gate in gates]
    run = await first.start(agent_id, "hi")
    for gate in gates:
        await gate.reached.wait()
        await fleet.bury(first)
        await first.services.runs.look()
    assert (await _events(first, run.id))[-1] == Ended()
    ended = await first.run(run.id)
    assert ended.status == "failed"
    assert "again and again" in str(ended.error)
    assert len(first.model.requests) == MAX_CUTS


async def test_a_run_whose_tool_kills_every_worker_is_ended_with_a_return_for_the_call(
    fleet: Fleet, again: SlowTool
) -> None:
    first = await fleet.worker()
    agent_id = (await first.agent(AgentDraft(name="Ada", tool_ids=("tool-again",)))).agent.id
    first.model.scripts += [calls(("c1", "again", "{}")), say("hello again")]
    run = await first.start(agent_id, "go")
    for _ in range(MAX_CUTS):
        await again.reached.wait()
        again.reached.clear()
        await fleet.bury(first)
        await first.services.runs.look()
    assert (await _events(first, run.id))[-1] == Ended()
    ended = await first.run(run.id)
    assert ended.status == "failed"
    assert "running the tool 'again'" in str(ended.error)
    assert again.called == MAX_CUTS
    assert [text for role, text in await first.told(agent_id) if role == "tool"] == [INTERRUPTED]
    assert is_paired(await first.history(agent_id))
    await _events(first, (await first.start(agent_id, "another way, then")).id)
    assert (await first.told(agent_id))[-1] == ("assistant", "hello again")


async def test_readers_are_told_that_what_the_last_worker_said_is_void_when_the_run_is_ended(
    fleet: Fleet, again: SlowTool
) -> None:
    first = await fleet.worker()
    agent_id = (await first.agent(AgentDraft(name="Ada", tool_ids=("tool-again",)))).agent.id
    gates = [Gate() for _ in range(MAX_CUTS)]
    again.go.set()
    first.model.scripts += [calls(("c1", "again", "{}")), *([TextPiece("half"), gate] for gate in gates)]
    run = await first.start(agent_id, "hi")
    for gate in gates:
        await gate.reached.wait()
        await fleet.bury(first)
        await first.services.runs.look()
    events = await _events(first, run.id)
    *_, takeover, stopped, failed, over = events
    assert isinstance(takeover, Resumed)
    assert stopped == Stopped("error")
    assert isinstance(failed, Failed)
    assert over == Ended()
    told_last = [event.message_id for event in events if isinstance(event, TextDelta)][-1:]
    assert set(told_last) <= set(takeover.discarded)


async def test_a_tool_that_is_called_anew_after_each_death_ends_the_run_as_well(fleet: Fleet, once: SlowTool) -> None:
    first = await fleet.worker()
    agent_id = (await first.agent(AgentDraft(name="Ada", tool_ids=("tool-once",)))).agent.id
    first.model.scripts += [calls((f"c{number}", "once", "{}")) for number in range(MAX_CUTS + 1)]
    run = await first.start(agent_id, "go")
    for _ in range(MAX_CUTS):
        await once.reached.wait()
        once.reached.clear()
        await fleet.bury(first)
        await first.services.runs.look()
    assert (await _events(first, run.id))[-1] == Ended()
    assert (await first.run(run.id)).status == "failed"
    assert once.called == MAX_CUTS
    assert is_paired(await first.history(agent_id))


async def test_workers_that_leave_do_not_count_as_dead(fleet: Fleet) -> None:
    workers = [await fleet.worker() for _ in range(5)]
    agent_id = (await workers[0].agent()).agent.id
    gates = [Gate() for _ in range(4)]
    workers[0].model.scripts += [*([gate, *say("never")] for gate in gates), say("whole")]
    run = await workers[0].start(agent_id, "hi")
    for gate, world in zip(gates, workers, strict=False):
        await gate.reached.wait()
        await world.services.runs.drain(0)
    assert (await _events(workers[-1], run.id))[-1] == Ended()
    assert (await workers[-1].run(run.id)).status == "completed"


async def test_deaths_at_different_places_do_not_end_a_run(fleet: Fleet) -> None:
    first = await fleet.worker()
    agent_id = (await first.agent()).agent.id
    gates = [Gate() for _ in range(4)]
    search = ("conversation_search", '{"query": "x"}')
    for number, gate in enumerate(gates):
        first.model.scripts += [[gate, *say("never")], calls((f"c{number}", *search))]
    first.model.scripts.append(say("done"))
    run = await first.start(agent_id, "hi")
    for gate in gates:
        await gate.reached.wait()
        await fleet.bury(first)
        await first.services.runs.look()
    assert (await _events(first, run.id))[-1] == Ended()
    assert (await first.run(run.id)).status == "completed"


async def test_the_calls_of_a_run_that_is_taken_over_count_for_its_rules_and_its_steps(
    fleet: Fleet, again: SlowTool
) -> None:
    first, second = await fleet.worker(), await fleet.worker()
    rules = ({"type": "exit_loop", "tool_name": "again"},)
    draft = AgentDraft(name="Ada", tool_ids=("tool-again",), tool_rules=rules)
    agent_id = (await first.agent(draft)).agent.id
    first.model.scripts += [calls(("c1", "again", "{}")), say("never")]
    run = await first.start(agent_id, "go")
    await again.reached.wait()
    await fleet.bury(first)
    again.go.set()
    await second.services.runs.look()
    await _events(second, run.id)
    assert (await second.run(run.id)).stop_reason == "tool_rule"
    assert len(first.model.requests) == 1
