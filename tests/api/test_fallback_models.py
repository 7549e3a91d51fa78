"""``fallback_models`` and ``failed_tries``: ours, and absent where there are none."""

from typing import Any

import httpx
import pytest

from tertulia.domain.errors import ProviderOverloaded
from tertulia.ports.provider import Retrying
from tests.support.scripted import say
from tests.support.world import World

pytestmark = pytest.mark.anyio

HANDLES = ["ollama/llama3.2", "openai/o3"]


async def sent(client: httpx.AsyncClient, method: str, path: str, body: dict[str, Any], status: int = 200) -> Any:
    reply = await client.request(method, path, json=body)
    assert reply.status_code == status, reply.text
    return reply.json()


async def test_an_agent_shows_its_fallbacks_and_nothing_where_there_are_none(client: httpx.AsyncClient) -> None:
    plain = await sent(client, "POST", "/v1/agents/", {"name": "a"})
    assert "fallback_models" not in plain
    made = await sent(client, "POST", "/v1/agents/", {"name": "a", "fallback_models": HANDLES})
    assert made["fallback_models"] == HANDLES
    path = f"/v1/agents/{made['id']}"
    assert (await sent(client, "PATCH", path, {"name": "b"}))["fallback_models"] == HANDLES
    assert (await sent(client, "PATCH", path, {"fallback_models": HANDLES[1:]}))["fallback_models"] == HANDLES[1:]
    assert "fallback_models" not in await sent(client, "PATCH", path, {"fallback_models": None})


async def test_a_conversation_shows_its_own_fallbacks(client: httpx.AsyncClient, agent: dict[str, Any]) -> None:
    path = f"/v1/conversations?agent_id={agent['id']}"
    assert "fallback_models" not in await sent(client, "POST", path, {})
    made = await sent(client, "POST", path, {"fallback_models": HANDLES})
    assert made["fallback_models"] == HANDLES
    path = f"/v1/conversations/{made['id']}"
    assert (await sent(client, "PATCH", path, {"fallback_models": []}))["fallback_models"] == []
    assert "fallback_models" not in await sent(client, "PATCH", path, {"fallback_models": None})


@pytest.mark.parametrize("handle", ["nobody/model", "no-handle"])
async def test_a_fallback_that_cannot_be_asked_is_refused_when_it_is_set(
    client: httpx.AsyncClient, agent: dict[str, Any], handle: str
) -> None:
    body = {"fallback_models": [handle]}
    await sent(client, "POST", "/v1/agents/", {"name": "a", **body}, 400)
    await sent(client, "PATCH", f"/v1/agents/{agent['id']}", body, 400)
    await sent(client, "POST", f"/v1/conversations?agent_id={agent['id']}", body, 400)
    await sent(client, "PATCH", f"/v1/conversations/default?agent_id={agent['id']}", body, 400)


async def test_a_step_and_its_trace_tell_which_tries_failed(scripted: httpx.AsyncClient, world: World) -> None:
    agent = (await world.agent()).agent
    error = ProviderOverloaded("The model is busy.", detail="503 busy")
    world.model.scripts += [[Retrying(1, error, 0.5), *say("hi")], say("hi")]
    await world.send(agent.id, "one")
    await world.send(agent.id, "two")
    second, first = (await scripted.get("/v1/steps", params={"agent_id": agent.id})).json()
    expected = [
        {
            "model": "scripted/model",
            "error_type": "llm_error",
            "message": "The model is busy.",
            "detail": "503 busy",
            "delay": 0.5,
        }
    ]
    assert first["failed_tries"] == expected
    assert "failed_tries" not in second
    trace = (await scripted.get(f"/v1/steps/{first['id']}/trace")).json()
    assert trace["failed_tries"] == expected
    assert "failed_tries" not in (await scripted.get(f"/v1/steps/{second['id']}/trace")).json()
