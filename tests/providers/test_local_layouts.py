import json
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tertulia.domain.errors import InvalidArgument
from tertulia.domain.messages import (
    ImagePart,
    Message,
    Part,
    Role,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UrlImage,
)
from tertulia.domain.models import ModelSettings
from tertulia.domain.tools import ToolSpec
from tertulia.ports.provider import MemoryView, ModelRequest
from tertulia.providers.local.body import make_body, opening_body
from tertulia.providers.local.layouts import ChatLayout, Layout, Turn
from tertulia.providers.local.notes import nearest, notes_of, perspective
from tertulia.providers.local.notes_layout import NotesLayout

_MEMORY = (
    MemoryView("persona", "I am Quill, a librarian. I answer briefly."),
    MemoryView(
        "human", "Name: Tomas\n- Job: violin maker\n* Favourite drink: ginger tea\n\nHe lives in Cremona. He is 41."
    ),
    MemoryView("current_project", "The viola is due in May."),
)
_SEARCH = ToolSpec(
    id="tool-search",
    name="search",
    description="Search what was said.",
    parameters={"type": "object", "properties": {"query": {"type": "string"}, "limit": {"type": "integer"}}},
    tool_type="custom",
)


def _message(role: Role, *parts: Part | str) -> Message:
    content = tuple(TextPart(part) if isinstance(part, str) else part for part in parts)
    return Message(
        id="message-1",
        agent_id="agent-1",
        conversation_id="conv-1",
        role=role,
        content=content,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


def _request(*messages: Message, tools: Sequence[ToolSpec] = (), **changes: Any) -> ModelRequest:
    given: dict[str, Any] = {
        "model": "tiny",
        "system": "You are Quill.\n<memory_blocks>…</memory_blocks>",
        "instructions": "You are a helpful assistant. You keep secrets about treasure maps.",
        "memory": _MEMORY,
        **changes,
    }
    return ModelRequest(messages=messages, tools=tuple(tools), **given)


def _asked(*messages: Message, **changes: Any) -> str:
    """The last turn that a small model reads."""
    turns = NotesLayout().turns(_request(*messages, **changes), enveloped=False)
    assert turns[-1].role == "user"
    return turns[-1].content


def _sent(request: ModelRequest, layout: Layout) -> dict[str, Any]:
    return msgspec.json.decode(make_body(request, layout).data)


def test_a_small_model_is_given_the_notes_that_lie_near_the_question() -> None:
    asked = _asked(_message("user", "What is my favourite drink?"))
    assert asked == "Memory:\nUser: Favourite drink: ginger tea\n\nQuestion: What is my favourite drink?"


def test_neighbouring_words_find_a_note_too() -> None:
    assert "User: Job: violin maker" in _asked(_message("user", "What do I do for a living?"))


def test_a_question_about_the_agent_is_answered_from_its_persona() -> None:
    asked = _asked(_message("user", "What is your name?"))
    assert "You: I am Quill, a librarian." in asked
    assert "Tomas" not in asked


def test_a_block_of_another_label_speaks_under_its_own_name() -> None:
    assert "Current project: The viola is due in May." in _asked(_message("user", "When is my viola due?"))


def test_the_agents_own_instructions_are_notes_like_any_other() -> None:
    assert "You: You keep secrets about treasure maps." in _asked(_message("user", "Do you know a treasure?"))


def test_when_nothing_lies_near_the_first_note_of_each_block_and_the_last_words_are_given() -> None:
    asked = _asked(
        _message("user", "Tell me a joke."), _message("assistant", "Why did it cross?"), _message("user", "I see, huh?")
    )
    assert asked.startswith("Memory:\nUser: Name: Tomas\nCurrent project: The viola is due in May.\n")
    assert "User: Tell me a joke.\nEarlier you said: Why did it cross?" in asked


def test_what_the_user_told_before_is_remembered_and_what_they_asked_is_not() -> None:
    asked = _asked(
        _message("user", "I lost my umbrella. Have you seen my umbrella?"),
        _message("assistant", "No."),
        _message("user", "What about my umbrella?"),
    )
    assert "User: I lost my umbrella." in asked
    assert "Have you seen" not in asked


def test_a_summary_of_earlier_talk_is_remembered() -> None:
    asked = _asked(_message("summary", "The user wants a red bicycle."), _message("user", "Which bicycle did I want?"))
    assert "Earlier: The user wants a red bicycle." in asked


def test_what_a_tool_returned_stands_with_the_question_that_is_still_open() -> None:
    call = ToolCallPart("call-1", "search", '{"query": "tea"}')
    returned = ToolReturnPart("call-1", "search", "They had tea in Rome.")
    asked = _asked(_message("user", "Where did I drink tea?"), _message("assistant", call), _message("tool", returned))
    assert "Tool search: They had tea in Rome." in asked
    assert asked.endswith("Question: Where did I drink tea?")


def test_several_messages_sent_at_once_are_one_question() -> None:
    assert _asked(_message("user", "Hello."), _message("user", "Who are you?")).endswith(
        "Question: Hello.\nWho are you?"
    )


def test_the_examples_have_the_form_that_every_reply_is_held_to() -> None:
    body = make_body(_request(_message("user", "Hi")), NotesLayout())
    assert body.held_to is not None
    assert body.held_to.enveloped
    examples = [turn["content"] for turn in msgspec.json.decode(body.data)["messages"] if turn["role"] == "assistant"]
    assert [list(json.loads(example)) for example in examples] == [["reply"]] * len(examples)


def test_all_chats_of_a_small_model_begin_with_the_same_turns() -> None:
    opening = NotesLayout().opening()
    for tool_choice, tools in (("auto", ()), ("auto", [_SEARCH]), ("required", [_SEARCH])):
        request = _request(_message("user", "Hi"), tools=tools, tool_choice=tool_choice)
        assert NotesLayout().turns(request, enveloped=True)[:-1] == opening
    assert opening_body(NotesLayout()) is not None
    assert opening_body(ChatLayout()) is None


def test_a_small_model_is_told_its_tools_when_it_has_to_call_one() -> None:
    request = _request(_message("user", "Hi"), tools=[_SEARCH], tool_choice="required")
    assert NotesLayout().turns(request, enveloped=True)[-1].content.startswith("Tools: search(query, limit)\nMemory:")


_TEXT = st.text(max_size=60)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["human", "persona", "x"]), _TEXT), max_size=3),
    st.lists(st.tuples(st.sampled_from(["user", "assistant", "summary"]), _TEXT), max_size=6),
    _TEXT,
)
def test_any_memory_and_any_talk_can_be_laid_out(
    blocks: list[tuple[str, str]], talk: list[tuple[Role, str]], question: str
) -> None:
    memory = tuple(MemoryView(label, value) for label, value in blocks)
    messages = [_message(role, text) for role, text in talk]
    asked = _asked(*messages, _message("user", question), memory=memory)
    assert question in asked
    for layout in (NotesLayout(), ChatLayout()):
        roles = [turn.role for turn in layout.turns(_request(*messages, memory=memory), enveloped=True)]
        assert roles[0] == "system"
        assert all(role != following for role, following in pairwise(roles))


@pytest.mark.parametrize(
    ("question", "about"),
    [
        ("What is my name?", {"user", "talk"}),
        ("I’m lost", {"user", "talk"}),
        ("Who are you?", {"self", "instructions", "talk"}),
        ("What did you tell me?", {"user", "self", "instructions", "talk"}),
        ("When is the concert?", {"user", "self", "instructions", "talk"}),
    ],
)
def test_pronouns_tell_whom_a_question_is_about(question: str, about: set[str]) -> None:
    assert perspective(question) == about


def test_notes_are_lines_and_sentences_without_bullets() -> None:
    texts = [note.text for note in notes_of("- One. Two!\n\n* Three\n • Four", "user", "User")]
    assert texts == ["One.", "Two!", "Three", "Four"]


def test_titles_and_initials_do_not_end_a_sentence() -> None:
    texts = [
        note.text for note in notes_of("I am Dr. Owl. Mrs. J. Hart lives in St. Ives. Ask Prof. Li!", "self", "You")
    ]
    assert texts == ["I am Dr. Owl.", "Mrs. J. Hart lives in St. Ives.", "Ask Prof. Li!"]


def test_near_notes_keep_their_order_and_their_number_is_bounded() -> None:
    notes = notes_of("A red car. A boat. A red bicycle. A red red car house.", "user", "User")
    assert [note.text for note in nearest("my red car", notes, 2)] == ["A red car.", "A red red car house."]
    assert nearest("my umbrella", notes, 2) == []


def test_a_larger_model_reads_the_compiled_prompt_and_the_whole_history() -> None:
    turns = ChatLayout().turns(
        _request(_message("user", "Hello"), _message("assistant", "Hi!"), _message("user", "Who am I?")),
        enveloped=False,
    )
    assert turns == [
        Turn("system", "You are Quill.\n<memory_blocks>…</memory_blocks>"),
        Turn("user", "Hello"),
        Turn("assistant", "Hi!"),
        Turn("user", "Who am I?"),
    ]


def test_a_larger_model_sees_its_calls_as_it_wrote_them_and_their_returns_as_what_comes_next() -> None:
    turns = ChatLayout().turns(
        _request(
            _message("user", "Search"),
            _message("assistant", "Gladly.", ToolCallPart("call-1", "search", '{"query": "tea"}')),
            _message("tool", ToolReturnPart("call-1", "search", "Nothing.", status="error")),
            _message("user", "And now?"),
            tools=[_SEARCH],
        ),
        enveloped=True,
    )
    assert '"name": "search"' in turns[0].content
    assert [(turn.role, turn.content) for turn in turns[1:]] == [
        ("user", "Search"),
        ("assistant", '{"reply": "Gladly."}\n\n{"call": "search", "arguments": {"query": "tea"}}'),
        ("user", "Result of search (error): Nothing.\n\nAnd now?"),
    ]


def test_what_the_user_sets_is_sent_and_what_they_do_not_is_the_layouts_choice() -> None:
    chosen = ModelSettings(provider_type="openai", temperature=0.7, max_output_tokens=12)
    sent = _sent(_request(_message("user", "Hi"), settings=chosen), NotesLayout())
    assert (sent["temperature"], sent["max_tokens"]) == (0.7, 12)
    unset = ModelSettings(provider_type="openai", parallel_tool_calls=True, strict=True)
    sent = _sent(_request(_message("user", "Hi"), settings=unset), NotesLayout())
    assert (sent["temperature"], sent["max_tokens"]) == (0.0, 256)
    assert _sent(_request(_message("user", "Hi")), NotesLayout())["temperature"] == 0.0
    assert "temperature" not in _sent(_request(_message("user", "Hi")), ChatLayout())


@pytest.mark.parametrize(
    "setting",
    [
        {"reasoning": {"reasoning_effort": "high"}},
        {"thinking": {"type": "enabled"}},
        {"verbosity": "low"},
        {"effort": "low"},
        {"response_schema": {}},
        {"thinking_config": {}},
        {"tool_call_parser": "x"},
    ],
)
def test_a_setting_without_meaning_here_is_refused_by_its_name(setting: dict[str, Any]) -> None:
    request = _request(_message("user", "Hi"), settings=ModelSettings(provider_type="openai", **setting))
    with pytest.raises(InvalidArgument, match=next(iter(setting))):
        make_body(request, NotesLayout())


def test_an_image_asked_about_is_refused_and_an_older_one_is_named_in_its_place() -> None:
    image = _message("user", "Look", ImagePart(UrlImage("https://example.org/a.png")))
    with pytest.raises(InvalidArgument, match="image"):
        make_body(_request(image), ChatLayout())
    sent = _sent(_request(image, _message("assistant", "I cannot."), _message("user", "Well")), ChatLayout())
    assert sent["messages"][1]["content"] == "Look\n(an image)"


def test_the_same_request_makes_the_same_bytes() -> None:
    request = _request(_message("user", "Hi"), tools=[_SEARCH])
    assert make_body(request, NotesLayout()).data == make_body(request, NotesLayout()).data


def test_a_small_model_calls_tools_once_a_message_and_then_replies() -> None:
    call, returned = ToolCallPart("call-1", "search", "{}"), ToolReturnPart("call-1", "search", "Nothing.")
    messages = (_message("user", "Search"), _message("assistant", call), _message("tool", returned))

    def grammar(layout: Layout, tool_choice: str = "auto") -> str:
        return _sent(_request(*messages, tools=[_SEARCH], tool_choice=tool_choice), layout)["grammar"]

    assert '"call"' not in grammar(NotesLayout())
    assert '"call"' in grammar(NotesLayout(), "required")
    assert '"call"' in grammar(ChatLayout())


def test_the_estimate_of_tokens_covers_prompt_and_reply() -> None:
    settings = ModelSettings(provider_type="openai", max_output_tokens=100)
    body = make_body(_request(_message("user", "x" * 1000), settings=settings, system=""), ChatLayout())
    assert 600 <= body.tokens <= 700
