from typing import Any

import httpx
import pytest


async def _make(client: httpx.AsyncClient, label: str, value: str = "v", **fields: Any) -> dict[str, Any]:
    reply = await client.post("/v1/blocks/", json={"label": label, "value": value, **fields})
    assert reply.status_code == 200, reply.text
    made: dict[str, Any] = reply.json()
    return made


WHOLE: dict[str, Any] = {
    "label": "human",
    "value": "Ada",
    "limit": 40,
    "description": "who it is",
    "read_only": True,
    "metadata": {"a": [1]},
    "tags": ["y", "x"],
    "hidden": False,
    "is_template": True,
    "template_name": "t",
    "template_id": "t1",
    "base_template_id": "t0",
    "deployment_id": "d",
    "entity_id": "e",
    "project_id": "p",
    "preserve_on_migration": True,
}


async def test_every_field_a_block_is_made_with_is_shown(client: httpx.AsyncClient) -> None:
    block = await _make(client, **WHOLE)
    assert block == {**WHOLE, "id": block["id"], "created_by_id": None, "last_updated_by_id": None}
    assert (await client.get(f"/v1/blocks/{block['id']}")).json() == block


@pytest.mark.parametrize("field", WHOLE)
async def test_a_field_of_a_block_changes_alone(client: httpx.AsyncClient, field: str) -> None:
    block = await _make(client, "persona", "I am", limit=30)
    changed = (await client.patch(f"/v1/blocks/{block['id']}", json={field: WHOLE[field]})).json()
    assert changed == {**block, field: WHOLE[field]}


async def test_null_clears_what_can_be_empty_and_nothing_else(client: httpx.AsyncClient) -> None:
    block = await _make(client, **WHOLE)
    changed = (await client.patch(f"/v1/blocks/{block['id']}", json=dict.fromkeys(WHOLE))).json()
    kept = {"label", "value", "limit", "read_only", "is_template"}
    assert {name: changed[name] for name in kept} == {name: WHOLE[name] for name in kept}
    assert not any(changed[name] for name in set(WHOLE) - kept)


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"label": "a"}, 422),
        ({"value": "a"}, 422),
        ({"label": "", "value": ""}, 422),
        ({"label": "a", "value": "abc", "limit": 2}, 422),
        ({"label": "a", "value": "", "limit": -1}, 422),
    ],
)
async def test_a_block_that_makes_no_sense_is_refused(
    client: httpx.AsyncClient, fields: dict[str, Any], status: int
) -> None:
    assert (await client.post("/v1/blocks/", json=fields)).status_code == status
    assert (await client.get("/v1/blocks/")).json() == []


async def test_an_edit_over_the_limit_is_refused_with_the_numbers(client: httpx.AsyncClient) -> None:
    block = await _make(client, "human", limit=5)
    reply = await client.patch(f"/v1/blocks/{block['id']}", json={"value": "1234567"})
    assert reply.status_code == 422
    assert "7 characters" in reply.json()["detail"]
    assert "limit of 5 by 2" in reply.json()["detail"]
    assert (await client.get(f"/v1/blocks/{block['id']}")).json() == block


class TestList:
    @pytest.fixture(autouse=True)
    async def blocks(self, client: httpx.AsyncClient) -> None:
        first = await _make(client, "human", "Ada", description="A person", tags=["x"], project_id="p")
        second = await _make(client, "persona", "terse", tags=["x", "y"], is_template=True, template_name="brief")
        await _make(client, "human", "Grace")
        for blocks in ([first["id"]], [first["id"], second["id"]]):
            assert (await client.post("/v1/agents/", json={"block_ids": blocks})).status_code == 200

    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            ({}, ["Ada", "terse", "Grace"]),
            ({"order": "desc"}, ["Grace", "terse", "Ada"]),
            ({"limit": 1}, ["Ada"]),
            ({"label": "human"}, ["Ada", "Grace"]),
            ({"label_search": "PERS"}, ["terse"]),
            ({"description_search": "person"}, ["Ada"]),
            ({"value_search": "ra"}, ["Grace"]),
            ({"tags": ["x", "y"]}, ["Ada", "terse"]),
            ({"tags": ["x", "y"], "match_all_tags": True}, ["terse"]),
            ({"templates_only": True}, ["terse"]),
            ({"name": "brief"}, ["terse"]),
            ({"project_id": "p"}, ["Ada"]),
            ({"connected_to_agents_count_gt": 1}, ["Ada"]),
            ({"connected_to_agents_count_lt": 1}, ["Grace"]),
            ({"connected_to_agents_count_eq": [0, 1]}, ["terse", "Grace"]),
        ],
    )
    async def test_each_parameter_has_its_effect(
        self, client: httpx.AsyncClient, query: dict[str, Any], expected: list[str]
    ) -> None:
        reply = await client.get("/v1/blocks/", params=query)
        assert reply.status_code == 200, reply.text
        assert [block["value"] for block in reply.json()] == expected

    @pytest.mark.parametrize("query", [{"identity_id": "i"}, {"identifier_keys": ["k"]}])
    async def test_a_filter_no_block_can_pass_finds_none(
        self, client: httpx.AsyncClient, query: dict[str, Any]
    ) -> None:
        assert (await client.get("/v1/blocks/", params=query)).json() == []

    async def test_a_count_out_of_range_is_422(self, client: httpx.AsyncClient) -> None:
        for name in ("eq", "gt", "lt"):
            reply = await client.get("/v1/blocks/", params={f"connected_to_agents_count_{name}": 10**30})
            assert reply.status_code == 422

    async def test_cursors_go_on_in_the_order_of_the_list(self, client: httpx.AsyncClient) -> None:
        first = (await client.get("/v1/blocks/", params={"limit": 1})).json()[0]["id"]
        after = (await client.get("/v1/blocks/", params={"after": first, "limit": 1})).json()
        assert [block["value"] for block in after] == ["terse"]


async def test_a_deleted_block_is_gone_from_its_agents_too(client: httpx.AsyncClient) -> None:
    block = await _make(client, "human")
    agent = (await client.post("/v1/agents/", json={"block_ids": [block["id"]]})).json()
    reply = await client.delete(f"/v1/blocks/{block['id']}")
    assert (reply.status_code, reply.json()) == (200, None)
    assert (await client.get(f"/v1/agents/{agent['id']}")).json()["blocks"] == []
    for method, path in (("GET", ""), ("DELETE", ""), ("PATCH", ""), ("GET", "/agents")):
        gone = await client.request(method, f"/v1/blocks/{block['id']}{path}", json={})
        assert gone.status_code == 404


async def test_the_agents_of_a_block_are_listed(client: httpx.AsyncClient) -> None:
    block = await _make(client, "human")
    for name in ("one", "two"):
        await client.post("/v1/agents/", json={"name": name, "block_ids": [block["id"]]})
    await client.post("/v1/agents/", json={"name": "three"})
    path = f"/v1/blocks/{block['id']}/agents"
    assert [agent["name"] for agent in (await client.get(path)).json()] == ["two", "one"]
    shown = (await client.get(path, params={"order": "asc", "limit": 1, "include": "agent.tags"})).json()
    assert [(agent["name"], agent["blocks"]) for agent in shown] == [("one", [block])]


class TestOfAnAgent:
    async def test_blocks_are_attached_shown_by_label_changed_and_detached(
        self, client: httpx.AsyncClient, agent: dict[str, Any]
    ) -> None:
        path = f"/v1/agents/{agent['id']}/core-memory/blocks"
        block = await _make(client, "human")
        for _ in range(2):
            attached = (await client.patch(f"{path}/attach/{block['id']}")).json()
            assert attached["blocks"] == [block]
        assert (await client.get(f"{path}/human")).json() == block
        changed = (await client.patch(f"{path}/human", json={"value": "new"})).json()
        assert changed == {**block, "value": "new"}
        assert (await client.get(f"/v1/blocks/{block['id']}")).json() == changed
        assert (await client.get(f"{path}/")).json() == [changed]
        assert (await client.patch(f"{path}/detach/{block['id']}")).json()["blocks"] == []
        for reply in (
            await client.get(f"{path}/human"),
            await client.patch(f"{path}/human", json={}),
            await client.patch(f"{path}/detach/{block['id']}"),
            await client.patch(f"{path}/attach/block-0"),
        ):
            assert reply.status_code == 404

    async def test_a_label_may_hold_a_slash(self, client: httpx.AsyncClient, agent: dict[str, Any]) -> None:
        block = await _make(client, "human/name")
        path = f"/v1/agents/{agent['id']}/core-memory/blocks"
        await client.patch(f"{path}/attach/{block['id']}")
        assert (await client.get(f"{path}/human%2Fname")).json() == block

    async def test_two_blocks_of_one_label_are_refused(self, client: httpx.AsyncClient, agent: dict[str, Any]) -> None:
        path = f"/v1/agents/{agent['id']}/core-memory/blocks"
        first, second = await _make(client, "human"), await _make(client, "human")
        assert (await client.patch(f"{path}/attach/{first['id']}")).status_code == 200
        reply = await client.patch(f"{path}/attach/{second['id']}")
        assert reply.status_code == 400
        assert "labelled 'human'" in reply.json()["detail"]

    async def test_they_are_listed_in_pages(self, client: httpx.AsyncClient, agent: dict[str, Any]) -> None:
        path = f"/v1/agents/{agent['id']}/core-memory/blocks"
        for label in ("a", "b", "c"):
            await client.patch(f"{path}/attach/{(await _make(client, label))['id']}")
        listed = (await client.get(path, params={"order": "asc", "limit": 2})).json()
        assert [block["label"] for block in listed] == ["a", "b"]
        rest = (await client.get(path, params={"order": "asc", "after": listed[-1]["id"]})).json()
        assert [block["label"] for block in rest] == ["c"]

    async def test_of_an_agent_that_is_not_there_nothing_is_shown(self, client: httpx.AsyncClient) -> None:
        for path in ("", "/human"):
            reply = await client.get(f"/v1/agents/agent-0/core-memory/blocks{path}")
            assert reply.status_code == 404
            assert "agent-0" in reply.json()["detail"]
