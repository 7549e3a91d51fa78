"""Full-text search over messages with SQLite's FTS5 index; ``words`` has that of Postgres.

Adding a message to the index in its own transaction would double what the transaction costs, so the index follows: it
holds the messages up to ``search_index.upto``, and is brought up to date in batches and before each search.
"""

from typing import Final

import sqlalchemy as sa

from tertulia.ports.queries import SearchQuery
from tertulia.store.sql.filters import narrowed
from tertulia.store.sql.sqlite_session import SqliteSession
from tertulia.store.sql.tables import messages

_index: Final = sa.table("messages_fts", sa.column("rowid", sa.Integer), sa.column("messages_fts"))

_BACKLOG: Final = """
    SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'messages'), 0) - upto FROM search_index
"""
_ADD: Final = """
    INSERT INTO messages_fts (rowid, text)
    SELECT seq, text FROM messages WHERE seq > (SELECT upto FROM search_index) AND seq <= ? AND text <> ''
"""


class SearchIndexBehind(Exception):
    """A search on a connection that cannot write met messages that are not in the index yet."""


def backlog(session: SqliteSession) -> int:
    """How many messages are not in the index yet; some of them may be gone."""
    return session.row(_BACKLOG)[0]


def index_messages(session: SqliteSession, limit: int | None = None) -> None:
    """Add the messages that are not in the index yet, or the oldest ``limit`` of them."""
    behind = backlog(session)
    added = behind if limit is None else min(limit, behind)
    if added:
        upto = session.row("SELECT upto FROM search_index")[0] + added
        session.run(_ADD, upto)
        session.run("UPDATE search_index SET upto = ?", upto)


def search(session: SqliteSession, query: SearchQuery) -> list[str]:
    """The bodies that match, newest first.

    :raises SearchIndexBehind: if the index is not complete and this connection cannot complete it.
    """
    pattern = phrases(query.text)
    if not pattern:
        return []
    if not session.may_lag and backlog(session):
        if session.read_only:
            raise SearchIndexBehind
        index_messages(session)
    statement = (
        sa.select(messages.c.body)
        .join_from(_index, messages, messages.c.seq == _index.c.rowid)
        .where(_index.c.messages_fts.op("MATCH")(pattern))
    )
    return session.first_column(narrowed(statement, query))


def phrases(text: str) -> str:
    """The words as FTS5 strings, in which nothing is syntax; all of them must match."""
    words = text.replace("\0", " ").replace('"', " ").split()
    return " ".join(f'"{word}"' for word in words if any(map(str.isalnum, word)))
