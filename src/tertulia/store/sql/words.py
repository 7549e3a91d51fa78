"""The words of a text as search knows them, the same for every database: both keep what is said here and nothing else.

Writing without spaces (Chinese, Japanese, Korean with its particles, Thai, …) has no words that could be told without a
dictionary. There every two neighbouring characters are a term of the index, and the last one is a term by itself, so
that one character is found as the beginning of a term. What a term cannot say, that characters and words follow each
other as they were written, is looked at in what the index finds.
"""

import re
import unicodedata
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

_MOST_CHARACTERS: Final = 400_000
_MOST_OTHERS: Final = 150_000
"""How much of a text is searched, in ASCII and in any other script: what takes 20 milliseconds."""
_MOST_TERM_BYTES: Final = 400_000
"""How much of a text is kept in the index; Postgres takes a megabyte of it."""
_LONGEST_TERM: Final = 64
"""Characters; of longer words the beginning is kept. Postgres takes 2,046 bytes."""
_MOST_TERMS_ASKED: Final = 64
"""Of longer queries the index is asked for so many; all the rest is looked at in what it finds."""

_UNSPACED: Final = (
    "\u0e01-\u0e3a\u0e40-\u0e4e\u0e80-\u0ecf\u0edc-\u0eff"  # Thai, Lao
    "\u1000-\u103f\u104c-\u109f\ua9e0-\ua9ff\uaa60-\uaa7f"  # Burmese
    "\u1780-\u17d3\u17dc\u17dd\u1950-\u19df\u1a20-\u1aad\ua980-\ua9c0"  # Khmer, Tai, Javanese
    "\u1100-\u11ff\ua960-\ua97f\uac00-\ud7ff"  # Korean
    "\u2e80-\u2fdf\u3005-\u3007\u3021-\u302f\u3031-\u303c\u3041-\u309f\u30a1-\u30fa\u30fc-\u318f\u31a0-\u31ff"
    "\u3400-\u4dbf\u4e00-\ua4cf\uf900-\ufaff\U00016fe0-\U00018d8f\U0001aff0-\U0001b2ff\U00020000-\U0003ffff"
)
_EMOJI: Final = "\u2600-\u27bf\u2b00-\u2bff\U0001f000-\U0001faff"
# Signs that are part of a word and no letters to Python. The blocks of India's scripts have them at the same places.
_SIGNS: Final = "\u0903\u0f39\u0f3e\u0f3f\u0f71-\u0f84\u0f8d-\u0fbc" + "".join(
    f"{chr(block)}-{chr(block + 3)}{chr(block + 0x3A)}-{chr(block + 0x4F)}"
    f"{chr(block + 0x51)}-{chr(block + 0x57)}{chr(block + 0x62)}{chr(block + 0x63)}"
    for block in range(0x900, 0xE00, 0x80)
)
_MARKS: Final = re.compile(
    "[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff"  # accents
    "\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7"  # Hebrew points
    "\u0610-\u061a\u0640\u064b-\u065f\u0670\u06d6-\u06dc\u06df-\u06e4\u06e7\u06e8\u06ea-\u06ed"  # Arabic vowels
    "\u00ad\u180b-\u180f\u200b\u200d-\u200f\u202a-\u202e\u2060-\u2069\ufe00-\ufe0f\ufeff"  # nothing to be seen
    "\U0001f3fb-\U0001f3ff\U000e0000-\U000e0fff]+"  # shades and variants
)
_RUNS: Final = re.compile(f"[{_UNSPACED}]+|(?:(?![{_UNSPACED}])[^\\W_]|[{_SIGNS}])+|[{_EMOJI}]")
_PLAIN_RUNS: Final = re.compile("[a-z0-9]+")
_IS_UNSPACED: Final = re.compile(f"[{_UNSPACED}]")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a query asks for: ``terms`` of the index and ``beginnings`` of terms, and what was written as one.

    ``phrases`` are as in :func:`as_read`. Those that are ``exact`` are found by their terms alone.
    """

    terms: tuple[str, ...]
    beginnings: tuple[str, ...]
    phrases: tuple[str, ...]
    exact: bool

    def is_in(self, read: str) -> bool:
        return all(phrase in read for phrase in self.phrases)


def index_terms(text: str) -> str:
    """The terms of a text, each once, a space between."""
    found: dict[str, None] = {}
    for run in _runs(text):
        if _is_unspaced(run):
            found.update(dict.fromkeys(map("".join, pairwise(run))))
            found[run[-1]] = None
        else:
            found[run[:_LONGEST_TERM]] = None
    terms = " ".join(found)
    if len(terms) * 4 > _MOST_TERM_BYTES:
        cut = terms.encode()
        if len(cut) > _MOST_TERM_BYTES:
            terms = cut[:_MOST_TERM_BYTES].rpartition(b" ")[0].decode()
    return terms


def as_read(text: str) -> str:
    """The words and single characters of a text in their order, each with a space before and after it."""
    return _wrap(_runs(text))


def wanted(query: str) -> Wanted | None:
    """All words of a query in any order; what was written as one, such as ``f-o'x``, one after the other.

    None if there is nothing in it that could be found.
    """
    terms: dict[str, None] = {}
    beginnings: dict[str, None] = {}
    phrases: dict[str, None] = {}
    exact = True
    for written in query[:_MOST_CHARACTERS].split():
        runs = _runs(written)
        for run in runs:
            if not _is_unspaced(run):
                terms[run[:_LONGEST_TERM]] = None
            elif len(run) == 1:
                beginnings[run] = None
            else:
                terms.update(dict.fromkeys(map("".join, pairwise(run))))
        if runs:
            phrases[_wrap(runs)] = None
            exact &= len(runs) == 1 and len(runs[0]) < (3 if _is_unspaced(runs[0]) else _LONGEST_TERM)
    if not phrases:
        return None
    asked = tuple(terms)[:_MOST_TERMS_ASKED]
    begun = tuple(beginnings)[: _MOST_TERMS_ASKED - len(asked)]
    exact &= len(asked) + len(begun) == len(terms) + len(beginnings)
    return Wanted(asked, begun, tuple(phrases), exact)


def _runs(text: str) -> list[str]:
    """Words, stretches of writing without spaces, and emoji; in small letters, without accents, in one form."""
    if text.isascii():
        return _PLAIN_RUNS.findall(text[:_MOST_CHARACTERS].lower())
    # Small letters first in full: what is one letter in one form may be two in another.
    same = unicodedata.normalize("NFKC", text[:_MOST_OTHERS]).casefold()
    bare = _MARKS.sub("", unicodedata.normalize("NFKD", same))
    return _RUNS.findall(unicodedata.normalize("NFC", bare)[:_MOST_OTHERS])


def _is_unspaced(run: str) -> bool:
    return not run.isascii() and _IS_UNSPACED.match(run) is not None


def _wrap(runs: list[str]) -> str:
    return "".join(f" {'  '.join(run) if _is_unspaced(run) else run} " for run in runs)
