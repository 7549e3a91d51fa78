"""Full-text search over messages: SQLite's FTS5 and Postgres's ``tsvector`` find terms, ``words`` says which.

On SQLite, adding a message to the index in its own transaction would double what the transaction costs, so the index
follows: it holds the messages up to ``search_index.upto``, and is brought up to date in batches and before each search.
On Postgres a message's terms are written with it; those of messages from before the terms were these follow.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import TSQUERY

from tertulia.domain.messages import Message
from tertulia.ports.queries import SearchQuery
from tertulia.store.sql.filters import CANDIDATES, narrow
from tertulia.store.sql.session import Session
from tertulia.store.sql.sqlite_session import SqliteSession
from tertulia.store.sql.tables import messages
from tertulia.store.sql.words import Wanted, as_read, index_terms, wanted

_index: Final = sa.table("messages_fts", sa.column("rowid", sa.Integer), sa.column("messages_fts"))

VECTOR: Final = "array_to_tsvector(string_to_array({}, ' '))"
"""What makes terms with spaces between a ``tsvector`` of Postgres's, which reads nothing into them."""
_BACKLOG: Final = """
    SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'messages'), 0) - upto FROM search_index
"""
_SIZES: Final = """
    SELECT seq, length(text) FROM messages WHERE seq > (SELECT upto FROM search_index) ORDER BY seq LIMIT ?
"""
_TEXTS: Final = """
    SELECT seq, text FROM messages WHERE seq > (SELECT upto FROM search_index) AND seq <= ? AND text <> ''
"""
_ADD: Final = "INSERT INTO messages_fts (rowid, text) VALUES (?, ?)"
_AT_ONCE: Final = 100
"""How many messages are added to the index at once, while writes wait."""
_MOST_AT_ONCE: Final = 50_000
"""Characters that are added to the index at once, or one message: some ten milliseconds."""
_MOST_READ: Final = 2_000_000
"""Characters of messages that one search reads to say which of them are the best."""
_MOST_LOOKS: Final = 5
"""How often more is fetched when what the index found has the terms, but not as they were written."""


_decode: Final = msgspec.json.Decoder(Message).decode


@dataclass(frozen=True, slots=True)
class Found:
    """A message that matches, and its text as :func:`~tertulia.store.sql.words.as_read` gives it."""

    message: Message
    read: str


class SearchIndexBehind(Exception):
    """A search on a connection that cannot write met messages that are not in the index yet."""


def backlog(session: SqliteSession) -> int:
    """How many messages are not in the index yet; some of them may be gone."""
    return session.row(_BACKLOG)[0]


def index_some(session: SqliteSession) -> int:
    """Add some of the messages that are not in the index yet, the oldest first; up to which it then is complete."""
    upto: int = session.row("SELECT upto FROM search_index")[0]
    behind = backlog(session)
    sizes = session.rows(_SIZES, _AT_ONCE)
    # Beyond the last of few there are only numbers of messages that are gone.
    end, size = (upto + behind if len(sizes) < _AT_ONCE else sizes[-1][0]), 0
    for before, next_ in pairwise([(upto, 0), *sizes]):
        size += next_[1]
        if size > _MOST_AT_ONCE and before[0] > upto:
            end = before[0]
            break
    if end > upto:
        session.run_many(_ADD, [(seq, index_terms(text)) for seq, text in session.rows(_TEXTS, end)])
        session.run("UPDATE search_index SET upto = ?", end)
    return end


def search(session: Session, query: SearchQuery) -> list[Found]:
    """What matches, newest first: at most as many as are compared (``CANDIDATES``), or asked for.

    :raises SearchIndexBehind: if the index is not complete and this connection cannot complete it.
    """
    asked = wanted(query.text)
    if asked is None:
        return []
    if isinstance(session, SqliteSession):
        _complete(session)
        return _matching(session, _in_fts(asked), asked, query)
    return _matching(session, _in_vectors(asked), asked, query)


def _complete(session: SqliteSession) -> None:
    if not session.may_lag and backlog(session):
        if session.read_only:
            raise SearchIndexBehind
        while backlog(session):
            index_some(session)


def _in_fts(asked: Wanted) -> sa.Select[Any, Any]:
    """Each term is an FTS5 string, in which nothing is syntax; all of them must match."""
    pattern = " ".join([*(f'"{term}"' for term in asked.terms), *(f'"{term}" *' for term in asked.beginnings)])
    statement = sa.select(messages.c.seq, messages.c.body)
    return statement.join_from(_index, messages, messages.c.seq == _index.c.rowid).where(
        _index.c.messages_fts.op("MATCH")(pattern)
    )


def _in_vectors(asked: Wanted) -> sa.Select[Any, Any]:
    """Terms have neither quotes nor backslashes in them, so nothing here is syntax either."""
    pattern = " & ".join([*(f"'{term}'" for term in asked.terms), *(f"'{term}':*" for term in asked.beginnings)])
    words: sa.ColumnElement[Any] = sa.literal_column("messages.words")
    statement = sa.select(messages.c.seq, messages.c.body)
    return statement.where(words.op("@@")(sa.cast(pattern, TSQUERY)))


def _matching(session: Session, statement: sa.Select[Any, Any], asked: Wanted, query: SearchQuery) -> list[Found]:
    """Of what has all the terms, what has them as they were written."""
    found: list[Found] = []
    most, older_than, size = max(query.limit, CANDIDATES), None, 0
    for _ in range(1 if asked.exact else _MOST_LOOKS):
        rows = session.select(narrow(statement, query, older_than))
        for _, body in rows:
            message = _decode(body)
            size += len(message.text)
            read = as_read(message.text) if size <= _MOST_READ or not asked.exact else ""
            if asked.exact or asked.is_in(read):
                found.append(Found(message, read))
        if len(found) >= most or len(rows) < most or size > _MOST_READ:
            break
        older_than = rows[-1][0]
    return found[:most]
