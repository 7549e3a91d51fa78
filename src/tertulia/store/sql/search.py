"""Full-text search over messages: SQLite's FTS5 index (Postgres will have its own statements here).

Adding a message to the index in its own transaction would double what the transaction costs, so the index follows: it
holds the messages up to ``search_index.upto``, and is brought up to date in batches and before each search.
"""

from typing import Any, Final

import sqlalchemy as sa

from tertulia.ports.store import SearchQuery
from tertulia.store.sql.session import Session
from tertulia.store.sql.tables import messages, segments

_index: Final = sa.table("messages_fts", sa.column("rowid", sa.Integer), sa.column("messages_fts"), sa.column("rank"))

_BACKLOG: Final = """
    SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'messages'), 0) - upto FROM search_index
"""
_ADD: Final = """
    INSERT INTO messages_fts (rowid, text)
    SELECT seq, text FROM messages WHERE seq > (SELECT upto FROM search_index) AND seq <= ? AND text <> ''
"""


class SearchIndexBehind(Exception):
    """A search on a connection that cannot write met messages that are not in the index yet."""


def backlog(session: Session) -> int:
    """How many messages are not in the index yet; some of them may be gone."""
    return session.row(_BACKLOG)[0]


def index_messages(session: Session, limit: int | None = None) -> None:
    """Add the messages that are not in the index yet, or the oldest ``limit`` of them."""
    behind = backlog(session)
    added = behind if limit is None else min(limit, behind)
    if added:
        upto = session.row("SELECT upto FROM search_index")[0] + added
        session.run(_ADD, upto)
        session.run("UPDATE search_index SET upto = ?", upto)


def matches(query: SearchQuery) -> sa.Select[Any] | None:
    """The bodies that match, best first and newest among equals; None when the text has no word in it."""
    pattern = phrases(query.text)
    if not pattern:
        return None
    statement = (
        sa.select(messages.c.body)
        .join_from(_index, messages, messages.c.seq == _index.c.rowid)
        .where(_index.c.messages_fts.op("MATCH")(pattern))
        .order_by(_index.c.rank, messages.c.seq.desc())
        .limit(query.limit)
    )
    if query.agent_id is not None:
        statement = statement.where(messages.c.agent_id == query.agent_id)
    if query.conversation_id is not None:
        statement = statement.where(_of_conversation(query.conversation_id))
    if query.roles:
        statement = statement.where(messages.c.role.in_(query.roles))
    if query.start is not None:
        statement = statement.where(messages.c.created_at >= query.start)
    if query.end is not None:
        statement = statement.where(messages.c.created_at <= query.end)
    return statement


def phrases(text: str) -> str:
    """The words as FTS5 strings, in which nothing is syntax; all of them must match."""
    words = text.replace("\0", " ").replace('"', " ").split()
    return " ".join(f'"{word}"' for word in words if any(map(str.isalnum, word)))


def _of_conversation(conversation_id: str) -> sa.ColumnElement[bool]:
    return sa.exists().where(
        segments.c.conversation_id == conversation_id,
        segments.c.log_id == messages.c.log_id,
        segments.c.lo <= messages.c.position,
        segments.c.hi.is_(None) | (segments.c.hi > messages.c.position),
    )
