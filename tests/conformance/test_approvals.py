"""Tool calls that wait: for the client that runs them, or for a person who allows them."""

from typing import Any

import pytest
from letta_client import Letta
from letta_client.types import AgentState, Conversation

from tertulia.providers.encoding.tool_names import tool_name
from tests.conformance.helpers import MakeAgent, answer, detail, history, of_type, refused, send, stream, types
from tests.conformance.requirements import requirement
from tests.support.openai_endpoint import OpenAIEndpoint, call, calls, text

CLOCK: dict[str, Any] = {
    "name": "local_time",
    "description": "The time where the user is.",
    "parameters": {"type": "object", "properties": {"zone": {"type": "string"}}, "required": ["zone"]},
}
ASKED = calls(call("local_time", {"zone": "CET"}, "call_1"))
PENDING = (
    "CONFLICT: Cannot send a new message: The agent is waiting for approval on a tool call. Please approve or deny "
    "the pending request before continuing."
)


def _return(call_id: str = "call_1", **fields: Any) -> dict[str, Any]:
    return {"type": "tool", "tool_call_id": call_id, "tool_return": "noon", "status": "success"} | fields


@pytest.fixture
def waiting(client: Letta, conversation: Conversation, endpoint: OpenAIEndpoint) -> Any:
    """A conversation whose client tool was called; the request that waits for its answer."""
    endpoint.script(ASKED, text("It is noon."))
    response = send(client, conversation.id, "What time is it?", client_tools=[CLOCK])
    assert response.stop_reason.stop_reason == "requires_approval"
    (request,) = of_type(response.messages, "approval_request_message")
    return request


@requirement("client-tools.are-offered-and-asked-for")
@pytest.mark.parametrize("stream_tokens", [True, False])
def test_a_call_of_a_client_tool_ends_the_run_with_an_approval_request(
    client: Letta, conversation: Conversation, endpoint: OpenAIEndpoint, stream_tokens: bool
) -> None:
    endpoint.script(ASKED)
    events = stream(client, conversation.id, "time?", client_tools=[CLOCK], stream_tokens=stream_tokens)
    offered = {tool["function"]["name"]: tool["function"] for tool in endpoint.requests[0].body["tools"]}
    assert offered["local_time"]["parameters"]["properties"] == CLOCK["parameters"]["properties"]
    requests = of_type(events, "approval_request_message")
    assert requests
    assert requests[0].tool_call.name == "local_time"
    assert requests[0].tool_call.tool_call_id == "call_1"
    assert "".join(request.tool_call.arguments or "" for request in requests) == '{"zone": "CET"}'
    assert of_type(events, "stop_reason")[0].stop_reason == "requires_approval"
    run = client.runs.retrieve(events[0].run_id)
    assert (run.status, run.stop_reason) == ("completed", "requires_approval")
    assert len(endpoint.requests) == 1


@requirement("client-tools.every-form-of-answer")
@pytest.mark.parametrize(
    "message",
    [
        {"type": "approval", "approvals": [_return()]},
        {"type": "tool_return", "tool_returns": [_return()]},
        {"type": "approval", "approvals": [_return(tool_return=[{"type": "text", "text": "noon"}])]},
    ],
    ids=["approval", "tool_return", "content-parts"],
)
def test_the_loop_goes_on_with_the_clients_return(
    client: Letta, conversation: Conversation, endpoint: OpenAIEndpoint, waiting: Any, message: dict[str, Any]
) -> None:
    response = send(client, conversation.id, None, messages=[message], client_tools=[CLOCK])
    assert answer(response) == "It is noon."
    assert endpoint.wait_for_requests(2)[1].tool_results == {"call_1": "noon"}
    kept = types(history(client, conversation.id))
    assert kept[:3] == ["system_message", "user_message", "approval_request_message"]
    assert "tool_return_message" in kept
    assert kept[-1] == "assistant_message"


@requirement("client-tools.error-return")
def test_an_error_of_the_client_is_told_to_the_model(
    client: Letta, conversation: Conversation, endpoint: OpenAIEndpoint, waiting: Any
) -> None:
    answered = {"type": "tool_return", "tool_returns": [_return(status="error", tool_return="no clock here")]}
    send(client, conversation.id, None, messages=[answered], client_tools=[CLOCK])
    assert "no clock here" in endpoint.wait_for_requests(2)[1].tool_results["call_1"]
    (returned,) = of_type(history(client, conversation.id), "tool_return_message")
    assert returned.status == "error"


@requirement("approvals.nothing-else-meanwhile")
@pytest.mark.parametrize("post", [send, stream], ids=["JSON", "stream"])
def test_a_waiting_conversation_takes_no_other_message(
    client: Letta, conversation: Conversation, endpoint: OpenAIEndpoint, waiting: Any, post: Any
) -> None:
    body = refused(409, lambda: post(client, conversation.id, "never mind"))
    assert body["detail"] == PENDING
    other = client.conversations.create(agent_id=conversation.agent_id)
    endpoint.script(text("fine"))
    assert answer(send(client, other.id)) == "fine"
    assert [m.content for m in of_type(history(client, conversation.id), "user_message")] == ["What time is it?"]


@requirement("approvals.wrong-answer")
def test_an_answer_to_a_call_that_does_not_wait_is_refused(
    client: Letta, conversation: Conversation, endpoint: OpenAIEndpoint, waiting: Any
) -> None:
    wrong = {"type": "approval", "approvals": [_return("call_nobody")]}
    assert "call_nobody" in detail(400, lambda: send(client, conversation.id, None, messages=[wrong]))
    right = {"type": "approval", "approvals": [_return()]}
    assert answer(send(client, conversation.id, None, messages=[right])) == "It is noon."
    late = {"type": "approval", "approvals": [_return("call_nobody")]}
    assert detail(400, lambda: send(client, conversation.id, None, messages=[late]))


@requirement("approvals.pending-is-shown")
def test_an_agent_shows_the_request_its_default_conversation_waits_with(
    client: Letta, agent: AgentState, endpoint: OpenAIEndpoint
) -> None:
    assert client.agents.retrieve(agent.id, include=["agent.pending_approval"]).pending_approval is None
    endpoint.script(ASKED)
    send(client, "default", agent_id=agent.id, client_tools=[CLOCK])
    pending = client.agents.retrieve(agent.id, include=["agent.pending_approval"]).pending_approval
    assert pending is not None
    assert pending.tool_call.tool_call_id == "call_1"


@pytest.fixture
def guarded(make_agent: MakeAgent) -> AgentState:
    """An agent that may not remember anything without being allowed to."""
    return make_agent(
        memory_blocks=[{"label": "notes", "value": "start"}],
        tool_rules=[{"type": "requires_approval", "tool_name": "memory_insert"}],
    )


@pytest.fixture
def asking(client: Letta, guarded: AgentState, endpoint: OpenAIEndpoint) -> Any:
    """The request of the guarded agent to remember something."""
    endpoint.script(calls(call("memory_insert", {"label": "notes", "new_string": "tea"}, "call_1")), text("as you say"))
    response = send(client, "default", agent_id=guarded.id)
    assert response.stop_reason.stop_reason == "requires_approval"
    assert client.agents.blocks.retrieve("notes", agent_id=guarded.id).value == "start"
    return of_type(response.messages, "approval_request_message")[0]


@requirement("approvals.approve")
@pytest.mark.parametrize("form", ["whole-request", "by-call"])
def test_an_approved_call_is_made(
    client: Letta, guarded: AgentState, endpoint: OpenAIEndpoint, asking: Any, form: str
) -> None:
    message: dict[str, Any] = (
        {"type": "approval", "approve": True, "approval_request_id": asking.id}
        if form == "whole-request"
        else {"type": "approval", "approvals": [{"type": "approval", "tool_call_id": "call_1", "approve": True}]}
    )
    response = send(client, "default", None, agent_id=guarded.id, messages=[message])
    assert answer(response) == "as you say"
    assert of_type(response.messages, "tool_return_message")[0].status == "success"
    assert client.agents.blocks.retrieve("notes", agent_id=guarded.id).value == "start\ntea"
    (given,) = of_type(client.agents.messages.list(guarded.id, order="asc"), "approval_response_message")
    assert given.approve is True or given.approvals[0].approve is True


@requirement("approvals.deny")
@pytest.mark.parametrize("form", ["whole-request", "by-call"])
def test_a_denied_call_is_not_made_and_the_model_learns_why(
    client: Letta, guarded: AgentState, endpoint: OpenAIEndpoint, asking: Any, form: str
) -> None:
    denial: dict[str, Any] = {"approve": False, "reason": "not tea"}
    message: dict[str, Any] = (
        {"type": "approval", "approval_request_id": asking.id} | denial
        if form == "whole-request"
        else {"type": "approval", "approvals": [{"type": "approval", "tool_call_id": "call_1"} | denial]}
    )
    response = send(client, "default", None, agent_id=guarded.id, messages=[message])
    assert answer(response) == "as you say"
    assert "not tea" in endpoint.wait_for_requests(2)[1].tool_results["call_1"]
    assert client.agents.blocks.retrieve("notes", agent_id=guarded.id).value == "start"


@requirement("approvals.mixed-calls")
def test_of_several_calls_those_that_need_no_answer_are_made_and_the_others_wait(
    client: Letta, conversation: Conversation, endpoint: OpenAIEndpoint
) -> None:
    endpoint.script(
        calls(
            call("memory_insert", {"label": "human", "new_string": "Likes tea."}, "call_a"),
            call("local_time", {"zone": "CET"}, "call_b"),
            call("local_time", {"zone": "UTC"}, "call_c"),
        ),
        text("done"),
    )
    first = send(client, conversation.id, client_tools=[CLOCK])
    assert first.stop_reason.stop_reason == "requires_approval"
    asked = [entry.tool_call_id for m in of_type(first.messages, "approval_request_message") for entry in m.tool_calls]
    assert asked == ["call_b", "call_c"]
    both = {"type": "approval", "approvals": [_return("call_c", tool_return="11:00"), _return("call_b")]}
    assert answer(send(client, conversation.id, None, messages=[both], client_tools=[CLOCK])) == "done"
    results = endpoint.wait_for_requests(2)[1].tool_results
    assert results.keys() == {"call_a", "call_b", "call_c"}
    assert (results["call_b"], results["call_c"]) == ("noon", "11:00")


@requirement("client-skills.are-named-to-the-model")
def test_skills_of_the_client_are_named_to_the_model_for_this_message(
    client: Letta, conversation: Conversation, endpoint: OpenAIEndpoint
) -> None:
    skill: Any = {"name": "cook", "description": "Cooks a meal.", "location": "skills/cook"}
    send(client, conversation.id, client_skills=[skill])
    send(client, conversation.id)
    with_skill, without = endpoint.wait_for_requests(2)
    assert all(word in with_skill.system for word in skill.values())
    assert "Cooks a meal." not in without.system


@requirement("client-tools.keep-their-names")
@pytest.mark.parametrize("name", ["calendar.respondToEvent", "user-profile/update", "поиск", "x" * 70])
def test_a_client_tool_keeps_its_name_whatever_the_provider_takes(
    client: Letta, conversation: Conversation, endpoint: OpenAIEndpoint, name: str
) -> None:
    endpoint.script(calls(call(tool_name(name), {"zone": "CET"}, "call_1")), text("Done."))
    response = send(client, conversation.id, "Do it.", client_tools=[{**CLOCK, "name": name}])
    (asked,) = of_type(response.messages, "approval_request_message")
    assert asked.tool_call.name == name
    assert tool_name(name) in endpoint.requests[0].tool_names
    answered = {"type": "approval", "approvals": [_return()]}
    send(client, conversation.id, None, messages=[answered], client_tools=[{**CLOCK, "name": name}])
    shown = [
        message.tool_call.name for message in of_type(history(client, conversation.id), "approval_request_message")
    ]
    assert shown == [name]


@requirement("client-tools.unknown-names-are-told")
def test_a_call_of_an_unknown_tool_tells_the_model_the_clients_tools(
    client: Letta, conversation: Conversation, endpoint: OpenAIEndpoint
) -> None:
    endpoint.script(calls(call("nothing_like_it", {}, "call_1")), text("Sorry."))
    response = send(client, conversation.id, "Do it.", client_tools=[CLOCK])
    (returned,) = of_type(response.messages, "tool_return_message")
    assert "local_time" in returned.tool_return
