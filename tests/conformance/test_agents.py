from typing import Any

import httpx
import pytest
from letta_client import Letta
from letta_client.types import AgentState

from tests.conformance.helpers import MODEL, MakeAgent, detail, send, unique
from tests.conformance.requirements import requirement
from tests.support.openai_endpoint import OpenAIEndpoint


@requirement("agents.create.returns-contract-shape")
def test_a_created_agent_shows_every_field(client: Letta, agent: AgentState) -> None:
    assert agent.id.startswith("agent-")
    assert agent.agent_type == "letta_v1_agent"
    assert agent.model == MODEL
    assert agent.llm_config.model == "gpt-4o-mini"
    assert {block.label for block in agent.memory.blocks} == {"human", "persona"}
    assert client.agents.retrieve(agent.id).id == agent.id


@requirement("agents.create.stores-every-field")
def test_what_an_agent_is_created_with_is_returned_and_stored(client: Letta, make_agent: MakeAgent) -> None:
    block = client.blocks.create(label="shared", value="common ground")
    given: dict[str, Any] = {
        "name": unique("full"),
        "description": "knows things",
        "system": "Be brief.",
        "tags": [unique("a"), unique("b")],
        "metadata": {"owner": "me", "nested": {"n": [1, 2]}},
        "timezone": "Asia/Tokyo",
        "hidden": False,
        "context_window_limit": 9000,
        "message_buffer_autoclear": True,
        "block_ids": [block.id],
        "memory_blocks": [{"label": "human", "value": "Ada", "limit": 50, "read_only": True}],
        "tools": ["memory_insert"],
        "include_base_tools": False,
        "tool_rules": [{"type": "exit_loop", "tool_name": "memory_insert"}],
        "model_settings": {"provider_type": "openai", "temperature": 0.25, "max_output_tokens": 64},
    }
    created = make_agent(**given)
    for state in (created, client.agents.retrieve(created.id)):
        for name in ("name", "description", "system", "tags", "metadata", "timezone", "message_buffer_autoclear"):
            assert getattr(state, name) == given[name], name
        assert state.llm_config.context_window == 9000
        assert {b.label: b.value for b in state.memory.blocks} == {"human": "Ada", "shared": "common ground"}
        assert [tool.name for tool in state.tools] == ["memory_insert"]
        assert state.tool_rules is not None
        assert [(rule.type, rule.tool_name) for rule in state.tool_rules] == [("exit_loop", "memory_insert")]
        assert state.api_model_settings is not None
        assert state.api_model_settings.temperature == 0.25
        assert state.api_model_settings.max_output_tokens == 64


@requirement("agents.create.defaults")
def test_an_agent_created_with_nothing_has_a_name_a_model_and_the_base_tools(
    client: Letta, endpoint: OpenAIEndpoint
) -> None:
    agent = client.agents.create()
    assert agent.name
    assert agent.model == MODEL
    assert {"memory_insert", "memory_replace", "conversation_search"} <= {tool.name for tool in agent.tools}
    assert agent.message_ids is not None
    assert len(agent.message_ids) >= 1


@requirement("agents.create.no-base-tools")
def test_an_agent_without_base_tools_has_none(make_agent: MakeAgent) -> None:
    assert make_agent(include_base_tools=False).tools == []


@requirement("agents.create.refuses-unknown-parts")
@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"block_ids": ["block-00000000-0000-4000-8000-000000000000"]}, 404),
        ({"tool_ids": ["tool-00000000-0000-4000-8000-000000000000"]}, 404),
        ({"tools": ["no_such_tool"]}, 400),
        ({"model": "no-slash"}, 400),
        ({"timezone": "Mars/Olympus"}, 400),
        ({"agent_type": "no_such_type"}, 422),
        ({"memory_blocks": [{"label": "x", "value": "too long", "limit": 3}]}, 422),
        ({"context_window_limit": "many"}, 422),
    ],
)
def test_an_agent_cannot_be_made_of_what_is_not_there(
    make_agent: MakeAgent, fields: dict[str, Any], status: int
) -> None:
    assert detail(status, lambda: make_agent(**fields))


@requirement("agents.create.not-built")
@pytest.mark.parametrize(
    "fields",
    [
        {"enable_sleeptime": True},
        {"secrets": {"KEY": "value"}},
        {"tool_exec_environment_variables": {"KEY": "value"}},
        {"identity_ids": ["identity-1"]},
        {"source_ids": ["source-1"]},
        {"folder_ids": ["source-1"]},
        {"from_template": "t"},
        {"template_id": "t"},
        {"embedding_chunk_size": 100},
        {"agent_type": "sleeptime_agent"},
        {"agent_type": "voice_convo_agent"},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_what_no_agent_can_have_yet_is_refused_and_never_forgotten(
    make_agent: MakeAgent, fields: dict[str, Any]
) -> None:
    said = detail(501, lambda: make_agent(**fields))
    assert any(str(word) in said for word in (*fields.keys(), *fields.values()))


@requirement("agents.create.initial-messages")
def test_the_first_messages_of_an_agent_are_in_its_history_and_in_context(
    client: Letta, make_agent: MakeAgent, endpoint: OpenAIEndpoint
) -> None:
    first = [{"role": "user", "content": "Knock knock."}, {"role": "assistant", "content": "Who is there?"}]
    agent = make_agent(initial_message_sequence=first)
    send(client, "default", "Tea.", agent_id=agent.id)
    sent = endpoint.wait_for_requests(1)[0].messages
    assert [m["content"] for m in sent[1:]] == ["Knock knock.", "Who is there?", "Tea."]
    listed = client.agents.messages.list(agent.id, order="asc").items
    assert agent.message_ids == [message.id for message in listed[:3]]
    assert client.agents.retrieve(agent.id).message_ids == [message.id for message in listed]


@requirement("agents.create.memory-variables")
def test_variables_are_filled_into_the_memory_blocks(make_agent: MakeAgent) -> None:
    agent = make_agent(
        memory_blocks=[{"label": "human", "value": "The user is {{name}}."}], memory_variables={"name": "Ada"}
    )
    assert [block.value for block in agent.memory.blocks] == ["The user is Ada."]


@requirement("agents.retrieve.last-run")
def test_an_agent_tells_when_its_last_run_ended_and_how(client: Letta, agent: AgentState) -> None:
    assert (agent.last_run_completion, agent.last_run_duration_ms, agent.last_stop_reason) == (None, None, None)
    conversation = client.conversations.create(agent_id=agent.id)
    send(client, conversation.id)
    after = client.agents.retrieve(agent.id)
    assert after.last_run_completion is not None
    assert after.last_run_duration_ms is not None
    assert after.last_stop_reason == "end_turn"
    talked = client.conversations.retrieve(conversation.id)
    assert talked.last_message_at is not None
    assert talked.created_at is not None
    assert talked.created_at <= talked.last_message_at <= after.last_run_completion


@requirement("agents.update.message-buffer-autoclear")
def test_an_agent_that_forgets_is_sent_each_message_alone(
    client: Letta, make_agent: MakeAgent, endpoint: OpenAIEndpoint
) -> None:
    agent = make_agent(message_buffer_autoclear=True)
    send(client, "default", "first", agent_id=agent.id)
    send(client, "default", "second", agent_id=agent.id)
    assert [m["content"] for m in endpoint.wait_for_requests(2)[1].messages[1:]] == ["second"]
    assert len(client.agents.messages.list(agent.id).items) == 5


@requirement("agents.create.model-handle-format")
def test_a_model_handle_without_a_provider_is_refused_as_the_retired_server_did(make_agent: MakeAgent) -> None:
    said = detail(400, lambda: make_agent(model="gpt-4o-mini"))
    assert said.startswith("INVALID_ARGUMENT: The model handle should be in the format provider/model-name")


@requirement("agents.retrieve.unknown-is-404")
def test_an_unknown_agent_is_404_everywhere(client: Letta) -> None:
    missing = "agent-00000000-0000-4000-8000-000000000000"
    for request in (
        lambda: client.agents.retrieve(missing),
        lambda: client.agents.update(missing, name="x"),
        lambda: client.agents.delete(missing),
        lambda: client.agents.recompile(missing),
        lambda: client.agents.blocks.list(missing),
        lambda: client.agents.tools.list(missing),
        lambda: client.agents.messages.list(missing),
        lambda: client.agents.messages.create(missing, input="hello"),
        lambda: client.agents.messages.reset(missing),
        lambda: client.conversations.create(agent_id=missing),
    ):
        assert missing in detail(404, request)


@requirement("agents.retrieve.include")
def test_relations_that_were_asked_for_are_in_the_reply(client: Letta, agent: AgentState) -> None:
    client.agents.update(agent.id, tags=["t"])
    state = client.agents.retrieve(agent.id, include=["agent.blocks", "agent.tools", "agent.tags"])
    assert {block.label for block in state.memory.blocks} == {"human", "persona"}
    assert state.tags == ["t"]
    assert state.tools


@requirement("agents.list.filters")
def test_agents_are_found_by_name_text_and_tags(client: Letta, make_agent: MakeAgent) -> None:
    common, first_tag, second_tag = unique("tag"), unique("tag"), unique("tag")
    first = make_agent(name=unique("Findme"), tags=[common, first_tag])
    second = make_agent(tags=[common, second_tag])

    def found(**query: Any) -> set[str]:
        return {agent.id for agent in client.agents.list(**query)}

    assert found(name=first.name) == {first.id}
    assert found(query_text=first.name[2:].upper()) == {first.id}
    assert found(tags=[common]) == {first.id, second.id}
    assert found(tags=[first_tag, second_tag]) == {first.id, second.id}
    assert found(tags=[common, second_tag], match_all_tags=True) == {second.id}
    assert found(tags=[first_tag, second_tag], match_all_tags=True) == set()
    assert found(tags=[common], name="nobody") == set()


@requirement("agents.list.filters-by-stop-reason")
def test_agents_are_found_by_how_their_last_run_ended(client: Letta, make_agent: MakeAgent) -> None:
    tag = unique("tag")
    first, second = make_agent(tags=[tag]), make_agent(tags=[tag])
    client.agents.messages.create(first.id, input="hello")
    assert [a.id for a in client.agents.list(tags=[tag], last_stop_reason="end_turn")] == [first.id]
    assert second.id in {a.id for a in client.agents.list(tags=[tag])}


@requirement("agents.list.filters-by-what-is-not-built")
@pytest.mark.parametrize(
    "query",
    [
        {"identity_id": "identity-1"},
        {"identifier_keys": ["key"]},
        {"template_id": "template-1"},
        {"base_template_id": "template-1"},
        {"project_id": "project-1"},
        {"created_by_id": "user-1"},
    ],
    ids=lambda query: next(iter(query)),
)
def test_a_filter_by_something_no_agent_has_is_refused_or_finds_none(
    client: Letta, http: httpx.Client, agent: AgentState, query: dict[str, Any]
) -> None:
    assert client.agents.retrieve(agent.id).id == agent.id
    paths = ["/v1/agents/"]
    if not {"identity_id", "identifier_keys", "project_id"}.isdisjoint(query):
        paths.append("/v1/blocks/")
    for path in paths:
        reply = http.get(path, params=query)
        assert reply.status_code in {200, 400}
        assert reply.json() == [] or next(iter(query)) in reply.json()["detail"]


@requirement("agents.list.order-and-cursors")
def test_agents_come_in_order_and_page_by_page(client: Letta, make_agent: MakeAgent) -> None:
    tag = unique("tag")
    made = [make_agent(tags=[tag]).id for _ in range(5)]

    def page(**query: Any) -> list[str]:
        return [agent.id for agent in client.agents.list(tags=[tag], **query).items]

    assert page(order="asc") == made
    assert page(order="desc") == made[::-1]
    assert page() == made[::-1]
    assert page(ascending=True) == made
    assert page(order="asc", limit=2) == made[:2]
    assert page(order="asc", limit=2, after=made[1]) == made[2:4]
    assert page(order="desc", limit=2, after=made[3]) == [made[2], made[1]]
    assert page(order="asc", before=made[2]) == made[:2]
    assert [agent.id for agent in client.agents.list(tags=[tag], order="asc", limit=2)] == made


@requirement("agents.list.order-by")
def test_agents_are_ordered_by_change_or_by_last_run(client: Letta, make_agent: MakeAgent) -> None:
    tag = unique("tag")
    first, second, third = (make_agent(tags=[tag]).id for _ in range(3))
    client.agents.update(first, description="changed")
    by_change = [a.id for a in client.agents.list(tags=[tag], order_by="updated_at", order="desc")]
    assert by_change == [first, third, second]
    send(client, "default", agent_id=second)
    by_run = [a.id for a in client.agents.list(tags=[tag], order_by="last_run_completion", order="desc")]
    assert by_run[0] == second
    assert set(by_run) == {first, second, third}
