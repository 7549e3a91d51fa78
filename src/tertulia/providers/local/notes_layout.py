"""The layout for small models: a few notes near the question, after examples of how such notes are answered from.

A model of 135 million parameters answers 15 of 48 questions about its memory when it is given the compiled prompt, and
45 like this (bench/layouts). What decides it: the notes say whose they are, the question's perspective ("my", "your")
chooses among them, and the examples show the very form. What was said before comes as notes too: as turns between the
examples and the question it costs a sixth of the right answers, and is itself hardly ever remembered.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from msgspec.structs import replace

from tertulia.domain.messages import Message
from tertulia.domain.tools import ToolSpec
from tertulia.ports.provider import MemoryView, ModelRequest
from tertulia.providers.local.layouts import Turn, plain_text, reply_object, returned
from tertulia.providers.local.notes import Note, firsts, nearest, notes_of, perspective

_SYSTEM: Final = "You answer questions from memory."
_MOST_NOTES: Final = 3
_MOST_TOLD: Final = 2
_LONGEST_RETURN: Final = 2000  # characters
_LONGEST_SAYING: Final = 200  # characters

EXAMPLES: Final = (
    ("User: Hugo\nUser: Sport: tennis", "Hello!", "Hello Hugo! How can I help you?"),
    ("You: I am Otto.\nYou: A friendly helper.", "Who are you?", "I am Otto, a friendly helper."),
    (
        "User: The user's name is Clara.\nUser: She is a nurse.\nUser: She lives in Rome.",
        "What is my name?",
        "Your name is Clara.",
    ),
    (
        "User: The user's name is Clara.\nUser: She is a nurse.\nUser: She lives in Rome.",
        "Where do I live?",
        "You live in Rome.",
    ),
    (
        "User: Hugo\nUser: Age: 52\nUser: Pet: a parrot named Kiwi\nUser: Sport: tennis",
        "What is my pet called?",
        "Your parrot is called Kiwi.",
    ),
)


@dataclass(frozen=True, slots=True)
class NotesLayout:
    """Greedy, because every step away from the likeliest word loses right answers.

    The least penalty on repeating ends the rounds that such models go in, and costs no answer; 1.2 would cost a third.
    """

    temperature: float | None = 0.0
    max_tokens: int | None = 256
    repeat_penalty: float | None = 1.05
    calls_again: bool = False
    always_enveloped: bool = True

    def opening(self) -> list[Turn]:
        """The same for every request, so that the model has to read it only once."""
        turns = [Turn("system", _SYSTEM)]
        for memory, question, answer in EXAMPLES:
            turns.append(Turn("user", asked([memory], question)))
            turns.append(Turn("assistant", reply_object(answer)))
        return turns

    def turns(self, request: ModelRequest, *, enveloped: bool) -> list[Turn]:
        past, question, results = _parted(request.messages)
        notes = [str(note) for note in _notes(request, past, question)]
        text = asked([*notes, *results], question)
        if enveloped and request.tools and request.tool_choice not in {"auto", "none"}:
            text = f"Tools: {_signatures(request.tools)}\n{text}"
        return [*self.opening(), Turn("user", text)]


def asked(notes: Sequence[str], question: str) -> str:
    memory = "\n".join(notes)
    return f"Memory:\n{memory}\n\nQuestion: {question}"


def _signatures(tools: Sequence[ToolSpec]) -> str:
    return ", ".join(
        f"{tool.name}({', '.join(cast('dict[str, Any]', tool.parameters.get('properties') or {}))})" for tool in tools
    )


def _parted(messages: Sequence[Message]) -> tuple[list[Message], str, list[str]]:
    """What was said before, the question that is open, and what tools have returned since it was asked."""
    last = next((at for at in range(len(messages) - 1, -1, -1) if messages[at].role == "user"), None)
    if last is None:
        return list(messages), "", []
    first = last
    while first > 0 and messages[first - 1].role == "user":
        first -= 1
    question = "\n".join(plain_text(message) for message in messages[first : last + 1])
    results = [
        f"Tool {part.name}: {returned(part)[:_LONGEST_RETURN]}"
        for message in messages[last + 1 :]
        for part in message.tool_returns
    ]
    return list(messages[:first]), question, results


def _notes(request: ModelRequest, past: Sequence[Message], question: str) -> list[Note]:
    about = perspective(question)
    # What is known of others comes before the agent itself, or it greets the user by its own name.
    blocks = sorted(request.memory, key=lambda block: block.label == "persona")
    remembered = [note for block in blocks for note in _notes_of_block(block)]
    candidates = [*remembered, *notes_of(request.instructions, "instructions", "You"), *_statements(past)]
    in_view = [note for note in candidates if note.about in about]
    found = nearest(question, in_view, _MOST_NOTES)
    if found:
        return found
    opening = firsts(note for note in remembered if note.about in about) or firsts(remembered)
    return [*opening, *_last_said(past)]


def _notes_of_block(block: MemoryView) -> list[Note]:
    if block.label == "persona":
        return notes_of(block.value, "self", "You")
    return notes_of(
        block.value, "user", "User" if block.label == "human" else block.label.replace("_", " ").capitalize()
    )


def _statements(past: Sequence[Message]) -> list[Note]:
    """What the user has told in this conversation, and what was summed up of it. Questions tell nothing."""
    told = (message for message in past if message.role in {"user", "summary"})
    return [
        Note("talk", "User" if message.role == "user" else "Earlier", note.text)
        for message in told
        for note in notes_of(_told(message), "talk", "User")
        if not note.text.endswith("?")
    ]


def _told(message: Message) -> str:
    """The text; of a summary without the part before it, which says that it is one."""
    return plain_text(replace(message, content=message.content[-1:]) if message.role == "summary" else message)


def _last_said(past: Sequence[Message]) -> list[Note]:
    """For questions that go on from what was just said, or name it in other words."""
    replies = [text for message in past if message.role == "assistant" and (text := plain_text(message))]
    told = _statements(past)[-_MOST_TOLD:]
    return [*told, *(Note("talk", "Earlier you said", reply[:_LONGEST_SAYING]) for reply in replies[-1:])]
