"""Tools, tags and models: lists of what there is."""

from typing import Any

import httpx
import pytest

from tertulia.tools import BUILTIN_TOOLS


async def _names(client: httpx.AsyncClient, path: str, **query: Any) -> list[str]:
    reply = await client.get(path, params=query)
    assert reply.status_code == 200, reply.text
    return [item["name"] for item in reply.json()]


async def test_the_built_in_tools_are_listed_and_shown(client: httpx.AsyncClient) -> None:
    specs = [tool.spec for tool in BUILTIN_TOOLS]
    assert await _names(client, "/v1/tools/", order="asc") == [spec.name for spec in specs]
    for spec in specs:
        shown = (await client.get(f"/v1/tools/{spec.id}")).json()
        assert shown["json_schema"] == {
            "name": spec.name,
            "description": spec.description,
            "parameters": spec.parameters,
        }
    assert (await client.get("/v1/tools/tool-0")).status_code == 404


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"name": "send_message"}, {"send_message"}),
        ({"name": "web_search"}, {"web_search"}),
        ({"name": "run_code"}, set[str]()),
        ({"names": ["send_message", "memory"]}, {"send_message", "memory"}),
        ({"search": "SEND_MESS"}, {"send_message"}),
        ({"tool_types": ["custom"]}, set[str]()),
        ({"exclude_tool_types": ["custom"]}, {tool.spec.name for tool in BUILTIN_TOOLS}),
        ({"return_only_letta_tools": True}, {tool.spec.name for tool in BUILTIN_TOOLS}),
        ({"tool_ids": [BUILTIN_TOOLS[0].spec.id]}, {BUILTIN_TOOLS[0].spec.name}),
    ],
)
async def test_each_filter_of_tools_has_its_effect(
    client: httpx.AsyncClient, query: dict[str, Any], expected: set[str]
) -> None:
    assert set(await _names(client, "/v1/tools/", **query)) == expected


async def test_a_tool_type_nobody_knows_is_422(client: httpx.AsyncClient) -> None:
    assert (await client.get("/v1/tools/", params={"tool_types": "x"})).status_code == 422


async def test_tags_are_those_of_agents_in_alphabetical_order(client: httpx.AsyncClient) -> None:
    for tags in (["b", "a"], ["b", "Cab"]):
        await client.post("/v1/agents/", json={"tags": tags})
    assert sorted((await client.get("/v1/tags/")).json()) == ["Cab", "a", "b"]
    for parameter in ("name", "query_text"):
        assert set((await client.get("/v1/tags/", params={parameter: "A"})).json()) == {"Cab", "a"}
    listed = (await client.get("/v1/tags/", params={"order": "desc", "limit": 2})).json()
    rest = (await client.get("/v1/tags/", params={"order": "desc", "after": listed[-1]})).json()
    assert sorted([*listed, *rest]) == ["Cab", "a", "b"]
    assert (await client.get("/v1/tags/", params={"name": "a", "query_text": "b"})).status_code == 400


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, {"openai/gpt-4o-mini", "openai/o3", "ollama/llama3.2"}),
        ({"provider_name": "ollama"}, {"ollama/llama3.2"}),
        ({"provider_type": "ollama"}, {"ollama/llama3.2"}),
        ({"provider_type": "anthropic"}, set[str]()),
        ({"provider_category": ["byok"]}, set[str]()),
        ({"provider_category": ["base", "byok"], "provider_name": "openai"}, {"openai/gpt-4o-mini", "openai/o3"}),
    ],
)
async def test_models_are_listed_and_filtered(
    client: httpx.AsyncClient, query: dict[str, Any], expected: set[str]
) -> None:
    models = (await client.get("/v1/models/", params=query)).json()
    assert {model["handle"] for model in models} == expected
    for model in models:
        assert model["max_context_window"] == model["context_window"] > 0
        assert model["handle"] == f"{model['provider_name']}/{model['name']}"


@pytest.mark.parametrize("query", [{"provider_type": "x"}, {"provider_category": "x"}])
async def test_a_filter_of_models_nobody_knows_is_422(client: httpx.AsyncClient, query: dict[str, str]) -> None:
    assert (await client.get("/v1/models/", params=query)).status_code == 422


async def test_a_server_without_embedding_models_lists_none(client: httpx.AsyncClient) -> None:
    assert (await client.get("/v1/models/embedding")).json() == []
