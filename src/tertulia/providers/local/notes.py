"""Notes: single facts out of memory and talk, and which of them lie near a question.

For models that lose their way in a page of text. Words are compared by their stems and a short list of neighbours,
in English, which is what models of that size speak.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

About: TypeAlias = Literal["user", "self", "talk", "instructions"]

_WORD: Final = re.compile(r"[^\W_]+(?:'[a-z]+)?")
_TITLES_AND_INITIALS: Final = r"(?<!\b[A-Z]\.)(?<!\b[DMS][rst]\.)(?<!\bMrs\.)(?<!\bProf\.)"
_SENTENCE_END: Final = re.compile(rf"(?<=[.!?]){_TITLES_AND_INITIALS}\s+")
_BULLET: Final = re.compile(r"^[-*•]+\s*")
_ENDINGS: Final = ("'s", "ing", "ies", "es", "s", "e", "ed")
_SHORTEST_STEM: Final = 3
_LONGEST_NOTE: Final = 300  # characters

_EMPTY_WORDS: Final = frozenset(
    {"what", "is", "the", "a", "an", "of", "do", "to", "in", "for", "which", "who", "it", "called", "name's", "does"}
    | {"did", "was", "were", "have", "has", "and", "or", "be", "how", "when", "where", "with", "should", "can", "s"}
    | {"am", "are", "i", "me", "my", "you", "your"},
)
_FIRST_PERSON: Final = frozenset({"i", "my", "me", "mine", "i'm", "i've", "i'd", "i'll", "myself"})
_SECOND_PERSON: Final = frozenset({"you", "your", "yours", "yourself", "you're"})

# Stems that mean the same to a question: "What do I do for a living?" is answered by "Job: violin maker".
_NEIGHBOURS: Final[tuple[frozenset[str], ...]] = tuple(
    frozenset(group.split())
    for group in (
        "job work liv profession occupation career teach run role",
        "live liv home city town hous reside",
        "old age year",
        "name call who",
        "colour color",
        "car driv drive",
        "bicycl bik",
        "birthday born",
        "food eat allergic diet",
        "languag learn",
    )
)
_WHOLE_WORD: Final = 3
_NEIGHBOUR: Final = 1


@dataclass(frozen=True, slots=True)
class Note:
    """One fact. ``speaker`` is what is put before it so that the model sees whose fact it is."""

    about: About
    speaker: str
    text: str

    def __str__(self) -> str:
        return f"{self.speaker}: {self.text}"


def notes_of(text: str, about: About, speaker: str) -> list[Note]:
    """The lines and sentences of a text as notes, in its order."""
    lines = (_BULLET.sub("", line.strip()) for line in text.splitlines())
    facts = (fact.strip() for line in lines for fact in _SENTENCE_END.split(line))
    return [Note(about, speaker, fact[:_LONGEST_NOTE]) for fact in facts if fact]


def nearest(question: str, notes: Sequence[Note], most: int) -> list[Note]:
    """The notes that share words with the question, at most so many, in their own order; often none."""
    asked = stems(question)
    around = _with_neighbours(asked)
    scored = [(_score(stems(note.text), asked, around), -at) for at, note in enumerate(notes)]
    best = sorted((pair for pair in scored if pair[0] > 0), reverse=True)[:most]
    return [notes[-at] for _, at in sorted(best, key=lambda pair: -pair[1])]


def perspective(question: str) -> frozenset[About]:
    """Whom a question is about: "my" asks about the user, "your" about the agent, anything else about either."""
    words = {word.lower() for word in _WORD.findall(question.replace("’", "'"))}
    me, you = bool(words & _FIRST_PERSON), bool(words & _SECOND_PERSON)
    if me and not you:
        return frozenset({"user", "talk"})
    if you and not me:
        return frozenset({"self", "instructions", "talk"})
    return frozenset({"user", "self", "instructions", "talk"})


def firsts(notes: Iterable[Note]) -> list[Note]:
    """The first note of each speaker, which is where people write names."""
    found: dict[str, Note] = {}
    for note in notes:
        found.setdefault(note.speaker, note)
    return list(found.values())


def stems(text: str) -> frozenset[str]:
    words = (word.lower() for word in _WORD.findall(text.replace("’", "'")))
    return frozenset(_stem(word) for word in words if word not in _EMPTY_WORDS)


def _stem(word: str) -> str:
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= _SHORTEST_STEM:
            return word.removesuffix(ending)
    return word


def _with_neighbours(words: frozenset[str]) -> frozenset[str]:
    return words.union(*(group for group in _NEIGHBOURS if group & words))


def _score(words: frozenset[str], asked: frozenset[str], around: frozenset[str]) -> int:
    return _WHOLE_WORD * len(words & asked) + _NEIGHBOUR * len(words & (around - asked))
