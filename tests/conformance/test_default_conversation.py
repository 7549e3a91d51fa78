"""An agent's default conversation is one conversation, whichever of its routes it is reached by."""

from collections.abc import Callable

import pytest
from letta_client import Letta
from letta_client.types import AgentState

from tests.conformance.helpers import detail, send, stream, stream_agent
from tests.conformance.requirements import requirement
from tests.support.openai_endpoint import OpenAIEndpoint

SENDERS: dict[str, Callable[[Letta, str, str], object]] = {
    "default, with the agent in the body": lambda c, a, text: send(c, "default", text, agent_id=a),
    "default, streamed": lambda c, a, text: stream(c, "default", text, agent_id=a),
    "the agent's id in the path (deprecated)": send,
    "the agent's own route": lambda c, a, text: c.agents.messages.create(a, input=text),
    "the agent's streaming route": stream_agent,
}


@requirement("default-conversation.every-route-is-the-same")
def test_every_route_writes_to_and_reads_from_the_same_history(
    client: Letta, agent: AgentState, endpoint: OpenAIEndpoint
) -> None:
    for name, post in SENDERS.items():
        post(client, agent.id, name)
    lists = [
        client.conversations.messages.list("default", agent_id=agent.id, order="asc").items,
        client.conversations.messages.list(agent.id, order="asc").items,
        client.agents.messages.list(agent.id, order="asc").items,
        client.agents.messages.list(agent.id, conversation_id="default", order="asc").items,
    ]
    said = [getattr(m, "content", None) for m in lists[0] if m.message_type == "user_message"]
    assert said == list(SENDERS)
    assert all(listed == lists[0] for listed in lists)
    sent = [m["content"] for m in endpoint.wait_for_requests(len(SENDERS))[-1].messages if m["role"] == "user"]
    assert sent == list(SENDERS)


@requirement("default-conversation.needs-an-agent")
@pytest.mark.parametrize("agent_id", [None, "agent-00000000-0000-4000-8000-000000000000"])
def test_default_needs_an_agent_that_exists(client: Letta, agent_id: str | None) -> None:
    status = 404 if agent_id else 400
    assert "agent" in detail(status, lambda: send(client, "default", agent_id=agent_id))
    if agent_id:
        assert detail(404, lambda: client.conversations.messages.list("default", agent_id=agent_id))


@requirement("default-conversation.is-apart-from-the-others")
def test_the_default_conversation_knows_nothing_of_the_others(
    client: Letta, agent: AgentState, endpoint: OpenAIEndpoint
) -> None:
    other = client.conversations.create(agent_id=agent.id)
    send(client, other.id, "a secret")
    send(client, "default", "hello", agent_id=agent.id)
    assert "a secret" not in str(endpoint.wait_for_requests(2)[1].body)
    assert "- CONVERSATION_ID: default" in endpoint.requests[1].system


@requirement("default-conversation.runs")
def test_a_run_of_the_default_conversation_is_found_by_its_agent(client: Letta, agent: AgentState) -> None:
    run_ids = send(client, "default", agent_id=agent.id).usage.run_ids
    assert [run.id for run in client.runs.list(agent_id=agent.id)] == run_ids
