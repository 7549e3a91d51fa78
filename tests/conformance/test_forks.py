"""Conversations that begin where another one is, and conversations with memory of their own."""

from typing import Any

import pytest
from letta_client import Letta
from letta_client.types import AgentState, Conversation

from tests.conformance.helpers import answer, detail, history, of_type, send
from tests.conformance.requirements import requirement
from tests.support.openai_endpoint import Gate, OpenAIEndpoint, Pause, call, calls, text


def _said(client: Letta, conversation_id: str) -> list[Any]:
    return [getattr(m, "content", None) for m in history(client, conversation_id)[1:]]


@pytest.fixture
def talk(client: Letta, conversation: Conversation, endpoint: OpenAIEndpoint) -> Conversation:
    endpoint.script(text("a1"), text("a2"))
    send(client, conversation.id, "q1")
    send(client, conversation.id, "q2")
    return conversation


@requirement("conversations.fork.shares-the-history")
def test_a_fork_has_the_history_and_goes_its_own_way(
    client: Letta, talk: Conversation, endpoint: OpenAIEndpoint
) -> None:
    fork = client.conversations.fork(talk.id)
    assert fork.id != talk.id
    assert fork.agent_id == talk.agent_id
    assert _said(client, fork.id) == ["q1", "a1", "q2", "a2"]
    endpoint.script(text("left"), text("right"))
    send(client, talk.id, "source")
    send(client, fork.id, "fork")
    assert _said(client, talk.id) == ["q1", "a1", "q2", "a2", "source", "left"]
    assert _said(client, fork.id) == ["q1", "a1", "q2", "a2", "fork", "right"]
    sent = [m["content"] for m in endpoint.requests[-1].messages[1:]]
    assert sent == ["q1", "a1", "q2", "a2", "fork"]
    ids = client.conversations.retrieve(fork.id).in_context_message_ids
    assert ids == [message.id for message in history(client, fork.id)]
    client.conversations.delete(talk.id)
    assert len(_said(client, fork.id)) == 6


@requirement("conversations.fork.up-to-a-message")
def test_a_fork_ends_with_the_message_it_is_made_at(client: Letta, talk: Conversation) -> None:
    at = history(client, talk.id)[2]
    fork = client.conversations.fork(talk.id, message_id=at.id)
    assert _said(client, fork.id) == ["q1", "a1"]
    missing = "message-00000000-0000-4000-8000-000000000000"
    assert missing in detail(404, lambda: client.conversations.fork(talk.id, message_id=missing))


@requirement("conversations.fork.has-the-memory-of-today")
def test_the_system_message_of_a_fork_is_compiled_anew(
    client: Letta, talk: Conversation, endpoint: OpenAIEndpoint
) -> None:
    client.agents.blocks.update("human", agent_id=talk.agent_id, value="Name: Grace.")
    fork = client.conversations.fork(talk.id)
    system = history(client, fork.id)[0]
    assert "Name: Grace." in system.content
    assert f"- CONVERSATION_ID: {fork.id}" in system.content
    assert system.id != history(client, talk.id)[0].id


@requirement("conversations.fork.default-and-hidden")
def test_the_default_conversation_is_forked_and_a_fork_can_be_hidden(client: Letta, agent: AgentState) -> None:
    send(client, "default", "by default", agent_id=agent.id)
    fork = client.conversations.fork("default", agent_id=agent.id, hidden=True)
    assert _said(client, fork.id) == ["by default", "ok"]
    assert client.conversations.list(agent_id=agent.id) == []
    shown = client.conversations.fork(agent.id)
    assert [c.id for c in client.conversations.list(agent_id=agent.id)] == [shown.id]


@requirement("conversations.fork.while-running")
def test_a_conversation_that_is_answering_is_forked_with_what_it_has(
    client: Letta, talk: Conversation, endpoint: OpenAIEndpoint
) -> None:
    gate = Gate()
    endpoint.script([Pause(gate), *text("a3")], text("elsewhere"))
    with client.conversations.messages.create(talk.id, input="q3") as events:
        gate.wait_reached()
        fork = client.conversations.fork(talk.id)
        assert _said(client, fork.id)[:4] == ["q1", "a1", "q2", "a2"]
        assert answer(send(client, fork.id, "and?")) == "elsewhere"
        gate.open()
        list(events)
    assert _said(client, talk.id)[-2:] == ["q3", "a3"]


@requirement("conversations.isolated-blocks")
def test_a_conversation_with_a_block_of_its_own_does_not_touch_the_agents(
    client: Letta, agent: AgentState, endpoint: OpenAIEndpoint
) -> None:
    apart: Any = client.conversations.create(agent_id=agent.id, extra_body={"isolated_block_labels": ["human"]})
    (own_id,) = apart.isolated_block_ids
    assert own_id not in {block.id for block in agent.memory.blocks}
    endpoint.script(calls(call("memory_insert", {"label": "human", "new_string": "Likes tea."})), text("noted"))
    send(client, apart.id)
    assert client.blocks.retrieve(own_id).value == "Name: Chad.\nLikes tea."
    assert client.agents.blocks.retrieve("human", agent_id=agent.id).value == "Name: Chad."
    send(client, apart.id)
    send(client, "default", agent_id=agent.id)
    in_own, in_default = (request.system for request in endpoint.requests[-2:])
    assert "Likes tea." in in_own
    assert "Likes tea." not in in_default
    assert "I am terse." in in_own
    plain: Any = client.conversations.create(agent_id=agent.id, extra_body={"isolated_block_labels": []})
    assert plain.isolated_block_ids in ([], None)
    assert "nothing" in detail(
        400,
        lambda: client.conversations.create(agent_id=agent.id, extra_body={"isolated_block_labels": ["nothing"]}),
    )
    assert of_type(history(client, apart.id), "tool_return_message")[0].status == "success"
