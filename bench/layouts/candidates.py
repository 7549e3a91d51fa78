"""The layouts that were tried: the one in use, and those it was chosen over."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from tertulia.ports.provider import ModelRequest
from tertulia.providers.local.layouts import ChatLayout, Layout, Turn, plain_text, reply_object
from tertulia.providers.local.notes import nearest, notes_of, perspective
from tertulia.providers.local.notes_layout import EXAMPLES, NotesLayout, asked

_SYSTEM: Final = "You answer questions from memory."

Answers: TypeAlias = Callable[[str], str]
"""How the answers of examples are shown: as they are, or as the JSON object that replies have to be."""


@dataclass(frozen=True, slots=True)
class Tried:
    """A layout made of one function of the request; with the sampling of the one in use."""

    build: Callable[[ModelRequest, Answers], list[Turn]]
    temperature: float | None = 0.0
    max_tokens: int | None = 256
    repeat_penalty: float | None = 1.05
    calls_again: bool = False
    always_enveloped: bool = False

    def opening(self) -> list[Turn]:
        return []

    def turns(self, request: ModelRequest, *, enveloped: bool) -> list[Turn]:
        return self.build(request, reply_object if enveloped else str)


def _block(request: ModelRequest, label: str) -> str:
    return next(block.value for block in request.memory if block.label == label)


def _question(request: ModelRequest) -> str:
    return plain_text(request.messages[-1])


def _history(request: ModelRequest) -> list[Turn]:
    return [
        Turn("assistant" if message.role == "assistant" else "user", plain_text(message))
        for message in request.messages[:-1]
    ]


def _blocks_in_system(request: ModelRequest, _shown: Answers) -> list[Turn]:
    system = f"{_block(request, 'persona')}\n\nAbout the user:\n{_block(request, 'human')}"
    return [Turn("system", system), *_history(request), Turn("user", _question(request))]


def _blocks_in_question(request: ModelRequest, _shown: Answers) -> list[Turn]:
    question = f"Facts about me:\n{_block(request, 'human')}\n\n{_question(request)}"
    return [Turn("system", _block(request, "persona")), *_history(request), Turn("user", question)]


def _context_question_answer(request: ModelRequest, _shown: Answers) -> list[Turn]:
    context = f"Assistant: {_block(request, 'persona')}\nUser: {_block(request, 'human')}"
    question = f"Context:\n{context}\n\nQuestion: {_question(request)}\nAnswer:"
    return [Turn("system", "Answer the question using the context."), *_history(request), Turn("user", question)]


def _labelled(request: ModelRequest, *, by_perspective: bool, most: int | None) -> list[str]:
    notes = [
        *notes_of(_block(request, "human"), "user", "User"),
        *notes_of(_block(request, "persona"), "self", "You"),
    ]
    if by_perspective:
        notes = [note for note in notes if note.about in perspective(_question(request))]
    if most is not None:
        notes = nearest(_question(request), notes, most) or notes[:1]
    return [str(note) for note in notes]


def _examples(shown: Answers, count: int) -> list[Turn]:
    turns: list[Turn] = []
    for memory, question, answer in EXAMPLES[:count]:
        turns.append(Turn("user", asked([memory], question)))
        turns.append(Turn("assistant", shown(answer)))
    return turns


def _notes(*, examples: int, by_perspective: bool, most: int | None, history: bool = False) -> Tried:
    def build(request: ModelRequest, shown: Answers) -> list[Turn]:
        memory = _labelled(request, by_perspective=by_perspective, most=most)
        return [
            Turn("system", _SYSTEM),
            *_examples(shown, examples),
            *(_history(request) if history else ()),
            Turn("user", asked(memory, _question(request))),
        ]

    return Tried(build)


IN_USE: Final = "3 nearest notes, 5 examples, history as notes (in use)"
CANDIDATES: Final[dict[str, Layout]] = {
    "the compiled prompt as system": ChatLayout(temperature=0.0, max_tokens=256, repeat_penalty=1.05),
    "blocks alone as system": Tried(_blocks_in_system),
    "persona as system, human before the question": Tried(_blocks_in_question),
    "context, question, answer": Tried(_context_question_answer),
    "all notes, no examples": _notes(examples=0, by_perspective=False, most=None),
    "all notes, 5 examples": _notes(examples=5, by_perspective=False, most=None),
    "notes by perspective, no examples": _notes(examples=0, by_perspective=True, most=None),
    "notes by perspective, 2 examples": _notes(examples=2, by_perspective=True, most=None),
    "notes by perspective, 5 examples": _notes(examples=5, by_perspective=True, most=None),
    "nearest note, 5 examples": _notes(examples=5, by_perspective=True, most=1),
    "3 nearest notes, no examples": _notes(examples=0, by_perspective=True, most=3),
    "3 nearest notes, 5 examples, history as turns": _notes(examples=5, by_perspective=True, most=3, history=True),
    IN_USE: NotesLayout(),
    "the same at temperature 0.5": NotesLayout(temperature=0.5),
    "the same at temperature 1.0": NotesLayout(temperature=1.0),
    "the same without a repeat penalty": NotesLayout(repeat_penalty=None),
    "the same with a repeat penalty of 1.2": NotesLayout(repeat_penalty=1.2),
}

WITH_TOOLS: Final = (
    "the compiled prompt as system",
    "blocks alone as system",
    "all notes, no examples",
    "all notes, 5 examples",
    "notes by perspective, 5 examples",
    IN_USE,
)
"""What is also tried as a reply-or-call object. Forcing a form costs a small model most where no example shows it."""
