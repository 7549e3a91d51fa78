"""Sharing and taking back history: what a fork and a rollback do to segments, whatever the length of the history.

A conversation's own log has two segments once its history is not all its own: position 0, the system prompt, and the
open one that it appends to. What stands between is other logs', or older ones of its own.
"""

from typing import Final

import sqlalchemy as sa

from tertulia.domain.ids import new_log_id
from tertulia.store.sql.session import Session
from tertulia.store.sql.tables import conversations, messages, segments, steps

_COPY: Final = """
    INSERT INTO conversation_segments (conversation_id, lo, hi, log_id)
    SELECT ?, CASE WHEN lo < 1 THEN 1 ELSE lo END, CASE WHEN hi IS NULL OR hi > ? THEN ? ELSE hi END, log_id
    FROM conversation_segments
    WHERE conversation_id = ? AND lo < ? AND (hi IS NULL OR hi > 1)
"""
_ADD: Final = "INSERT INTO conversation_segments (conversation_id, lo, hi, log_id) VALUES (?, ?, ?, ?)"


def share_history(session: Session, source_id: str, fork_id: str, log_id: str, upto: int) -> None:
    """Give a conversation without segments those of the source below ``upto``, and its own log around them."""
    session.run(_ADD, fork_id, 0, 1, log_id)
    if upto > 1:
        session.run(_COPY, fork_id, upto, upto, source_id, upto)
    session.run(_ADD, fork_id, upto, None, log_id)


def cut_history(session: Session, conversation_id: str, head: int) -> None:
    """Leave the conversation its positions below ``head``, and a fresh log of its own to go on in.

    The old log may live on in forks, with the positions from ``head`` taken.
    """
    log_id = new_log_id()
    own = sa.select(conversations.c.log_id).where(conversations.c.id == conversation_id).scalar_subquery()
    session.change(sa.update(messages).where(messages.c.log_id == own, messages.c.position == 0).values(log_id=log_id))
    cut = segments.c.conversation_id == conversation_id
    held = sa.exists().where(
        segments.c.log_id == messages.c.log_id,
        segments.c.lo <= messages.c.position,
        segments.c.hi.is_(None) | (segments.c.hi > messages.c.position),
    )
    logs = list(session.first_column(sa.select(segments.c.log_id).where(cut).distinct()))
    kept = [
        (max(lo, 1), head if hi is None else min(hi, head), log)
        for lo, hi, log in session.rows(
            "SELECT lo, hi, log_id FROM conversation_segments WHERE conversation_id = ? ORDER BY lo", conversation_id
        )
    ]
    session.change(sa.delete(segments).where(cut))
    session.run(_ADD, conversation_id, 0, 1, log_id)
    for lo, hi, log in kept:
        if lo < hi:
            session.run(_ADD, conversation_id, lo, hi, log)
    session.run(_ADD, conversation_id, head, None, log_id)
    taken_back = (messages.c.log_id.in_(logs), messages.c.position >= head, ~held)
    # The traces of their steps would quote what comes to stand at these positions next.
    of_runs = sa.select(messages.c.run_id).where(*taken_back)
    session.change(sa.update(steps).where(steps.c.run_id.in_(of_runs)).values(trace=None, frame=None))
    session.change(sa.delete(messages).where(*taken_back))
    session.change(sa.update(conversations).where(conversations.c.id == conversation_id).values(log_id=log_id))
