"""Changing, recompiling, resetting and deleting agents, and their tools."""

import json
from typing import Any

import pytest
from letta_client import Letta
from letta_client.types import AgentState

from tests.conformance.helpers import MakeAgent, detail, send
from tests.conformance.requirements import requirement
from tests.support.openai_endpoint import OpenAIEndpoint

# One change of every field an agent has, and whether null clears it.
CHANGES: list[tuple[str, Any, bool]] = [
    ("name", "renamed", False),
    ("description", "helps", True),
    ("system", "Be brief.", False),
    ("tags", ["one", "two"], False),
    ("metadata", {"team": {"size": 3}}, True),
    ("timezone", "Europe/Berlin", False),
    ("hidden", True, True),
    ("message_buffer_autoclear", True, False),
    ("max_files_open", 3, True),
    ("per_file_view_window_char_limit", 1000, True),
    ("last_run_duration_ms", 1500, True),
    ("last_stop_reason", "end_turn", True),
    ("tool_rules", [{"type": "run_first", "tool_name": "memory_insert", "args": None, "prompt_template": None}], True),
    ("response_format", {"type": "json_object"}, True),
]


@requirement("agents.update.every-field")
@pytest.mark.parametrize(("field", "value"), [(name, value) for name, value, _ in CHANGES])
def test_one_field_of_an_agent_changes_and_the_others_stay(
    client: Letta, agent: AgentState, field: str, value: Any
) -> None:
    change: dict[str, Any] = {field: value}
    before = client.agents.retrieve(agent.id).to_dict()
    client.agents.update(agent.id, **change)
    after = client.agents.retrieve(agent.id).to_dict()
    assert after[field] == value
    follows = {field, "updated_at", "llm_config", "model_settings"}
    assert {k: v for k, v in after.items() if k not in follows} == {k: v for k, v in before.items() if k not in follows}


@requirement("agents.update.null-clears")
@pytest.mark.parametrize(("field", "value"), [(name, value) for name, value, clears in CHANGES if clears])
def test_null_clears_a_field_of_an_agent(client: Letta, agent: AgentState, field: str, value: Any) -> None:
    change: dict[str, Any] = {field: value}
    client.agents.update(agent.id, **change)
    change[field] = None
    client.agents.update(agent.id, **change)
    assert not client.agents.retrieve(agent.id).to_dict()[field]


@requirement("agents.update.model")
def test_the_model_of_an_agent_changes_with_its_settings(
    client: Letta, agent: AgentState, endpoint: OpenAIEndpoint
) -> None:
    client.agents.update(agent.id, model="openai/gpt-4o", context_window_limit=7000, parallel_tool_calls=False)
    state = client.agents.retrieve(agent.id)
    assert state.model == "openai/gpt-4o"
    assert state.llm_config.handle == "openai/gpt-4o"
    assert state.llm_config.context_window == 7000
    send(client, "default", agent_id=agent.id)
    sent = endpoint.wait_for_requests(1)[0].body
    assert sent["model"] == "gpt-4o"
    assert sent["parallel_tool_calls"] is False


@requirement("agents.update.blocks-and-tools")
def test_the_blocks_and_tools_of_an_agent_are_replaced_by_id(client: Letta, agent: AgentState) -> None:
    block = client.blocks.create(label="project", value="Tertulia")
    tool = client.tools.list(name="memory_rethink").items[0]
    state = client.agents.update(agent.id, block_ids=[block.id], tool_ids=[tool.id])
    assert [b.id for b in state.memory.blocks] == [block.id]
    assert [t.id for t in state.tools] == [tool.id]


@requirement("agents.delete.is-final")
def test_a_deleted_agent_is_gone_with_its_conversations(client: Letta, agent: AgentState) -> None:
    conversation = client.conversations.create(agent_id=agent.id)
    send(client, conversation.id)
    assert client.agents.delete(agent.id) is None
    assert detail(404, lambda: client.agents.retrieve(agent.id))
    assert detail(404, lambda: client.agents.delete(agent.id))
    assert detail(404, lambda: client.conversations.retrieve(conversation.id))
    assert detail(404, lambda: send(client, conversation.id))


@requirement("agents.recompile.returns-the-system-prompt")
def test_recompile_returns_the_compiled_system_prompt(client: Letta, agent: AgentState) -> None:
    prompt: str = json.loads(client.agents.recompile(agent.id))  # the SDK hands on the JSON string as it came
    assert prompt.startswith(agent.system)
    assert "<memory_metadata>" in prompt
    assert f"\n- AGENT_ID: {agent.id}\n" in prompt
    assert "\n- CONVERSATION_ID: default\n" in prompt
    assert "\n- System prompt last recompiled: " in prompt
    blocks = prompt[prompt.index("<memory_blocks>") : prompt.index("</memory_blocks>")]
    assert "Name: Chad." in blocks
    assert "What is known of the user." in blocks
    assert "I am terse." in blocks


@requirement("agents.recompile.dry-run")
def test_a_dry_run_of_recompile_changes_nothing(client: Letta, agent: AgentState) -> None:
    send(client, "default", agent_id=agent.id)
    before = client.agents.messages.list(agent.id, order="asc", limit=1).items[0]
    client.agents.blocks.update("human", agent_id=agent.id, value="Name: Grace.")
    assert "Grace" in client.agents.recompile(agent.id, dry_run=True)
    after = client.agents.messages.list(agent.id, order="asc", limit=1).items[0]
    assert after == before


@requirement("agents.messages.reset.empties-the-history")
def test_reset_leaves_an_agent_with_its_system_message_alone(client: Letta, agent: AgentState) -> None:
    send(client, "default", agent_id=agent.id)
    state = client.agents.messages.reset(agent.id)
    assert state is not None
    assert state.message_ids is not None
    assert len(state.message_ids) == 1
    kept = client.agents.messages.list(agent.id, order="asc").items
    assert [message.message_type for message in kept] == ["system_message"]
    assert send(client, "default", agent_id=agent.id).stop_reason.stop_reason == "end_turn"


@requirement("agents.tools.list.returns-contract-shape")
def test_the_tools_of_an_agent_are_listed_in_pages(client: Letta, make_agent: MakeAgent) -> None:
    agent = make_agent(include_base_tools=False, tools=["memory_insert", "memory_replace", "conversation_search"])
    names = [tool.name for tool in client.agents.tools.list(agent.id)]
    assert sorted(str(name) for name in names) == ["conversation_search", "memory_insert", "memory_replace"]
    first = client.agents.tools.list(agent.id, limit=2, order="asc").items
    rest = client.agents.tools.list(agent.id, after=first[-1].id, order="asc").items
    assert len(first) == 2
    assert len(rest) == 1
    assert {tool.name for tool in (*first, *rest)} == set(names)


@requirement("agents.tools.attach-and-detach")
def test_a_tool_is_attached_and_detached(client: Letta, make_agent: MakeAgent, endpoint: OpenAIEndpoint) -> None:
    agent = make_agent(include_base_tools=False)
    tool = client.tools.list(name="memory_insert").items[0]
    attached = client.agents.tools.attach(tool.id, agent_id=agent.id)
    assert attached is not None
    assert [t.name for t in attached.tools] == ["memory_insert"]
    detached = client.agents.tools.detach(tool.id, agent_id=agent.id)
    assert detached is not None
    assert detached.tools == []
    send(client, "default", agent_id=agent.id)
    assert endpoint.wait_for_requests(1)[0].tool_names == []
    missing = "tool-00000000-0000-4000-8000-000000000000"
    assert missing in detail(404, lambda: client.agents.tools.attach(missing, agent_id=agent.id))
