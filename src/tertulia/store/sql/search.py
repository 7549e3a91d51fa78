"""Full-text search over messages: SQLite's FTS5 index (Postgres will have its own statement here)."""

from typing import Any

import sqlalchemy as sa

from tertulia.ports.store import SearchQuery
from tertulia.store.sql.tables import messages, segments

_index = sa.table("messages_fts", sa.column("rowid", sa.Integer), sa.column("messages_fts"), sa.column("rank"))


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
