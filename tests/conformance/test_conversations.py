from typing import Any

import httpx
import pytest
from letta_client import Letta
from letta_client.types import AgentState, Conversation

from tests.conformance.helpers import MODEL, MakeAgent, detail, history, send, unique
from tests.conformance.requirements import requirement
from tests.support.openai_endpoint import OpenAIEndpoint

# One change of every field of a conversation, what it shows before, and whether null clears it.
CHANGES: list[tuple[str, Any]] = [
    ("summary", "about tea"),
    ("description", "a longer account"),
    ("model", "openai/gpt-4o"),
    ("model_settings", {"provider_type": "openai", "temperature": 0.5}),
    ("context_window_limit", 5000),
    ("last_message_at", "2026-01-02T03:04:05.000006Z"),
    ("archived", True),
]


@requirement("conversations.create.returns-contract-shape")
def test_a_created_conversation_shows_every_field(client: Letta, agent: AgentState) -> None:
    given: dict[str, Any] = {
        "summary": "s",
        "description": "d",
        "model": "openai/gpt-4o",
        "model_settings": {"provider_type": "openai", "temperature": 0.5},
        "context_window_limit": 5000,
    }
    created = client.conversations.create(agent_id=agent.id, **given)
    assert created.id.startswith("conv-")
    assert len(created.id) == 41
    for conversation in (created, client.conversations.retrieve(created.id)):
        shown: dict[str, Any] = conversation.to_dict()
        assert conversation.agent_id == agent.id
        assert conversation.archived is False
        assert shown["model_settings"]["temperature"] == 0.5
        assert {k: shown[k] for k in given if k != "model_settings"} == {
            k: v for k, v in given.items() if k != "model_settings"
        }


@requirement("conversations.create.needs-an-agent")
def test_a_conversation_needs_an_agent(http: httpx.Client) -> None:
    assert http.post("/v1/conversations/", json={}).status_code == 422


@requirement("conversations.create.has-the-system-message-in-context")
def test_a_new_conversation_has_its_system_message_in_context(client: Letta, agent: AgentState) -> None:
    created = client.conversations.create(agent_id=agent.id)
    assert created.in_context_message_ids
    assert client.conversations.retrieve(created.id).in_context_message_ids == created.in_context_message_ids
    assert [m.message_type for m in history(client, created.id)] == ["system_message"]


@requirement("conversations.retrieve.unknown-is-404")
def test_an_unknown_conversation_is_404_everywhere(client: Letta) -> None:
    missing = "conv-00000000-0000-4000-8000-000000000000"
    for request in (
        lambda: client.conversations.retrieve(missing),
        lambda: client.conversations.update(missing, summary="x"),
        lambda: client.conversations.delete(missing),
        lambda: client.conversations.messages.list(missing),
        lambda: client.conversations.messages.create(missing, input="x"),
        lambda: client.messages.list(conversation_id=missing),
    ):
        assert missing in detail(404, request)


@requirement("conversations.id-length")
def test_a_conversation_id_longer_than_41_characters_is_422(client: Letta) -> None:
    long = "conv-" + "0" * 37
    for request in (
        lambda: client.conversations.retrieve(long),
        lambda: client.conversations.update(long, summary="x"),
        lambda: client.conversations.delete(long),
        lambda: client.conversations.messages.list(long),
        lambda: client.conversations.messages.create(long, input="x"),
    ):
        assert "41" in detail(422, request)


@requirement("conversations.list.filters")
def test_conversations_are_found_by_agent_archive_status_and_summary(client: Letta, make_agent: MakeAgent) -> None:
    agent, other = make_agent(), make_agent()
    word = unique("word")
    plain = client.conversations.create(agent_id=agent.id, summary=f"about {word}").id
    archived = client.conversations.create(agent_id=agent.id).id
    client.conversations.update(archived, archived=True)
    client.conversations.create(agent_id=other.id)

    def found(**query: Any) -> set[str]:
        return {conversation.id for conversation in client.conversations.list(**query)}

    assert found(agent_id=agent.id, archive_status="all") == {plain, archived}
    assert found(agent_id=agent.id, archive_status="unarchived") == {plain}
    assert found(agent_id=agent.id, archive_status="archived") == {archived}
    assert found(summary_search=word.upper()) == {plain}
    assert found(agent_id=other.id, summary_search=word) == set()


@requirement("conversations.list.hidden")
def test_a_hidden_conversation_is_not_listed(client: Letta, agent: AgentState) -> None:
    hidden = client.conversations.create(agent_id=agent.id, hidden=True).id
    shown = client.conversations.create(agent_id=agent.id).id
    assert {c.id for c in client.conversations.list(agent_id=agent.id)} == {shown}
    assert client.conversations.retrieve(hidden).id == hidden


@requirement("conversations.list.default-conversation-is-not-listed")
def test_the_default_conversation_is_not_in_the_list(client: Letta, agent: AgentState) -> None:
    send(client, "default", agent_id=agent.id)
    assert client.conversations.list(agent_id=agent.id) == []


@requirement("conversations.list.order-and-cursors")
def test_conversations_come_in_order_and_page_by_page(client: Letta, agent: AgentState) -> None:
    made = [client.conversations.create(agent_id=agent.id).id for _ in range(5)]

    def page(**query: Any) -> list[str]:
        return [conversation.id for conversation in client.conversations.list(agent_id=agent.id, **query)]

    assert page(order="asc") == made
    assert page(order="desc") == made[::-1]
    assert page() == made[::-1]
    assert page(order="asc", limit=2) == made[:2]
    assert page(order="asc", limit=2, after=made[1]) == made[2:4]
    assert page(order="desc", limit=2, after=made[3]) == [made[2], made[1]]
    assert page(order="desc", after=made[0]) == []


@requirement("conversations.list.order-by")
@pytest.mark.parametrize("order_by", ["last_message_at", "last_run_completion"])
def test_conversations_are_ordered_by_their_last_message_or_run(
    client: Letta, agent: AgentState, order_by: Any
) -> None:
    first, second, third = (client.conversations.create(agent_id=agent.id).id for _ in range(3))
    send(client, second)
    send(client, first)

    def page(**query: Any) -> list[str]:
        return [c.id for c in client.conversations.list(agent_id=agent.id, order_by=order_by, **query)]

    newest = page(order="desc")
    assert newest == [first, second, third]
    assert page(order="desc", limit=1, after=newest[0]) == [second]
    assert page(order="desc", after=newest[1]) == [third]
    # Whichever end those without one stand at, the two that have one keep their order.
    assert [c for c in page(order="asc") if c != third] == [second, first]


@requirement("conversations.update.every-field")
@pytest.mark.parametrize(("field", "value"), CHANGES)
def test_one_field_of_a_conversation_changes_and_the_others_stay(
    client: Letta, agent: AgentState, field: str, value: Any
) -> None:
    start: dict[str, Any] = {"summary": "s", "description": "d", "model": MODEL, "context_window_limit": 9000}
    before: dict[str, Any] = client.conversations.create(agent_id=agent.id, **start).to_dict(mode="json")
    change: dict[str, Any] = {field: value}
    client.conversations.update(before["id"], **change)
    after: dict[str, Any] = client.conversations.retrieve(before["id"]).to_dict(mode="json")
    if field == "model_settings":
        assert value.items() <= after[field].items()
    else:
        assert after[field] == value
    follows = {field, "updated_at"} | ({"archived_at"} if field == "archived" else set[str]())
    assert {k: v for k, v in after.items() if k not in follows} == {k: v for k, v in before.items() if k not in follows}


@requirement("conversations.update.null-clears")
@pytest.mark.parametrize(("field", "value"), [row for row in CHANGES if row[0] != "archived"])
def test_null_clears_a_field_of_a_conversation(
    client: Letta, conversation: Conversation, field: str, value: Any
) -> None:
    change: dict[str, Any] = {field: value}
    client.conversations.update(conversation.id, **change)
    change[field] = None
    client.conversations.update(conversation.id, **change)
    assert client.conversations.retrieve(conversation.id).to_dict()[field] is None


@requirement("conversations.update.archived")
def test_archiving_notes_when_and_unarchiving_forgets_it(client: Letta, conversation: Conversation) -> None:
    archived = client.conversations.update(conversation.id, archived=True)
    assert archived.archived is True
    assert archived.archived_at is not None
    restored = client.conversations.update(conversation.id, archived=False)
    assert restored.archived is False
    assert restored.archived_at is None


@requirement("conversations.update.refuses-bad-values")
@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"summary": 3}, 422),
        ({"archived": "perhaps"}, 422),
        ({"context_window_limit": "big"}, 422),
        ({"last_message_at": "yesterday"}, 422),
        ({"model": "gpt-4o"}, 400),
        ({"model_settings": {"provider_type": "nobody"}}, 422),
    ],
)
def test_a_bad_value_changes_nothing(
    client: Letta, conversation: Conversation, change: dict[str, Any], status: int
) -> None:
    before = client.conversations.retrieve(conversation.id)
    assert detail(status, lambda: client.conversations.update(conversation.id, **change))
    assert client.conversations.retrieve(conversation.id) == before


@requirement("conversations.delete.is-final")
def test_a_deleted_conversation_is_404_everywhere(client: Letta, conversation: Conversation) -> None:
    send(client, conversation.id)
    assert client.conversations.delete(conversation.id) is None
    for request in (
        lambda: client.conversations.retrieve(conversation.id),
        lambda: client.conversations.update(conversation.id, summary="x"),
        lambda: client.conversations.delete(conversation.id),
        lambda: client.conversations.messages.list(conversation.id),
        lambda: client.conversations.messages.create(conversation.id, input="x"),
    ):
        assert conversation.id in detail(404, request)
    assert client.conversations.list(agent_id=conversation.agent_id, archive_status="all") == []


@requirement("conversations.retrieve.knows-every-message-in-context")
def test_a_retrieved_conversation_names_every_message_in_context(client: Letta, conversation: Conversation) -> None:
    send(client, conversation.id)
    send(client, conversation.id)
    ids = client.conversations.retrieve(conversation.id).in_context_message_ids
    assert ids is not None
    assert ids == list(dict.fromkeys(message.id for message in history(client, conversation.id)))


@requirement("conversations.know-the-memory-and-not-each-other")
def test_two_conversations_share_the_memory_and_no_words(
    client: Letta, agent: AgentState, endpoint: OpenAIEndpoint
) -> None:
    first = client.conversations.create(agent_id=agent.id)
    second = client.conversations.create(agent_id=agent.id)
    send(client, first.id, "the password is swordfish")
    send(client, second.id, "good morning")
    send(client, first.id, "and again")
    one, two, three = endpoint.wait_for_requests(3)
    assert all("Name: Chad." in request.system for request in (one, two, three))
    assert "swordfish" not in str(two.body)
    assert "good morning" not in str(three.body)
    assert "swordfish" in str(three.body)
