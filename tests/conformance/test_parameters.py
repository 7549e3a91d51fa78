"""Every parameter of the conversation operations: which promise proves its effect, and proofs of the last few."""

from typing import Any

import httpx
import pytest
from letta_client import Letta
from letta_client.types import AgentState, Conversation

from tests.conformance.helpers import MakeAgent, detail, history, of_type, send, spoken, stream
from tests.conformance.requirements import BY_ID, requirement
from tests.conformance.schema import operation
from tests.support.openai_endpoint import OpenAIEndpoint, Refuse, call, calls, text

PROOFS: dict[str, dict[str, str]] = {
    "conversations.create": {
        "agent_id": "conversations.create.needs-an-agent",
        "context_window_limit": "conversations.create.returns-contract-shape",
        "description": "conversations.create.returns-contract-shape",
        "hidden": "conversations.list.hidden",
        "model": "messages.create.conversation-model",
        "model_settings": "model-settings.every-shape",
        "summary": "conversations.create.returns-contract-shape",
    },
    "conversations.list": {
        "after": "conversations.list.order-and-cursors",
        "agent_id": "conversations.list.filters",
        "archive_status": "conversations.list.filters",
        "limit": "conversations.list.order-and-cursors",
        "order": "conversations.list.order-and-cursors",
        "order_by": "conversations.list.order-by",
        "summary_search": "conversations.list.filters",
    },
    "conversations.retrieve": {},
    "conversations.update": {
        "archived": "conversations.update.archived",
        "context_window_limit": "conversations.update.every-field",
        "description": "conversations.update.every-field",
        "last_message_at": "conversations.update.every-field",
        "model": "conversations.update.every-field",
        "model_settings": "conversations.update.every-field",
        "summary": "conversations.update.every-field",
    },
    "conversations.delete": {},
    "conversations.cancel": {"agent_id": "conversations.default-with-agent-id"},
    "conversations.fork": {
        "agent_id": "conversations.fork.default-and-hidden",
        "hidden": "conversations.fork.default-and-hidden",
        "message_id": "conversations.fork.up-to-a-message",
    },
    "conversations.recompile": {
        "agent_id": "conversations.default-with-agent-id",
        "compaction_settings": "conversations.recompile.compaction-settings",
        "dry_run": "conversations.recompile.dry-run",
    },
    "conversations.messages.create": {
        "agent_id": "default-conversation.every-route-is-the-same",
        "assistant_message_tool_kwarg": "messages.create.assistant-message-tool-of-a-conversation",
        "assistant_message_tool_name": "messages.create.assistant-message-tool-of-a-conversation",
        "background": "background.outlives-its-client",
        "client_skills": "client-skills.are-named-to-the-model",
        "client_tools": "client-tools.are-offered-and-asked-for",
        "enable_thinking": "messages.create.impossible-options",
        "include_compaction_messages": "messages.create.include-compaction-messages",
        "include_pings": "stream.pings",
        "include_return_message_types": "messages.create.type-filter",
        "input": "messages.create.input-and-messages",
        "max_steps": "messages.create.max-steps",
        "messages": "messages.create.several-messages",
        "override_model": "messages.create.override-model",
        "override_system": "messages.create.override-system",
        "return_logprobs": "messages.create.logprobs",
        "return_token_ids": "messages.create.impossible-options",
        "stream_tokens": "stream.tokens-come-at-once",
        "streaming": "stream.is-the-default",
        "top_logprobs": "messages.create.logprobs",
        "use_assistant_message": "messages.create.assistant-message-tool",
    },
    "conversations.messages.list": {
        "after": "messages.list.before-is-older-after-is-newer",
        "agent_id": "conversations.default-with-agent-id",
        "before": "messages.list.before-is-older-after-is-newer",
        "group_id": "messages.create.group-id",
        "include_err": "messages.list.include-err",
        "include_return_message_types": "messages.list.type-filter",
        "limit": "messages.list.limit",
        "order": "messages.list.order",
        "order_by": "messages.list.refuses-bad-parameters",
    },
    "conversations.messages.stream": {
        "agent_id": "conversations.default-with-agent-id",
        "batch_size": "resume.polling-parameters",
        "include_pings": "resume.polling-parameters",
        "otid": "resume.exactly-the-frames-after",
        "poll_interval": "resume.polling-parameters",
        "run_id": "resume.exactly-the-frames-after",
        "starting_after": "resume.exactly-the-frames-after",
    },
    "conversations.messages.compact": {
        "agent_id": "conversations.messages.compact.default-with-agent-id",
        "compaction_settings": "conversations.messages.compact.settings",
    },
}


@requirement("parameters.all-proven")
@pytest.mark.parametrize("sdk", PROOFS)
def test_every_parameter_has_a_promise_that_proves_it(sdk: str) -> None:
    known = operation(sdk)
    assert set(PROOFS[sdk]) == {*known.query, *known.body}
    assert set(PROOFS[sdk].values()) <= set(BY_ID)


@requirement("messages.create.group-id")
def test_messages_of_a_group_are_listed_alone(
    client: Letta, conversation: Conversation, endpoint: OpenAIEndpoint
) -> None:
    endpoint.script(text("a"), text("b"))
    message: Any = {"role": "user", "content": "of a group", "group_id": "group-1"}
    send(client, conversation.id, None, messages=[message])
    send(client, conversation.id, "of none")
    assert [m.content for m in history(client, conversation.id, group_id="group-1")] == ["of a group"]
    assert history(client, conversation.id, group_id="group-2") == []


@requirement("messages.create.assistant-message-tool-of-a-conversation")
def test_a_tool_of_any_name_can_be_the_one_that_speaks(
    client: Letta, conversation: Conversation, endpoint: OpenAIEndpoint
) -> None:
    named: Any = {"assistant_message_tool_name": "conversation_search", "assistant_message_tool_kwarg": "query"}
    endpoint.script(calls(call("conversation_search", {"query": "hear me"})), text("done"))
    reply = send(client, conversation.id, **named)
    assert [m.content for m in of_type(reply.messages, "assistant_message")] == ["hear me", "done"]
    endpoint.script(calls(call("conversation_search", {"query": "hear me"})), text("done"))
    assert spoken(stream(client, conversation.id, **named)) == "hear medone"
    endpoint.script(calls(call("conversation_search", {"query": "hear me"})), text("done"))
    reply = send(client, conversation.id, use_assistant_message=False, **named)
    assert [m.content for m in of_type(reply.messages, "assistant_message")] == ["done"]


@requirement("messages.list.include-err")
def test_failed_tool_returns_can_be_left_out(
    client: Letta, conversation: Conversation, endpoint: OpenAIEndpoint
) -> None:
    endpoint.script(calls(call("no_such_tool", {})), text("done"))
    send(client, conversation.id)
    assert of_type(history(client, conversation.id), "tool_return_message")
    assert of_type(history(client, conversation.id, include_err=True), "tool_return_message")
    assert not of_type(history(client, conversation.id, include_err=False), "tool_return_message")


@requirement("conversations.default-with-agent-id")
def test_every_operation_takes_default_with_an_agent(
    client: Letta, http: httpx.Client, agent: AgentState, endpoint: OpenAIEndpoint
) -> None:
    endpoint.script(text("Hello!"))
    own: Any = {"agent_id": agent.id}
    run_id = stream(client, "default", background=True, **own)[0].run_id
    assert [m.content for m in history(client, "default", **own)[1:]] == ["hello", "Hello!"]
    assert client.conversations.retrieve("default", extra_query=own).agent_id == agent.id
    assert client.conversations.update("default", summary="Mine", extra_query=own).summary == "Mine"
    assert "CONVERSATION_ID: default" in http.post("/v1/conversations/default/recompile", json=own).json()
    with client.conversations.messages.stream("default", run_id=run_id, **own) as resumed:
        assert spoken(list(resumed)) == "Hello!"
    assert "No active runs" in detail(409, lambda: client.conversations.cancel("default", **own))
    assert client.conversations.fork("default", **own).agent_id == agent.id


@requirement("conversations.recompile.dry-run")
def test_a_dry_run_of_a_recompilation_stores_nothing(
    client: Letta, http: httpx.Client, conversation: Conversation
) -> None:
    path = f"/v1/conversations/{conversation.id}/recompile"
    before = history(client, conversation.id)[0].content
    client.agents.blocks.update("human", agent_id=conversation.agent_id, value="Name: Grace.")
    assert "Name: Grace." in http.post(path, params={"dry_run": True}).json()
    assert history(client, conversation.id)[0].content == before


@requirement("conversations.recompile.compaction-settings")
def test_a_recompilation_with_compaction_settings_compacts_first(
    client: Letta, http: httpx.Client, conversation: Conversation, endpoint: OpenAIEndpoint
) -> None:
    path = f"/v1/conversations/{conversation.id}/recompile"
    _talk(client, endpoint, conversation.id)
    endpoint.script(text("They spoke of drinks."))
    client.conversations.recompile(conversation.id, compaction_settings={"mode": "all"})
    assert "They spoke of drinks." in str(history(client, conversation.id))
    refused = http.post(path, params={"dry_run": True}, json={"compaction_settings": {"mode": "all"}})
    assert refused.status_code == 400


@requirement("resume.polling-parameters")
def test_the_parameters_of_polling_change_no_frame(
    client: Letta, make_agent: MakeAgent, endpoint: OpenAIEndpoint
) -> None:
    agent = make_agent()
    endpoint.script(text("a", "b"))
    run_id = stream(client, "default", agent_id=agent.id, background=True, stream_tokens=True)[0].run_id

    def resumed(**options: Any) -> list[Any]:
        with client.conversations.messages.stream("default", agent_id=agent.id, run_id=run_id, **options) as events:
            return [event.model_dump() for event in events]

    assert resumed(batch_size=1, poll_interval=5.0, include_pings=True) == resumed()


def _talk(client: Letta, endpoint: OpenAIEndpoint, conversation_id: str, **own: Any) -> None:
    for word in ("tea", "coffee", "milk"):
        endpoint.script(text(f"I like {word}."))
        send(client, conversation_id, f"Do you like {word}?", **own)


@requirement("conversations.messages.compact.settings")
def test_a_compaction_goes_by_the_settings_it_is_given(
    client: Letta, conversation: Conversation, endpoint: OpenAIEndpoint
) -> None:
    _talk(client, endpoint, conversation.id)
    endpoint.script(text("They spoke of drinks."))
    settings: Any = {"mode": "all", "model": "openai/gpt-4o", "prompt": "Only nouns, please."}
    done = client.conversations.messages.compact(conversation.id, compaction_settings=settings)
    assert done.summary == "They spoke of drinks."
    assert done.num_messages_after < done.num_messages_before
    asked = endpoint.requests[-1].body
    assert asked["model"] == "gpt-4o"
    assert "Only nouns, please." in str(asked["messages"])
    endpoint.script(text("ok"))
    send(client, conversation.id, "And now?")
    assert "They spoke of drinks." in str(endpoint.requests[-1].body["messages"])
    assert "Do you like milk?" not in str(endpoint.requests[-1].body["messages"])
    assert "Do you like milk?" in [m.content for m in of_type(history(client, conversation.id), "user_message")]


@requirement("conversations.messages.compact.default-with-agent-id")
def test_the_default_conversation_is_compacted_with_its_agent(
    client: Letta, agent: AgentState, endpoint: OpenAIEndpoint
) -> None:
    _talk(client, endpoint, "default", agent_id=agent.id)
    endpoint.script(text("They spoke of drinks."))
    settings: Any = {"mode": "all"}
    done = client.conversations.messages.compact("default", agent_id=agent.id, compaction_settings=settings)
    assert done.summary == "They spoke of drinks."
    _talk(client, endpoint, "default", agent_id=agent.id)
    endpoint.script(text("Again of drinks."))
    assert client.agents.messages.compact(agent.id, compaction_settings=settings).summary == "Again of drinks."


@requirement("messages.create.include-compaction-messages")
@pytest.mark.parametrize("wanted", [True, False])
def test_what_is_compacted_meanwhile_is_told_to_those_who_ask(
    client: Letta, make_agent: MakeAgent, endpoint: OpenAIEndpoint, wanted: bool
) -> None:
    agent = make_agent(compaction_settings={"mode": "all"})
    _talk(client, endpoint, "default", agent_id=agent.id)
    too_long = Refuse(400, "This model's maximum context length is 8192 tokens.", code="context_length_exceeded")
    endpoint.script([too_long], text("They spoke of drinks."), text("ok"))
    frames = stream(client, "default", agent_id=agent.id, include_compaction_messages=wanted)
    told = {frame.message_type for frame in frames} & {"event_message", "summary_message"}
    assert told == ({"event_message", "summary_message"} if wanted else set())
    assert spoken(frames) == "ok"
