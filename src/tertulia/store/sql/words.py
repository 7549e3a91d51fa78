"""Full-text search over messages with Postgres's text search, finding what SQLite's FTS5 finds.

Postgres's own reading of a text keeps addresses, paths and hyphenated words together and takes accents for letters. So
texts are reduced to bare words here, and Postgres is only told to count them.
"""

import re
import unicodedata
from typing import Any, Final

import sqlalchemy as sa

from tertulia.ports.queries import SearchQuery
from tertulia.store.sql.filters import narrowed
from tertulia.store.sql.session import Session
from tertulia.store.sql.tables import messages

_BETWEEN_WORDS: Final = re.compile(r"[\W_]+")
_ACCENTS: Final = re.compile("[\u0300-\u036f]+")
_MOST_BYTES: Final = 400_000
"""How much of a text is searched: with its places, this fills the megabyte that Postgres takes for one text."""
_LONGEST_WORD: Final = 2046
"""Longer ones Postgres does not index. Bytes."""


def bare_words(text: str) -> str:
    """The words in small letters without accents, a space between."""
    if not text.isascii():
        text = _ACCENTS.sub("", unicodedata.normalize("NFD", text.lower()))
    words = _BETWEEN_WORDS.sub(" ", text.lower()).strip()
    if len(words) * 4 > _MOST_BYTES:
        words = words.encode()[:_MOST_BYTES].decode(errors="ignore")
    return words


def search(session: Session, query: SearchQuery) -> list[str]:
    """The bodies that match, newest first."""
    pattern = _pattern(query.text)
    if pattern is None:
        return []
    wanted = sa.func.to_tsquery(sa.literal_column("'simple'"), pattern)
    words: sa.ColumnElement[Any] = sa.literal_column("messages.words")
    return session.first_column(narrowed(sa.select(messages.c.body).where(words.op("@@")(wanted)), query))


def _pattern(text: str) -> str | None:
    """All words in any order; what was written as one, such as ``f-o'x``, as a phrase. None if nothing can match."""
    phrases = [phrase for written in text.split() if (phrase := bare_words(written))]
    if not phrases or any(len(word.encode()) > _LONGEST_WORD for phrase in phrases for word in phrase.split()):
        return None
    return " & ".join(f"'{phrase}'" for phrase in phrases)
