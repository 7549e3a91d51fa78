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


async def test_messages_of_an_agent_whose_deletion_was_cut_off_are_not_found(store: Store) -> None:
    conversation, other = await stored_conversation(store), await stored_conversation(store)
    await stored_messages(store, conversation, "word gone")
    await stored_messages(store, other, "word kept")
    await store.write(lambda tx: tx.agents.mark_deleted(conversation.agent_id))
    assert await found(store, SearchQuery(text="word")) == ["word kept"]


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


@pytest.mark.parametrize(
    ("text", "queries", "others"),
    [
        ("codex里记忆断裂了", ["断裂", "codex", "里", "了", "codex里", "CODEX 断裂"], ["断记", "忆里", "cod"]),
        ("吾輩は猫である。名前はまだ無い", ["猫", "名前", "吾輩は猫", "無い"], ["犬", "猫名", "前名"]),
        ("東京タワーとﾄｳｷｮｳ、ＡＢＣ１２", ["タワー", "トウキョウ", "abc12", "東京"], ["京都", "abc"]),
        ("저는 학교에서 공부합니다", ["학교", "학교에서", "공부", "저"], ["학공", "교학"]),
        ("ฉันรักภาษาไทยมาก", ["ภาษา", "ไทย", "รัก"], ["ไทยภาษา", "อังกฤษ"]),
        ("ຂ້ອຍຮັກພາສາລາວ", ["ພາສາ", "ລາວ"], ["ລາວພາສາ"]),
        ("ខ្ញុំ\u200bស្រឡាញ់\u200bភាសា\u200bខ្មែរ", ["ភាសា", "ខ្មែរ", "ភាសាខ្មែរ"], ["ខ្មែរភាសា"]),
        ("मैं हिन्दी बोलता हूँ", ["हिन्दी", "हूँ"], ["हिन्द", "हन"]),
        ("Cafe\u0301 in der GROSSEN Straße", ["café", "CAFÉ", "strasse", "Straße", "großen"], ["caf", "stra"]),
        ("call snake_case or camelCase of file.py", ["snake_case", "case snake", "CamelCase", "file.py"], ["py.file"]),
        ("well-known a-b", ["well-known", "a-b", "known"], ["b-a", "known-b"]),
        ("שָׁלוֹם \u202bעולם\u202c", ["שלום", "עולם"], ["שלו"]),
        ("كِتَابٌ جديد", ["كتاب", "كتـاب"], ["كتا"]),
        ("done 🎉👍🏽 at last", ["🎉", "👍", "🎉👍", "done 🎉"], ["👍🎉", "🎈"]),
        ("𠮷野家で食べた", ["𠮷野家", "𠮷"], ["吉野家"]),
        ("x" * 3000, ["x" * 3000], ["x" * 64, "x" * 2999]),
    ],
    ids=lambda value: value[:8] if isinstance(value, str) else "",
)  # fmt: skip
async def test_what_is_written_in_any_script_is_found_by_any_part_of_it_that_has_a_meaning(
    store: Store, text: str, queries: list[str], others: list[str]
) -> None:
    await stored_messages(store, await stored_conversation(store), text, "something else, 其他, ほか")
    for query in queries:
        assert await found(store, SearchQuery(text=query)) == [text], query
    for query in others:
        assert await found(store, SearchQuery(text=query)) == [], query


async def test_what_was_written_as_one_is_found_behind_many_that_only_have_its_parts(store: Store) -> None:
    conversation = await stored_conversation(store)
    await stored_messages(store, conversation, "记忆断裂", *("裂断 断裂 忆断 记忆" for _ in range(300)))
    assert await found(store, SearchQuery(text="记忆断裂")) == ["记忆断裂"]


async def test_a_query_of_any_length_is_answered(store: Store) -> None:
    words = " ".join(f"word{number} 字{chr(0x4E00 + number)}" for number in range(3000))
    await stored_messages(store, await stored_conversation(store), words)
    assert await found(store, SearchQuery(text=words)) == [words]
    assert await found(store, SearchQuery(text=f"{words} absent")) == []


async def test_messages_of_a_deleted_history_leave_nothing_to_be_found_in_any_script(store: Store) -> None:
    conversation = await stored_conversation(store)
    await stored_messages(store, conversation, "记忆断裂 codex")
    assert await found(store, SearchQuery(text="断裂")) == ["记忆断裂 codex"]
    await store.write(lambda tx: tx.messages.reset(conversation.id))
    assert await found(store, SearchQuery(text="断裂")) == []
