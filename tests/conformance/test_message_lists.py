from typing import Any

import pytest
from letta_client import Letta
from letta_client.types import AgentState, Conversation
from letta_client.types.agents import MessageType

from tests.conformance.helpers import MakeAgent, detail, history, of_type, send, types
from tests.conformance.requirements import requirement
from tests.support.openai_endpoint import OpenAIEndpoint, call, calls, text


@pytest.fixture
def talk(client: Letta, conversation: Conversation, endpoint: OpenAIEndpoint) -> Conversation:
    """A conversation with three exchanges: system, then user and assistant three times."""
    endpoint.script(text("a1"), text("a2"), text("a3"))
    for question in ("q1", "q2", "q3"):
        send(client, conversation.id, question)
    return conversation


@requirement("messages.list.order")
def test_messages_are_listed_newest_first_or_oldest_first(client: Letta, talk: Conversation) -> None:
    oldest = client.conversations.messages.list(talk.id, order="asc").items
    newest = client.conversations.messages.list(talk.id, order="desc").items
    assert [getattr(m, "content", None) for m in oldest[1:]] == ["q1", "a1", "q2", "a2", "q3", "a3"]
    assert newest == oldest[::-1]
    assert client.conversations.messages.list(talk.id).items == newest


@requirement("messages.list.before-is-older-after-is-newer")
@pytest.mark.parametrize("order", ["asc", "desc"])
def test_before_is_older_and_after_is_newer_whatever_the_order(client: Letta, talk: Conversation, order: Any) -> None:
    ids = [message.id for message in history(client, talk.id)]

    def page(**query: Any) -> list[str]:
        found = [m.id for m in client.conversations.messages.list(talk.id, order=order, **query).items]
        return found if order == "asc" else found[::-1]

    assert page(before=ids[3]) == ids[:3]
    assert page(after=ids[3]) == ids[4:]
    assert page(after=ids[1], before=ids[5]) == ids[2:5]
    assert page(after=ids[-1]) == []
    assert page(before=ids[0]) == []


@requirement("messages.list.limit")
def test_a_page_holds_the_messages_next_to_the_cursor(client: Letta, talk: Conversation) -> None:
    ids = [message.id for message in history(client, talk.id)]

    def page(**query: Any) -> list[str]:
        return [m.id for m in client.conversations.messages.list(talk.id, **query).items]

    assert page(order="asc", limit=2) == ids[:2]
    assert page(order="desc", limit=2) == [ids[6], ids[5]]
    assert page(order="asc", limit=2, after=ids[2]) == ids[3:5]
    # The way a client pages back: newest first, then what is older than the oldest it has.
    assert page(order="desc", limit=2, before=ids[5]) == [ids[4], ids[3]]


@requirement("messages.list.sdk-iteration")
def test_the_iteration_of_the_sdk_sees_every_message_once_in_ascending_order(client: Letta, talk: Conversation) -> None:
    every = [message.id for message in client.conversations.messages.list(talk.id, order="asc", limit=2)]
    assert every == [message.id for message in client.conversations.messages.list(talk.id, order="asc").items]
    assert len(every) == 7


@requirement("messages.list.polling-with-after-alone")
def test_a_user_who_polls_with_after_alone_gets_what_is_new(client: Letta, talk: Conversation) -> None:
    ids = [message.id for message in history(client, talk.id)]
    assert [m.id for m in client.conversations.messages.list(talk.id, after=ids[-3]).items] == [ids[-1], ids[-2]]


@requirement("messages.list.type-filter")
def test_only_the_types_asked_for_are_listed(client: Letta, talk: Conversation) -> None:
    def kinds(*names: MessageType) -> list[str]:
        return types(client.conversations.messages.list(talk.id, order="asc", include_return_message_types=list(names)))

    assert kinds("assistant_message") == ["assistant_message"] * 3
    assert kinds("user_message", "system_message") == ["system_message", *["user_message"] * 3]
    assert kinds("approval_response_message") == []
    limited = client.conversations.messages.list(
        talk.id, order="desc", limit=2, include_return_message_types=["user_message"]
    )
    assert [m.content for m in of_type(limited.items, "user_message")] == ["q3", "q2"]


@requirement("messages.list.unknown-cursor")
def test_a_cursor_that_names_nothing_is_refused(client: Letta, talk: Conversation) -> None:
    missing = "message-00000000-0000-4000-8000-000000000000"
    assert missing in detail(404, lambda: client.conversations.messages.list(talk.id, after=missing))
    assert missing in detail(404, lambda: client.conversations.messages.list(talk.id, before=missing))


@requirement("messages.list.refuses-bad-parameters")
@pytest.mark.parametrize(
    "query", [{"limit": "many"}, {"limit": -1}, {"order": "sideways"}, {"include_return_message_types": ["poem"]}]
)
def test_a_parameter_that_does_not_validate_is_422(client: Letta, talk: Conversation, query: dict[str, Any]) -> None:
    assert detail(422, lambda: client.conversations.messages.list(talk.id, **query))


@requirement("messages.retrieve.is-a-list")
def test_one_stored_message_is_retrieved_as_a_list_of_wire_messages(
    client: Letta, conversation: Conversation, endpoint: OpenAIEndpoint
) -> None:
    endpoint.script(calls(call("conversation_search", {"query": "x"}), say="Let me look."), text("done"))
    send(client, conversation.id)
    messages = history(client, conversation.id)
    found = client.messages.retrieve(messages[2].id)
    assert types(found) == ["assistant_message", "tool_call_message"]
    assert found == messages[2:4]
    missing = "message-00000000-0000-4000-8000-000000000000"
    assert missing in detail(404, lambda: client.messages.retrieve(missing))


@requirement("messages.list.across-conversations")
def test_messages_of_every_conversation_are_listed_together(
    client: Letta, agent: AgentState, talk: Conversation
) -> None:
    other = client.conversations.create(agent_id=agent.id)
    send(client, other.id, "elsewhere")
    newest = client.messages.list(limit=3, order="desc")
    assert types(newest) == ["assistant_message", "user_message", "system_message"]
    assert getattr(newest[1], "content", None) == "elsewhere"
    inside = client.messages.list(conversation_id=talk.id, order="asc")
    assert inside == client.conversations.messages.list(talk.id, order="asc").items
    cursor = inside[2].id
    assert client.messages.list(conversation_id=talk.id, order="asc", after=cursor) == inside[3:]
    assert client.messages.list(conversation_id=talk.id, order="desc", before=cursor) == inside[:2][::-1]


@requirement("agents.messages.list.conversation")
def test_the_agents_route_lists_the_conversation_it_is_asked_for(
    client: Letta, agent: AgentState, talk: Conversation
) -> None:
    send(client, "default", "by default", agent_id=agent.id)
    named = client.agents.messages.list(agent.id, conversation_id=talk.id, order="asc").items
    assert named == client.conversations.messages.list(talk.id, order="asc").items
    own = client.agents.messages.list(agent.id, conversation_id="default", order="asc").items
    assert [getattr(m, "content", None) for m in own[1:]] == ["by default", "ok"]


@requirement("agents.messages.list.all-conversations")
def test_the_agents_route_lists_the_messages_of_all_its_conversations_together(
    client: Letta, agent: AgentState, talk: Conversation, make_agent: MakeAgent
) -> None:
    send(client, make_agent().id, "another agent's")
    send(client, "default", "by default", agent_id=agent.id)
    newest = client.agents.messages.list(agent.id).items
    said = [getattr(m, "content", None) for m in newest if m.message_type != "system_message"]
    assert said == ["ok", "by default", "a3", "q3", "a2", "q2", "a1", "q1"]
    oldest = client.agents.messages.list(agent.id, order="asc").items
    assert oldest == newest[::-1]
    cursor = oldest[4].id
    assert client.agents.messages.list(agent.id, order="asc", after=cursor).items == oldest[5:]
    assert client.agents.messages.list(agent.id, order="asc", before=cursor).items == oldest[:4]
    assert list(client.agents.messages.list(agent.id, order="asc", limit=2)) == oldest


@requirement("messages.list.assistant-message-tool")
def test_the_message_tool_is_listed_as_asked(client: Letta, make_agent: MakeAgent, endpoint: OpenAIEndpoint) -> None:
    agent = make_agent(agent_type="memgpt_v2_agent", tools=["send_message"], include_base_tools=False)
    endpoint.script(calls(call("send_message", {"message": "Good day."})))
    client.agents.messages.create(agent.id, input="hello")
    shown = client.agents.messages.list(agent.id, order="asc").items
    assert [m.content for m in of_type(shown, "assistant_message")] == ["Good day."]
    plain = client.agents.messages.list(agent.id, order="asc", use_assistant_message=False).items
    assert "assistant_message" not in types(plain)
    assert "tool_call_message" in types(plain)
