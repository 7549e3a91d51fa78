"""Runs and steps over HTTP."""

import json
from typing import Any

import httpx
import pytest

from tests.conformance.schema import find_problems, operation, reference
from tests.support.scripted import USAGE, Gate, calls, say
from tests.support.world import World


@pytest.fixture
async def conversation(world: World) -> str:
    return await world.conversation((await world.agent()).agent.id)


@pytest.fixture
async def run_id(world: World, conversation: str) -> str:
    """A run of two steps."""
    world.model.scripts += [calls(("call_1", "conversation_search", '{"query": "tea"}')), say("Nothing.")]
    run = await world.start(conversation, "hi")
    await world.events(run.id)
    return run.id


async def get(client: httpx.AsyncClient, path: str, **query: Any) -> Any:
    reply = await client.get(path, params=query)
    assert reply.status_code == 200, reply.text
    return reply.json()


async def test_a_run_tells_how_it_went(scripted: httpx.AsyncClient, conversation: str, run_id: str) -> None:
    run = await get(scripted, f"/v1/runs/{run_id}")
    assert not find_problems(run, reference("Run"))
    assert (run["status"], run["stop_reason"], run["conversation_id"]) == ("completed", "end_turn", conversation)
    assert run["total_duration_ns"] >= run["ttft_ns"] > 0
    assert run["request_config"] == {
        "use_assistant_message": True,
        "assistant_message_tool_name": "send_message",
        "assistant_message_tool_kwarg": "message",
        "include_return_message_types": None,
    }


async def test_a_run_of_the_default_conversation_says_default(scripted: httpx.AsyncClient, world: World) -> None:
    agent_id = (await world.agent()).agent.id
    await world.send(agent_id, "hi")
    (run,) = await get(scripted, "/v1/runs", conversation_id="default", agent_id=agent_id)
    assert run["conversation_id"] == "default"


async def test_a_run_lists_its_messages_and_steps_and_adds_up_its_usage(
    scripted: httpx.AsyncClient, run_id: str
) -> None:
    messages = await get(scripted, f"/v1/runs/{run_id}/messages")
    assert [message["message_type"] for message in messages] == [
        "user_message",
        "tool_call_message",
        "tool_return_message",
        "assistant_message",
    ]
    first, second = await get(scripted, f"/v1/runs/{run_id}/steps", order="asc")
    assert (await get(scripted, f"/v1/runs/{run_id}/steps", limit=1))[0] == second
    assert (await get(scripted, f"/v1/runs/{run_id}/steps", order="asc", after=first["id"])) == [second]
    usage = await get(scripted, f"/v1/runs/{run_id}/usage")
    response = operation("runs.usage.retrieve").response
    assert response
    assert not find_problems(usage, response)
    assert usage["total_tokens"] == 2 * USAGE.total_tokens


async def test_runs_are_filtered(scripted: httpx.AsyncClient, world: World, conversation: str, run_id: str) -> None:
    gate = Gate()
    world.model.scripts.append([gate, *say("later")])
    running = await world.start(conversation, "more")
    await gate.reached.wait()

    async def found(**query: Any) -> list[str]:
        return [run["id"] for run in await get(scripted, "/v1/runs/", **query)]

    assert await found() == [running.id, run_id]
    assert await found(order="asc") == await found(ascending=True) == [run_id, running.id]
    assert await found(limit=1, after=running.id) == [run_id]
    assert await found(active=True) == await found(statuses=["running", "failed"]) == [running.id]
    assert await found(active=True, statuses="completed") == []
    assert await found(stop_reason="end_turn") == [run_id]
    assert await found(agent_id=running.agent_id) == await found(agent_ids=[running.agent_id]) == await found()
    assert await found(agent_id="agent-other") == []
    assert await found(conversation_id=conversation, background=False) == await found()
    assert await found(background=True) == []
    assert (await scripted.get("/v1/runs?order=asc&ascending=false")).status_code == 400
    gate.go.set()
    await world.events(running.id)


async def test_a_step_tells_what_it_cost(scripted: httpx.AsyncClient, run_id: str) -> None:
    step = (await get(scripted, f"/v1/runs/{run_id}/steps", order="asc"))[0]
    assert not find_problems(step, reference("Step"))
    assert await get(scripted, f"/v1/steps/{step['id']}") == step
    assert (step["model_handle"], step["total_tokens"], step["status"]) == (
        "scripted/model",
        USAGE.total_tokens,
        "success",
    )
    messages = await get(scripted, f"/v1/steps/{step['id']}/messages")
    assert [message["message_type"] for message in messages] == ["tool_call_message", "tool_return_message"]
    metrics = await get(scripted, f"/v1/steps/{step['id']}/metrics")
    response = operation("steps.metrics.retrieve").response
    assert response
    assert not find_problems(metrics, response)
    assert metrics["llm_request_ns"] > 0


async def test_a_trace_is_the_request_and_the_reply(scripted: httpx.AsyncClient, world: World, run_id: str) -> None:
    step = (await get(scripted, f"/v1/runs/{run_id}/steps", order="desc"))[0]
    trace = await get(scripted, f"/v1/steps/{step['id']}/trace")
    assert not find_problems(trace, reference("ProviderTrace"))
    assert trace["request_json"] == json.loads(world.model.encode(world.model.requests[-1]))
    assert trace["response_json"] == {"text": "Nothing."}


async def test_feedback_is_given_added_to_and_taken_back(scripted: httpx.AsyncClient, run_id: str) -> None:
    step_id = (await get(scripted, f"/v1/runs/{run_id}/steps"))[0]["id"]

    async def give(**feedback: Any) -> tuple[str | None, list[str]]:
        step = (await scripted.patch(f"/v1/steps/{step_id}/feedback", json=feedback)).json()
        return step["feedback"], step["tags"]

    assert await give(feedback="positive", tags=["kind"]) == ("positive", ["kind"])
    assert await give(tags=["kind", "short"]) == ("positive", ["kind", "short"])
    assert await give(feedback="negative") == ("negative", ["kind", "short"])

    async def found(**query: Any) -> list[str]:
        return [step["id"] for step in await get(scripted, "/v1/steps/", **query)]

    assert await found(feedback="negative") == await found(has_feedback=True) == await found(tags="short") == [step_id]
    assert (await give(feedback=None))[0] is None
    assert await found(has_feedback=True) == []


async def test_steps_are_filtered(scripted: httpx.AsyncClient, run_id: str) -> None:
    second, first = await get(scripted, "/v1/steps/")

    async def found(**query: Any) -> list[str]:
        return [step["id"] for step in await get(scripted, "/v1/steps", **query)]

    assert await found(order="asc") == [first["id"], second["id"]]
    assert await found(after=second["id"]) == [first["id"]]
    assert len(await found(model="model", agent_id=first["agent_id"], start_date="2020-01-01T00:00:00+02:00")) == 2
    assert await found(end_date="2020-01-01") == await found(model="other") == await found(project_id="p") == []
    for query in ("trace_ids=a", "start_date=yesterday"):
        assert (await scripted.get(f"/v1/steps?{query}")).status_code in {400, 422}


@pytest.mark.parametrize(
    "path",
    ["runs/x", "runs/x/steps", "runs/x/usage", "runs/x/messages", "steps/x", "steps/x/metrics", "steps/x/trace"],
)
async def test_an_unknown_id_is_404(scripted: httpx.AsyncClient, path: str) -> None:
    assert (await scripted.get(f"/v1/{path}")).status_code == 404


async def test_the_messages_of_a_run_are_shown_as_its_request_wanted_them(
    scripted: httpx.AsyncClient, world: World
) -> None:
    agent_id = (await world.agent()).agent.id
    for types in (["assistant_message"], ["tool_call_message", "tool_return_message"]):
        world.model.scripts += [calls(("call_1", "conversation_search", '{"query": "tea"}')), say("Nothing.")]
        body = {"input": "hi", "include_return_message_types": types}
        run = (await scripted.post(f"/v1/agents/{agent_id}/messages/async", json=body)).json()
        await world.events(run["id"])
        shown = await get(scripted, f"/v1/runs/{run['id']}/messages")
        assert [message["message_type"] for message in shown] == types
        blocking = (await scripted.post(f"/v1/agents/{agent_id}/messages", json=body)).json()
        assert {message["message_type"] for message in blocking["messages"]} <= set(types)
