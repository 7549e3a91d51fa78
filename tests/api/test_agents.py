from typing import Any

import httpx
import pytest
from msgspec.structs import replace

from tertulia.api.deps import Services
from tertulia.domain.clock import utc_now
from tertulia.ports.store import Transaction

MODEL = "openai/gpt-4o-mini"


async def _make(client: httpx.AsyncClient, **fields: Any) -> dict[str, Any]:
    reply = await client.post("/v1/agents/", json=fields)
    assert reply.status_code == 200, reply.text
    made: dict[str, Any] = reply.json()
    return made


async def _listed(client: httpx.AsyncClient, **query: Any) -> list[str]:
    reply = await client.get("/v1/agents/", params=query)
    assert reply.status_code == 200, reply.text
    return [agent["name"] for agent in reply.json()]


async def test_an_agent_made_with_nothing_has_a_name_the_default_model_and_its_tools(client: httpx.AsyncClient) -> None:
    agent = await _make(client)
    assert agent["name"]
    assert agent["model"] == agent["llm_config"]["handle"] == MODEL
    assert agent["agent_type"] == agent["memory"]["agent_type"] == "letta_v1_agent"
    assert "conversation_search" in {tool["name"] for tool in agent["tools"]}
    assert len(agent["message_ids"]) == 1
    assert agent["created_at"].endswith("Z")
    assert len(agent["created_at"]) == len("2026-11-21T17:30:00.000000Z")


async def test_every_field_an_agent_is_made_with_is_shown(client: httpx.AsyncClient) -> None:
    sent: dict[str, Any] = {
        "name": "ada",
        "agent_type": "memgpt_v2_agent",
        "system": "Be brief.",
        "description": "helps",
        "model_settings": {"provider_type": "openai", "temperature": 0.5},
        "context_window_limit": 9000,
        "embedding": "openai/text-embedding-3-small",
        "compaction_settings": {"mode": "all", "model": "letta/auto", "sliding_window_percentage": 0.3},
        "tags": ["b", "a"],
        "metadata": {"deep": {"er": [1, None]}},
        "timezone": "Europe/Madrid",
        "hidden": False,
        "message_buffer_autoclear": True,
        "project_id": "p1",
        "max_files_open": 2,
        "per_file_view_window_char_limit": 300,
        "include_base_tools": False,
        "tools": ["memory_insert"],
        "tool_rules": [{"type": "max_count_per_step", "tool_name": "memory_insert", "max_count_limit": 2}],
        "memory_blocks": [{"label": "human", "value": "{{name}}", "limit": 50, "read_only": True, "tags": ["t"]}],
        "memory_variables": {"name": "Chad"},
        "initial_message_sequence": [{"role": "user", "content": "hi"}],
    }
    agent = await _make(client, **sent)
    same = set(sent) - {
        "model_settings",
        "context_window_limit",
        "compaction_settings",
        "include_base_tools",
        "tools",
        "tool_rules",
        "memory_blocks",
        "memory_variables",
        "initial_message_sequence",
    }
    assert {name: agent[name] for name in same} == {name: sent[name] for name in same}
    assert agent["model_settings"]["temperature"] == agent["llm_config"]["temperature"] == 0.5
    assert agent["llm_config"]["context_window"] == 9000
    assert agent["compaction_settings"]["model"] == "letta/auto"
    assert [tool["name"] for tool in agent["tools"]] == ["memory_insert"]
    assert sent["tool_rules"][0] | {"prompt_template": None} in agent["tool_rules"]
    (block,) = agent["blocks"]
    assert agent["memory"]["blocks"] == [block]
    assert (block["value"], block["limit"], block["read_only"], block["tags"]) == ("Chad", 50, True, ["t"])
    assert len(agent["message_ids"]) == 2
    assert (await client.get(f"/v1/agents/{agent['id']}")).json() == agent


async def test_what_letta_code_sends_makes_an_agent(client: httpx.AsyncClient) -> None:
    agent = await _make(
        client,
        agent_type="letta_v1_agent",
        compaction_settings={"model": "letta/auto"},
        context_window_limit=30_000,
        description="d",
        include_base_tool_rules=False,
        include_base_tools=False,
        initial_message_sequence=[],
        memory_blocks=[{"description": "d", "label": "persona", "value": "v"}],
        model=MODEL,
        name="n",
        parallel_tool_calls=True,
        system=None,
        tags=["origin:letta-code"],
        tools=["memory_insert"],
    )
    assert agent["model_settings"]["provider_type"] == "openai"
    assert agent["model_settings"]["parallel_tool_calls"] is True
    changed = await client.patch(
        f"/v1/agents/{agent['id']}",
        json={
            "context_window_limit": 20_000,
            "max_tokens": 500,
            "model": MODEL,
            "model_settings": {"max_output_tokens": 500, "parallel_tool_calls": True, "provider_type": "openai"},
        },
    )
    assert changed.json()["llm_config"]["context_window"] == 20_000
    assert changed.json()["model_settings"]["max_output_tokens"] == 500


@pytest.mark.parametrize(
    "field",
    [
        {"folder_ids": ["source-1"]},
        {"source_ids": ["source-1"]},
        {"identity_ids": ["identity-1"]},
        {"secrets": {"KEY": "x"}},
        {"tool_exec_environment_variables": {"KEY": "x"}},
        {"template_id": "t"},
        {"base_template_id": "t"},
        {"from_template": "t"},
        {"template": True},
        {"enable_sleeptime": True},
        {"embedding_config": {"embedding_model": "m"}},
        {"embedding_chunk_size": 300},
        {"include_default_source": True},
        {"project": "p"},
        {"agent_type": "voice_convo_agent"},
    ],
    ids=lambda field: next(iter(field)),
)
async def test_what_this_release_has_not_is_refused_and_makes_no_agent(
    client: httpx.AsyncClient, field: dict[str, Any]
) -> None:
    reply = await client.post("/v1/agents/", json=field)
    assert reply.status_code == 501
    assert reply.json()["detail"].startswith("UNSUPPORTED: ")
    assert await _listed(client) == []


async def test_asking_for_nothing_of_what_is_not_built_is_no_mistake(client: httpx.AsyncClient) -> None:
    await _make(
        client,
        folder_ids=[],
        source_ids=None,
        identity_ids=[],
        secrets={},
        tool_exec_environment_variables=None,
        template_id=None,
        template=False,
        enable_sleeptime=False,
        embedding_config=None,
        include_default_source=False,
        project=None,
    )


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"model": "gpt-4o"}, 400),
        ({"model": "nobody/gpt-4o"}, 400),
        ({"embedding": "ada"}, 400),
        ({"timezone": "Mars/Olympus"}, 400),
        ({"tools": ["no_such_tool"]}, 400),
        ({"tool_ids": ["tool-1"]}, 404),
        ({"block_ids": ["block-1"]}, 404),
        ({"context_window_limit": 0}, 422),
        ({"name": ""}, 422),
        ({"memory_blocks": [{"label": "a", "value": "xyz", "limit": 2}]}, 422),
        ({"tool_rules": [{"type": "nonsense", "tool_name": "x"}]}, 422),
    ],
)
async def test_what_makes_no_sense_is_refused(client: httpx.AsyncClient, fields: dict[str, Any], status: int) -> None:
    reply = await client.post("/v1/agents/", json=fields)
    assert reply.status_code == status
    assert reply.json()["detail"]
    assert await _listed(client) == []


class TestList:
    @pytest.fixture(autouse=True)
    async def agents(self, client: httpx.AsyncClient, services: Services) -> None:
        for name, tags in (("one", ["x", "y"]), ("two", ["x"]), ("three", [])):
            made = await _make(client, name=name, tags=tags, project_id=f"project of {name}")
            if name == "two":
                change = {"last_stop_reason": "end_turn", "last_run_completion": utc_now()}
                await services.agents.update(made["id"], change)

    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            ({}, ["three", "two", "one"]),
            ({"order": "asc"}, ["one", "two", "three"]),
            ({"ascending": True}, ["one", "two", "three"]),
            ({"ascending": True, "order": "desc"}, ["three", "two", "one"]),
            ({"limit": 2}, ["three", "two"]),
            ({"name": "two"}, ["two"]),
            ({"name": "tw"}, []),
            ({"query_text": "T"}, ["three", "two"]),
            ({"tags": ["x", "y"]}, ["two", "one"]),
            ({"tags": ["x", "y"], "match_all_tags": True}, ["one"]),
            ({"project_id": "project of one"}, ["one"]),
            ({"last_stop_reason": "end_turn"}, ["two"]),
            ({"order_by": "updated_at"}, ["two", "three", "one"]),
            ({"sort_by": "last_run_completion", "limit": 1}, ["two"]),
        ],
    )
    async def test_each_parameter_has_its_effect(
        self, client: httpx.AsyncClient, query: dict[str, Any], expected: list[str]
    ) -> None:
        listed = await _listed(client, **query)
        if query == {"order_by": "updated_at"}:
            assert set(listed) == set(expected)
        else:
            assert listed == expected

    async def test_cursors_go_on_in_the_order_of_the_list(self, client: httpx.AsyncClient) -> None:
        first = (await client.get("/v1/agents/", params={"limit": 1})).json()[0]["id"]
        assert await _listed(client, after=first) == ["two", "one"]
        assert await _listed(client, after=first, limit=1) == ["two"]
        assert await _listed(client, before=first) == []
        assert await _listed(client, before=first, order="asc") == ["one", "two"]
        assert (await client.get("/v1/agents/", params={"after": "agent-0"})).status_code == 404

    @pytest.mark.parametrize(
        "query",
        [
            {"identity_id": "i"},
            {"identifier_keys": ["i"]},
            {"template_id": "t"},
            {"base_template_id": "t"},
            {"created_by_id": "u"},
        ],
    )
    async def test_a_filter_no_agent_can_pass_finds_none(
        self, client: httpx.AsyncClient, query: dict[str, Any]
    ) -> None:
        assert await _listed(client, **query) == []

    async def test_a_relationship_nobody_knows_is_refused(self, client: httpx.AsyncClient) -> None:
        reply = await client.get("/v1/agents/", params={"include_relationships": ["cousins"]})
        assert reply.status_code == 422
        assert "cousins" in reply.json()["detail"]
        assert "tool_exec_environment_variables" in reply.json()["detail"]
        reply = await client.get("/v1/agents/", params={"include": "agent.cousins"})
        assert "agent.pending_approval" in reply.json()["detail"]

    @pytest.mark.parametrize("query", [{"limit": -1}, {"limit": 10**9}, {"order": "up"}, {"include": "agent.x"}])
    async def test_a_parameter_out_of_range_is_422(self, client: httpx.AsyncClient, query: dict[str, Any]) -> None:
        assert (await client.get("/v1/agents/", params=query)).status_code == 422


@pytest.mark.parametrize(
    "query",
    [
        {"include": ["agent.tags"]},
        {"include": ["agent.tools", "agent.blocks"]},
        {"include": ["agent.secrets"]},
        {"include_relationships": ["memory"]},
        {"include_relationships": ["tools"], "include": ["agent.tags"]},
    ],
    ids=str,
)
async def test_what_is_asked_for_takes_nothing_away_from_an_agent(
    client: httpx.AsyncClient, query: dict[str, Any]
) -> None:
    agent = await _make(client, tags=["t"], memory_blocks=[{"label": "human", "value": "v"}])
    assert (await client.get(f"/v1/agents/{agent['id']}", params=query)).json() == agent
    assert (await client.get("/v1/agents/", params=query)).json() == [agent]


class TestUpdate:
    @pytest.mark.parametrize(
        ("field", "value", "cleared"),
        [
            ("description", "d", None),
            ("metadata", {"a": 1}, {}),
            ("hidden", True, None),
            ("embedding", "openai/e", None),
            ("project_id", "p", None),
            ("max_files_open", 3, None),
            ("per_file_view_window_char_limit", 3, None),
            ("tags", ["b"], []),
            ("tool_rules", [{"type": "exit_loop", "tool_name": "x", "prompt_template": None}], []),
            ("last_run_duration_ms", 7, None),
            ("last_stop_reason", "end_turn", None),
            ("last_run_completion", "2026-01-02T03:04:05.000000Z", None),
            ("response_format", {"type": "text"}, None),
        ],
    )
    async def test_a_field_changes_alone_and_null_clears_it(
        self, client: httpx.AsyncClient, agent: dict[str, Any], field: str, value: Any, cleared: Any
    ) -> None:
        path = f"/v1/agents/{agent['id']}"
        follows = {field, "updated_at", "model_settings", "llm_config"}
        changed = (await client.patch(path, json={field: value})).json()
        assert changed[field] == value
        assert {k: v for k, v in changed.items() if k not in follows} == {
            k: v for k, v in agent.items() if k not in follows
        }
        assert (await client.patch(path, json={field: None})).json()[field] == cleared
        assert (await client.get(path)).json()[field] == cleared

    @pytest.mark.parametrize(
        ("field", "value"),
        [("name", "eve"), ("system", "Be kind."), ("timezone", "Asia/Tokyo"), ("message_buffer_autoclear", True)],
    )
    async def test_null_leaves_alone_what_cannot_be_empty(
        self, client: httpx.AsyncClient, agent: dict[str, Any], field: str, value: Any
    ) -> None:
        path = f"/v1/agents/{agent['id']}"
        assert (await client.patch(path, json={field: value})).json()[field] == value
        assert (await client.patch(path, json={field: None})).json()[field] == value

    async def test_the_window_and_the_settings_change_and_are_cleared(
        self, client: httpx.AsyncClient, agent: dict[str, Any]
    ) -> None:
        path = f"/v1/agents/{agent['id']}"
        settings = {"provider_type": "openai", "temperature": 0.5}
        changed = (await client.patch(path, json={"context_window_limit": 500, "model_settings": settings})).json()
        assert changed["llm_config"]["context_window"] == 500
        assert changed["model_settings"]["temperature"] == 0.5
        changed = (await client.patch(path, json={"max_tokens": 9})).json()
        assert changed["model_settings"]["temperature"] == 0.5
        assert changed["model_settings"]["max_output_tokens"] == 9
        cleared = (await client.patch(path, json={"context_window_limit": None, "model_settings": None})).json()
        assert cleared["llm_config"]["context_window"] == agent["llm_config"]["context_window"]
        assert cleared["model_settings"] == agent["model_settings"]

    async def test_its_own_llm_config_changes_nothing(self, client: httpx.AsyncClient) -> None:
        agent = await _make(client, model_settings={"provider_type": "openai", "temperature": 0.5})
        changed = await client.patch(f"/v1/agents/{agent['id']}", json={"llm_config": agent["llm_config"]})
        assert changed.status_code == 200, changed.text
        follows = {"updated_at"}
        assert {k: v for k, v in changed.json().items() if k not in follows} == {
            k: v for k, v in agent.items() if k not in follows
        }

    async def test_blocks_and_tools_are_replaced_by_id(self, client: httpx.AsyncClient, agent: dict[str, Any]) -> None:
        block = (await client.post("/v1/blocks/", json={"label": "human", "value": "v"})).json()
        tool = agent["tools"][0]
        path = f"/v1/agents/{agent['id']}"
        changed = (await client.patch(path, json={"block_ids": [block["id"]], "tool_ids": [tool["id"]]})).json()
        assert changed["blocks"] == [block]
        assert changed["tools"] == [tool]
        assert (await client.patch(path, json={"block_ids": ["block-0"]})).status_code == 404
        assert (await client.patch(path, json={"tool_ids": ["tool-0"]})).status_code == 404

    async def test_what_is_not_built_is_refused(self, client: httpx.AsyncClient, agent: dict[str, Any]) -> None:
        for field in ({"message_ids": ["message-1"]}, {"secrets": {"a": "b"}}, {"enable_sleeptime": True}):
            assert (await client.patch(f"/v1/agents/{agent['id']}", json=field)).status_code == 501


async def test_an_agent_whose_provider_is_gone_is_still_shown(
    client: httpx.AsyncClient, services: Services, agent: dict[str, Any]
) -> None:
    def forget_the_provider(tx: Transaction) -> None:
        tx.agents.update(replace(tx.agents.get(agent["id"]), model="gone/some-model"))

    await services.store.write(forget_the_provider)
    shown = (await client.get(f"/v1/agents/{agent['id']}")).json()
    assert shown["model"] == "gone/some-model"
    assert shown["llm_config"]["provider_name"] == "gone"
    assert shown["llm_config"]["model"] == "some-model"
    renamed = await client.patch(f"/v1/agents/{agent['id']}", json={"name": "Eve"})
    assert (renamed.status_code, renamed.json()["name"]) == (200, "Eve")
    moved = await client.patch(f"/v1/agents/{agent['id']}", json={"model": "gone/another-model"})
    assert moved.status_code == 400


async def test_a_deleted_agent_is_gone(client: httpx.AsyncClient, agent: dict[str, Any]) -> None:
    reply = await client.delete(f"/v1/agents/{agent['id']}")
    assert (reply.status_code, reply.json()) == (200, None)
    for method in ("get", "delete"):
        gone = await client.request(method, f"/v1/agents/{agent['id']}")
        assert gone.status_code == 404
        assert agent["id"] in gone.json()["detail"]


async def test_recompile_gives_the_system_prompt_as_a_string(client: httpx.AsyncClient, agent: dict[str, Any]) -> None:
    reply = await client.post(f"/v1/agents/{agent['id']}/recompile", params={"dry_run": True})
    assert f"- AGENT_ID: {agent['id']}" in reply.json()
    assert (await client.post("/v1/agents/agent-0/recompile")).status_code == 404


async def test_tools_are_attached_detached_and_listed(client: httpx.AsyncClient, agent: dict[str, Any]) -> None:
    path = f"/v1/agents/{agent['id']}/tools"
    tool = (await client.get("/v1/tools/", params={"name": "memory_rethink"})).json()[0]
    before = [each["id"] for each in agent["tools"]]
    for _ in range(2):
        attached = (await client.patch(f"{path}/attach/{tool['id']}")).json()
        assert [each["id"] for each in attached["tools"]] == [*before, tool["id"]]
    assert (await client.get(path, params={"limit": 1})).json() == [tool]
    assert [each["id"] for each in (await client.get(path, params={"order": "asc"})).json()] == [*before, tool["id"]]
    detached = (await client.patch(f"{path}/detach/{tool['id']}")).json()
    assert [each["id"] for each in detached["tools"]] == before
    assert (await client.patch(f"{path}/detach/{tool['id']}")).status_code == 404
    assert (await client.patch(f"{path}/attach/tool-0")).status_code == 404


async def test_equal_tool_rules_are_kept_once_and_in_their_order(client: httpx.AsyncClient) -> None:
    ends = {"type": "exit_loop", "tool_name": "send_message"}
    first = {"type": "run_first", "tool_name": "conversation_search"}
    rules = [first, ends, {**ends, "prompt_template": None}, first]
    agent = await _make(
        client, agent_type="memgpt_v2_agent", tools=["send_message"], tool_rules=rules, include_base_tool_rules=True
    )
    kept = [(rule["type"], rule["tool_name"]) for rule in agent["tool_rules"]]
    assert kept == [("exit_loop", "send_message"), ("run_first", "conversation_search")]
    path = f"/v1/agents/{agent['id']}"
    changed = (await client.patch(path, json={"tool_rules": [first, first, {**first, "args": {"query": "x"}}]})).json()
    assert [rule["args"] for rule in changed["tool_rules"]] == [None, {"query": "x"}]


async def test_a_deletion_that_a_crash_cut_off_shows_nothing_and_is_finished_later(
    client: httpx.AsyncClient, services: Services, agent: dict[str, Any]
) -> None:
    agent_id = agent["id"]
    conversation = (await client.post("/v1/conversations", params={"agent_id": agent_id}, json={})).json()["id"]
    await services.store.write(lambda tx: tx.agents.mark_deleted(agent_id))
    await services.store.write(lambda tx: tx.agents.delete_some(agent_id, 1))
    for path in (f"/v1/agents/{agent_id}", f"/v1/conversations/{conversation}", f"/v1/agents/{agent_id}/messages"):
        assert (await client.get(path)).status_code == 404, path
    for path in ("/v1/agents", "/v1/conversations", "/v1/runs", "/v1/steps"):
        assert (await client.get(path)).json() == [], path
    await services.agents.finish_deletions()
    assert await services.store.read(lambda tx: tx.agents.half_deleted()) == []
    assert (await client.delete(f"/v1/agents/{agent_id}")).status_code == 404


@pytest.mark.parametrize("wish", [{"reasoning": True}, {"reasoning": False}, {"enable_reasoner": True}])
async def test_a_wish_to_reason_is_refused_of_no_model(client: httpx.AsyncClient, wish: dict[str, Any]) -> None:
    reply = await client.post("/v1/agents/", json={"name": "Ana", **wish})
    assert reply.status_code == 200, reply.text
    assert reply.headers["x-tertulia-ignored"] == "reasoning"
