"""Log lines say which run they are about, by themselves, and nothing of what was said in it."""

import json

import pytest
from structlog.contextvars import bound_contextvars, merge_contextvars
from structlog.testing import capture_logs

from tertulia.cli.logs import configure_logs
from tertulia.domain.errors import ProviderOverloaded
from tertulia.engine.agents import AgentDraft
from tertulia.ports.provider import Finished, Retrying, TextPiece
from tests.support.scripted import Gate, calls, say
from tests.support.world import World

pytestmark = pytest.mark.anyio

BUSY = Retrying(1, ProviderOverloaded("busy"), 0.0)


async def test_every_line_of_a_run_says_whose_it_is(world: World) -> None:
    agent = await world.agent()
    conversation = await world.conversation(agent.agent.id)
    world.model.scripts.append([BUSY, *say("done")])
    with bound_contextvars(request_id="req-1"), capture_logs(processors=[merge_contextvars]) as lines:
        run = await world.start(conversation, "hello")
        await world.events(run.id)
    (line,) = [line for line in lines if line["event"] == "model_retried"]
    assert (line["run_id"], line["conversation_id"], line["agent_id"]) == (run.id, conversation, agent.agent.id)
    assert line["worker_id"].startswith("worker-")
    assert line["request_id"] == "req-1"


async def test_a_run_that_waited_for_its_turn_has_nothing_of_the_one_before(world: World) -> None:
    agent = await world.agent(AgentDraft(name="Ada", busy_policy="enqueue"))
    conversation = await world.conversation(agent.agent.id)
    gate = Gate()
    world.model.scripts.append([TextPiece("wait"), gate, Finished(reason="stop", usage=None)])
    world.model.scripts.append([BUSY, *say("done")])
    with capture_logs(processors=[merge_contextvars]) as lines:
        with bound_contextvars(request_id="req-1"):
            first = await world.start(conversation, "one")
        await gate.reached.wait()
        with bound_contextvars(request_id="req-2"):
            second = await world.start(conversation, "two")
        gate.go.set()
        await world.events(first.id)
        await world.events(second.id)
    (line,) = [line for line in lines if line["event"] == "model_retried"]
    assert line["run_id"] == second.id
    assert "request_id" not in line


async def test_nothing_that_was_said_is_in_the_log(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("debug", "json")
    agent = await world.agent()
    conversation = await world.conversation(agent.agent.id)
    world.model.scripts.append([BUSY, *calls(("call-1", "conversation_search", '{"query": "xyzzy"}'))])
    world.model.scripts.append(calls(("call-2", "memory", '{"command": "xyzzy"}')))
    world.model.scripts.append([TextPiece("xyzzy"), RuntimeError("broken")])
    await world.send(conversation, "the word is xyzzy")
    written = capsys.readouterr().err
    lines = [json.loads(line) for line in written.splitlines() if line.startswith("{")]
    assert {"model_retried", "run_failed"} <= {line["event"] for line in lines}
    assert all(line["conversation_id"] == conversation for line in lines)
    assert "xyzzy" not in written
