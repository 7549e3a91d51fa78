"""Fields and parameters that nobody knows: let through and named, whatever they are called."""

from typing import Any

import httpx
import pytest

IGNORED = "x-tertulia-ignored"


async def test_what_is_known_is_named_nowhere(client: httpx.AsyncClient) -> None:
    assert IGNORED not in (await client.post("/v1/agents/", json={"name": "ada"})).headers
    assert IGNORED not in (await client.get("/v1/agents/?limit=1&order=asc")).headers


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/v1/agents/", {"novel": 1}),
        ("PATCH", "/v1/agents/{agent}", {"novel": 1}),
        ("POST", "/v1/agents/", {"tool_rules": [{"type": "exit_loop", "tool_name": "x", "novel": 1}]}),
        ("POST", "/v1/agents/", {"memory_blocks": [{"label": "a", "value": "b", "novel": 1}]}),
        ("POST", "/v1/agents/", {"compaction_settings": {"mode": "all", "novel": 1}}),
        ("POST", "/v1/blocks/", {"label": "a", "value": "b", "novel": 1}),
        ("POST", "/v1/conversations/?agent_id={agent}", {"novel": 1}),
        ("PATCH", "/v1/conversations/{agent}", {"novel": 1}),
        ("POST", "/v1/providers/", {"name": "a", "provider_type": "openai", "api_key": "k", "novel": 1}),
        ("POST", "/v1/agents/{agent}/messages/preview-raw-payload", {"input": "hi", "novel": 1}),
        (
            "POST",
            "/v1/agents/{agent}/messages/preview-raw-payload",
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "hi", "novel": 1}]}]},
        ),
        ("GET", "/v1/agents/?novel=1", None),
        ("GET", "/v1/agents/count?novel=1", None),
        ("GET", "/v1/conversations/?agent_id={agent}&novel=1", None),
        ("GET", "/v1/agents/{agent}/messages?novel=1", None),
        ("GET", "/v1/models/?novel=", None),
    ],
)
async def test_what_is_unknown_is_let_through_and_named(
    client: httpx.AsyncClient, agent: dict[str, Any], method: str, path: str, body: Any
) -> None:
    reply = await client.request(method, path.format(agent=agent["id"]), json=body)
    assert (reply.status_code, reply.headers.get(IGNORED)) == (200, "novel"), reply.text


async def test_the_names_are_bounded_and_safe_however_they_are_called(client: httpx.AsyncClient) -> None:
    names = ["a\r\nx-evil: 1", "ü", "n" * 5000, *(f"field{number}" for number in range(100))]
    reply = await client.post("/v1/agents/", json=dict.fromkeys(names, 1))
    told = reply.headers[IGNORED]
    assert reply.status_code == 200
    assert "x-evil" not in reply.headers
    assert told.isascii()
    assert len(told) < 1500
    assert told.endswith("...")
