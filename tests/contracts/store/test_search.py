"""Full-text search over the messages in a store."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tertulia.domain.messages import ToolReturnPart
from tertulia.ports.queries import SearchQuery
from tertulia.ports.store import Store
from tests.contracts.store.makers import at, stored_agent, stored_conversation, stored_messages


async def found(store: Store, query: SearchQuery) -> list[str]:
    return [message.text for message in await store.read(lambda tx: tx.messages.search(query))]


async def test_all_words_are_wanted_in_any_order_and_case(store: Store) -> None:
    conversation = await stored_conversation(store)
    await stored_messages(store, conversation, "The red fox ran", "A red hen", "Fox, and then RED!")
    assert set(await found(store, SearchQuery(text="red FOX"))) == {"The red fox ran", "Fox, and then RED!"}
    assert await found(store, SearchQuery(text="blue")) == []


async def test_accents_do_not_matter(store: Store) -> None:
    await stored_messages(store, await stored_conversation(store), "una café fría")
    assert await found(store, SearchQuery(text="cafe FRÍA")) == ["una café fría"]


async def test_the_best_match_comes_first(store: Store) -> None:
    long = "fox " + "and other words " * 30
    await stored_messages(store, await stored_conversation(store), long, "fox fox")
    assert await found(store, SearchQuery(text="fox")) == ["fox fox", long]


async def test_tool_returns_are_searched_and_the_system_prompt_is_not(store: Store) -> None:
    conversation = await stored_conversation(store)
    await stored_messages(store, conversation, "", role="tool", content=(ToolReturnPart("call_1", "look", "a zebra"),))
    assert await found(store, SearchQuery(text="zebra")) == ["a zebra"]
    assert await found(store, SearchQuery(text="Ana")) == []
    prompt = await store.read(lambda tx: tx.messages.system(conversation.id))
    await store.write(lambda tx: tx.messages.set_system(conversation.id, prompt))
    assert await found(store, SearchQuery(text="Ana")) == []


async def test_a_search_is_limited_to_agent_conversation_roles_and_times(store: Store) -> None:
    agent = await stored_agent(store)
    first, second = await stored_conversation(store, agent), await stored_conversation(store, agent)
    await stored_messages(store, first, "word one", created_at=at(1))
    await stored_messages(store, second, "word two", created_at=at(2), role="assistant")
    await stored_messages(store, await stored_conversation(store), "word three", created_at=at(3))
    for query, expected in (
        (SearchQuery(text="word"), {"word one", "word two", "word three"}),
        (SearchQuery(text="word", agent_id=agent.id), {"word one", "word two"}),
        (SearchQuery(text="word", conversation_id=first.id), {"word one"}),
        (SearchQuery(text="word", roles=("assistant", "tool")), {"word two"}),
        (SearchQuery(text="word", start=at(2)), {"word two", "word three"}),
        (SearchQuery(text="word", end=at(2)), {"word one", "word two"}),
        (SearchQuery(text="word", start=at(2), end=at(2)), {"word two"}),
    ):
        assert set(await found(store, query)) == expected, query
    assert len(await found(store, SearchQuery(text="word", limit=2))) == 2


async def test_deleted_messages_are_not_found(store: Store) -> None:
    conversation, other = await stored_conversation(store), await stored_conversation(store)
    await stored_messages(store, conversation, "word gone")
    await stored_messages(store, other, "word kept")
    await store.write(lambda tx: tx.messages.reset(conversation.id))
    await stored_messages(store, conversation, "word new")
    assert set(await found(store, SearchQuery(text="word"))) == {"word kept", "word new"}
    await store.write(lambda tx: tx.agents.delete(other.agent_id))
    assert await found(store, SearchQuery(text="word")) == ["word new"]


@pytest.mark.parametrize(
    "text", ['"', '"quoted" fox', "fox OR", "NOT fox", "fox*", "text:fox", "NEAR(fox)", "^fox", "(fox", "f-o'x;", "\0"]
)
async def test_query_syntax_is_plain_words(store: Store, text: str) -> None:
    await stored_messages(store, await stored_conversation(store), "a fox")
    assert await found(store, SearchQuery(text=text)) in ([], ["a fox"])


async def test_a_text_without_words_finds_nothing(store: Store) -> None:
    await stored_messages(store, await stored_conversation(store), "a fox?")
    assert await found(store, SearchQuery(text=' ?! "" ')) == []


@given(text=st.text(st.characters(exclude_categories=["Cs"])))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
async def test_any_text_can_be_searched_for(store: Store, text: str) -> None:
    await found(store, SearchQuery(text=text))
