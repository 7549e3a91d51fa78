"""Counts and other paths that clients call beyond those of the SDK."""

from typing import Any

import httpx
import pytest

from tests.support.scripted import Gate, say
from tests.support.world import World


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"name": "ada"},
        {"query_text": "AD"},
        {"tags": ["a", "b"]},
        {"tags": ["a", "b"], "match_all_tags": True},
        {"identity_id": "x"},
    ],
    ids=str,
)
async def test_agents_are_counted_as_they_are_listed(client: httpx.AsyncClient, query: dict[str, Any]) -> None:
    for body in ({"name": "ada", "tags": ["a"]}, {"name": "bob", "tags": ["a", "b"]}, {"name": "h", "hidden": True}):
        assert (await client.post("/v1/agents/", json=body)).status_code == 200
    listed = (await client.get("/v1/agents/", params=query)).json()
    reply = await client.get("/v1/agents/count", params=query)
    assert (reply.status_code, reply.json()) == (200, len(listed))


@pytest.mark.parametrize(
    "query",
    [{}, {"label": "a"}, {"value_search": "X"}, {"connected_to_agents_count_eq": [0]}, {"templates_only": True}],
    ids=str,
)
async def test_blocks_are_counted_as_they_are_listed(client: httpx.AsyncClient, query: dict[str, Any]) -> None:
    for body in ({"label": "a", "value": "x"}, {"label": "a", "value": "y"}, {"label": "b", "value": "x"}):
        await client.post("/v1/blocks/", json=body)
    await client.post("/v1/agents/", json={"memory_blocks": [{"label": "c", "value": "x"}]})
    listed = (await client.get("/v1/blocks/", params=query)).json()
    assert (await client.get("/v1/blocks/count", params=query)).json() == len(listed)


async def test_tools_are_counted_as_they_are_listed(client: httpx.AsyncClient) -> None:
    for query in ({}, {"search": "memory"}, {"exclude_tool_types": ["letta_core"]}):
        listed = (await client.get("/v1/tools/", params={**query, "limit": 1000})).json()
        assert (await client.get("/v1/tools/count", params=query)).json() == len(listed)


async def test_the_memory_of_an_agent_is_read_by_itself(client: httpx.AsyncClient) -> None:
    made = await client.post("/v1/agents/", json={"memory_blocks": [{"label": "human", "value": "Ann"}]})
    agent = made.json()
    reply = await client.get(f"/v1/agents/{agent['id']}/core-memory")
    assert (reply.status_code, reply.json()) == (200, agent["memory"])
    assert (await client.get("/v1/agents/agent-none/core-memory")).status_code == 404


async def test_the_runs_that_are_on_are_listed_by_themselves(scripted: httpx.AsyncClient, world: World) -> None:
    agent_id = (await world.agent()).agent.id
    gate = Gate()
    world.model.scripts.append([gate, *say("Hello!")])
    run = await world.start(agent_id, "hi")
    await gate.reached.wait()
    assert [each["id"] for each in (await scripted.get("/v1/runs/active")).json()] == [run.id]
    assert (await scripted.get("/v1/runs/active", params={"agent_ids": "agent-other"})).json() == []
    gate.go.set()
    await world.events(run.id)
    assert (await scripted.get("/v1/runs/active")).json() == (await scripted.get("/v1/jobs/")).json() == []
