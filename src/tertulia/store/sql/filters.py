"""What a search is limited to beside its words."""

from typing import Any, Final

import sqlalchemy as sa

from tertulia.ports.queries import SearchQuery
from tertulia.store.sql.tables import messages, of_living_agent, segments

CANDIDATES: Final = 200
"""How many of the newest messages with the words are compared, or as many as are asked for."""


def narrow(statement: sa.Select[Any, Any], query: SearchQuery, older_than: int | None) -> sa.Select[Any, Any]:
    """The statement over messages, newest first, with the rest of what the query asks for."""
    if older_than is not None:
        statement = statement.where((messages.c.seq + 0) < older_than)
    if query.agent_id is None:
        statement = statement.where(of_living_agent(messages.c.agent_id))
    else:
        statement = statement.where(messages.c.agent_id == query.agent_id)
    if query.conversation_id is not None:
        statement = statement.where(_of_conversation(query.conversation_id))
    if query.roles:
        statement = statement.where(messages.c.role.in_(query.roles))
    if query.start is not None:
        statement = statement.where(messages.c.created_at >= query.start)
    if query.end is not None:
        statement = statement.where(messages.c.created_at <= query.end)
    # As an expression: walking back through the messages in the hope of meeting matches soon could take forever.
    return statement.order_by((messages.c.seq + 0).desc()).limit(max(query.limit, CANDIDATES))


def _of_conversation(conversation_id: str) -> sa.ColumnElement[bool]:
    return sa.exists().where(
        segments.c.conversation_id == conversation_id,
        segments.c.log_id == messages.c.log_id,
        segments.c.lo <= messages.c.position,
        segments.c.hi.is_(None) | (segments.c.hi > messages.c.position),
    )
