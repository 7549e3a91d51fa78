"""Tool calls in the loop: in parallel, with bad arguments, by a wrong name, under rules."""

import json
from typing import Any

import pytest
from letta_client import Letta
from letta_client.types import AgentState, Conversation

from tests.conformance.helpers import MakeAgent, answer, detail, history, of_type, send, types
from tests.conformance.requirements import requirement
from tests.support.openai_endpoint import OpenAIEndpoint, call, calls, text


@requirement("tools.offered-to-the-model")
def test_the_tools_of_an_agent_are_offered_with_their_schemas(
    client: Letta, agent: AgentState, endpoint: OpenAIEndpoint
) -> None:
    send(client, "default", agent_id=agent.id)
    offered = {tool["function"]["name"]: tool["function"] for tool in endpoint.wait_for_requests(1)[0].body["tools"]}
    assert set(offered) == {tool.name for tool in agent.tools}
    for function in offered.values():
        assert function["description"]
        assert function["parameters"]["type"] == "object"


@requirement("tools.loop-until-answered")
def test_the_loop_goes_on_until_a_reply_without_tool_calls(
    client: Letta, conversation: Conversation, endpoint: OpenAIEndpoint
) -> None:
    endpoint.script(
        calls(call("memory_insert", {"label": "human", "new_string": "Likes tea."}, "call_a")),
        calls(call("memory_insert", {"label": "human", "new_string": "Likes cake."}, "call_b")),
        text("Both noted."),
    )
    response = send(client, conversation.id, "tea and cake")
    assert types(response.messages) == [*["tool_call_message", "tool_return_message"] * 2, "assistant_message"]
    assert response.usage.step_count == 3
    assert [list(request.tool_results) for request in endpoint.requests] == [[], ["call_a"], ["call_a", "call_b"]]
    blocks = client.agents.retrieve(conversation.agent_id).memory.blocks
    (human,) = [block.value for block in blocks if block.label == "human"]
    assert human == "Name: Chad.\nLikes tea.\nLikes cake."


@requirement("tools.json-reply-lists-calls")
def test_a_json_reply_carries_tool_calls_as_a_list(
    client: Letta, conversation: Conversation, endpoint: OpenAIEndpoint
) -> None:
    endpoint.script(calls(call("conversation_search", {"query": "tea"}, "call_a")), text("no"))
    message: Any = send(client, conversation.id).messages[0]
    assert [entry.tool_call_id for entry in message.tool_calls] == ["call_a"]
    assert message.tool_call == message.tool_calls[0]
    assert json.loads(message.tool_call.arguments) == {"query": "tea"}


@requirement("tools.parallel")
def test_parallel_calls_are_all_made_and_all_returned(
    client: Letta, conversation: Conversation, endpoint: OpenAIEndpoint
) -> None:
    endpoint.script(
        calls(
            call("memory_insert", {"label": "human", "new_string": "Likes tea."}, "call_a"),
            call("conversation_search", {"query": "tea"}, "call_b"),
            call("memory_insert", {"label": "persona", "new_string": "Remember tea."}, "call_c"),
        ),
        text("done"),
    )
    response = send(client, conversation.id)
    assert list(endpoint.wait_for_requests(2)[1].tool_results) == ["call_a", "call_b", "call_c"]
    made = [entry.tool_call_id for m in of_type(response.messages, "tool_call_message") for entry in m.tool_calls]
    returned = [
        entry.tool_call_id for m in of_type(response.messages, "tool_return_message") for entry in m.tool_returns
    ]
    assert made == returned == ["call_a", "call_b", "call_c"]
    values = {b.label: b.value for b in client.agents.retrieve(conversation.agent_id).memory.blocks}
    assert "Likes tea." in values["human"]
    assert "Remember tea." in values["persona"]


@requirement("tools.bad-arguments-go-back-to-the-model")
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("memory_insert", '{"label": "human"'),
        ("memory_insert", "[1, 2]"),
        ("memory_insert", {"label": "human"}),
        ("memory_insert", {"label": 3, "new_string": "x"}),
        ("memory_insert", {"label": "human", "new_string": "x", "volume": 11}),
        ("no_such_tool", {}),
        ("memory_insert", {"label": "nothing", "new_string": "x"}),
    ],
)
def test_a_bad_call_comes_back_to_the_model_as_an_error(
    client: Letta, conversation: Conversation, endpoint: OpenAIEndpoint, name: str, arguments: Any
) -> None:
    endpoint.script(calls(call(name, arguments, "call_bad")), text("sorry"))
    response = send(client, conversation.id)
    (returned,) = of_type(response.messages, "tool_return_message")
    assert returned.status == "error"
    assert answer(response) == "sorry"
    told = endpoint.wait_for_requests(2)[1].tool_results["call_bad"]
    assert told
    assert "Traceback" not in told
    values = {b.label: b.value for b in client.agents.retrieve(conversation.agent_id).memory.blocks}
    assert values == {"human": "Name: Chad.", "persona": "I am terse."}
    assert send(client, conversation.id).stop_reason.stop_reason == "end_turn"


@requirement("tools.rules.exit-loop")
def test_a_terminal_tool_ends_the_loop(client: Letta, make_agent: MakeAgent, endpoint: OpenAIEndpoint) -> None:
    agent = make_agent(
        tools=["conversation_search"],
        include_base_tools=False,
        tool_rules=[{"type": "exit_loop", "tool_name": "conversation_search"}],
    )
    endpoint.script(calls(call("conversation_search", {"query": "x"})))
    response = send(client, "default", agent_id=agent.id)
    assert response.stop_reason.stop_reason == "tool_rule"
    assert len(endpoint.requests) == 1


@requirement("tools.rules.run-first")
def test_an_init_tool_is_the_only_choice_of_the_first_step(
    client: Letta, make_agent: MakeAgent, endpoint: OpenAIEndpoint
) -> None:
    agent = make_agent(
        tools=["conversation_search", "memory_insert"],
        include_base_tools=False,
        tool_rules=[{"type": "run_first", "tool_name": "conversation_search"}],
    )
    endpoint.script(calls(call("conversation_search", {"query": "x"})), text("done"))
    send(client, "default", agent_id=agent.id)
    first, second = endpoint.wait_for_requests(2)
    assert first.tool_names == ["conversation_search"]
    assert first.body["tool_choice"] in ("required", {"type": "function", "function": {"name": "conversation_search"}})
    assert set(second.tool_names) == {"conversation_search", "memory_insert"}


IMPOSSIBLE: list[dict[str, Any]] = [{"enable_thinking": "true"}, {"return_token_ids": True}]


@requirement("messages.create.impossible-options")
@pytest.mark.parametrize("options", IMPOSSIBLE, ids=lambda options: next(iter(options)))
def test_an_option_no_model_here_can_serve_is_refused_and_never_forgotten(
    client: Letta, conversation: Conversation, endpoint: OpenAIEndpoint, options: dict[str, Any]
) -> None:
    assert next(iter(options)) in detail(400, lambda: send(client, conversation.id, **options))
    assert endpoint.requests == []
    assert types(history(client, conversation.id)) == ["system_message"]
