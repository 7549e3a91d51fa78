"""Messages as rows of append-only logs, which conversations read through their segments.

A conversation's positions are the positions in its logs: the segment (lo, hi, log) says that its positions lo to
hi - 1 are those of that log. Most conversations are one open segment of their own log; a fork has clipped segments of
its ancestors' logs besides. Position 0, the system prompt, is always in the conversation's own log.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from msgspec.structs import replace

from tertulia.domain.errors import NotFound
from tertulia.domain.ids import new_log_id
from tertulia.domain.messages import Message
from tertulia.ports.queries import MessageQuery, SearchQuery
from tertulia.store.sql.forks import cut_history
from tertulia.store.sql.ranking import best
from tertulia.store.sql.search import VECTOR, search
from tertulia.store.sql.session import Session, Value
from tertulia.store.sql.steps import forget_traces
from tertulia.store.sql.tables import conversations, messages, microseconds, segments, steps
from tertulia.store.sql.words import index_terms

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Message).decode

MOVE_HEAD: Final = """
    UPDATE conversations SET head = head + ?, last_message_at = coalesce(?, last_message_at) WHERE id = ?
    RETURNING head, log_id
"""
_INSERT: Final = """
    INSERT INTO messages (log_id, position, id, agent_id, conversation_id, run_id, step_id, role, otid, group_id,
                          is_err, created_at, body, text)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_INSERT_SHARED: Final = _INSERT.replace("text)", "words)").replace("?)", f"{VECTOR.format('?::text')})")
_SEGMENTS: Final = """
    SELECT lo, hi, log_id FROM conversation_segments
    WHERE conversation_id = ? AND lo < ? AND (hi IS NULL OR hi > ?) ORDER BY lo
"""
_BODIES: Final = "SELECT body FROM messages WHERE log_id = ? AND position >= ? AND position < ? ORDER BY position"
_IDS: Final = """
    SELECT id FROM messages WHERE log_id = ? AND position >= ? AND position < ? AND role <> 'summary' ORDER BY position
"""
_POSITION: Final = """
    SELECT m.position FROM messages m JOIN conversation_segments s
        ON s.log_id = m.log_id AND m.position >= s.lo AND (s.hi IS NULL OR m.position < s.hi)
    WHERE m.id = ? AND s.conversation_id = ?
"""
_RUN_BY_OTID: Final = """
    SELECT run_id FROM messages WHERE conversation_id = ? AND otid = ? AND run_id IS NOT NULL ORDER BY seq DESC LIMIT 1
"""
_SYSTEM: Final = """
    SELECT m.body FROM conversations c JOIN messages m ON m.log_id = c.log_id AND m.position = 0 WHERE c.id = ?
"""
_SET_SYSTEM: Final = "UPDATE messages SET body = ?, created_at = ? WHERE id = ?"

_OTIDS_AT_ONCE: Final = 500

_END: Final = 2**31 - 1
"""Past every position."""


def insert_messages(session: Session, log_id: str, first: int, added: Sequence[Message]) -> None:
    """Write the messages at positions ``first`` and on. The system prompt, at position 0, is not searched."""
    shared = session.shares
    rows = [
        (log_id, position, *message_columns(message), searched_text(message, position, bare=shared))
        for position, message in enumerate(added, first)
    ]
    session.run_many(_INSERT_SHARED if shared else _INSERT, rows)


def searched_text(message: Message, position: int, *, bare: bool) -> str:
    """What is searched of a message at this position; ``bare`` is how Postgres keeps it."""
    text = message.text if position else ""
    return index_terms(text) if bare else text


def message_columns(message: Message) -> tuple[Value, ...]:
    """Its columns from id to body."""
    return (
        message.id,
        message.agent_id,
        message.conversation_id,
        message.run_id,
        message.step_id,
        message.role,
        message.otid,
        message.group_id,
        message.is_err,
        microseconds(message.created_at),
        _encode(message).decode(),
    )


def delete_unshared(session: Session, conversation_id: str) -> None:
    """Delete the messages of the conversation's logs that no other conversation's segments hold."""
    logs = sa.select(segments.c.log_id).where(segments.c.conversation_id == conversation_id)
    shared = sa.exists().where(
        segments.c.conversation_id != conversation_id,
        segments.c.log_id == messages.c.log_id,
        segments.c.lo <= messages.c.position,
        segments.c.hi.is_(None) | (segments.c.hi > messages.c.position),
    )
    session.change(sa.delete(messages).where(messages.c.log_id.in_(logs), ~shared))


class SqlMessages:
    def __init__(self, session: Session) -> None:
        self._session = session

    def append(self, conversation_id: str, messages: Sequence[Message], *, at: datetime | None = None) -> int:
        time = None if at is None else microseconds(at)
        moved = self._session.row(MOVE_HEAD, len(messages), time, conversation_id)
        if moved is None:
            raise NotFound("Conversation", conversation_id)
        head, log_id = moved
        insert_messages(self._session, log_id, head - len(messages), messages)
        return head

    @staticmethod
    def decoded(bodies: Iterable[str]) -> list[Message]:
        return [_decode(body) for body in bodies]

    def set_system(self, conversation_id: str, message: Message) -> None:
        stored = replace(message, id=self.system(conversation_id).id)
        self._session.run(_SET_SYSTEM, _encode(stored).decode(), microseconds(stored.created_at), stored.id)

    def system(self, conversation_id: str) -> Message:
        row = self._session.row(_SYSTEM, conversation_id)
        if row is None:
            raise NotFound("Conversation", conversation_id)
        return _decode(row[0])

    def range(self, conversation_id: str, start: int, stop: int) -> list[Message]:
        return self.decoded(self._through_segments(_BODIES, conversation_id, start, stop))

    def ids_from(self, conversation_id: str, start: int) -> list[str]:
        return self._through_segments(_IDS, conversation_id, start, _END)

    def get(self, message_id: str) -> Message:
        row = self._session.row("SELECT body FROM messages WHERE id = ?", message_id)
        if row is None:
            raise NotFound("Message", message_id)
        return _decode(row[0])

    def find(self, query: MessageQuery) -> list[Message]:
        if query.conversation_id is not None:
            return self._find_in_conversation(query.conversation_id, query)
        conditions = _conditions(query)
        if query.older_than is not None:
            conditions.append(messages.c.seq < self._seq(query.older_than, query.agent_id))
        if query.newer_than is not None:
            conditions.append(messages.c.seq > self._seq(query.newer_than, query.agent_id))
        return self._select(conditions, messages.c.seq, query.limit, ascending=query.ascending)

    def count(self, agent_id: str) -> int:
        return self._session.row("SELECT count(*) FROM messages WHERE agent_id = ? AND position > 0", agent_id)[0]

    def search(self, query: SearchQuery) -> list[Message]:
        return best(search(self._session, query), query)

    def runs_by_otid(self, conversation_id: str, otids: Sequence[str]) -> dict[str, str]:
        if len(otids) == 1:  # of nearly every request
            row = self._session.row(_RUN_BY_OTID, conversation_id, otids[0])
            return {} if row is None else {otids[0]: row[0]}
        found: dict[str, str] = {}
        columns = messages.c
        for start in range(0, len(otids), _OTIDS_AT_ONCE):
            sought = columns.otid.in_(otids[start : start + _OTIDS_AT_ONCE])
            statement = sa.select(columns.otid, columns.run_id).where(
                columns.conversation_id == conversation_id, sought, columns.run_id.is_not(None)
            )
            found |= {row.otid: row.run_id for row in self._session.select(statement.order_by(columns.seq))}
        return found

    def position(self, conversation_id: str, message_id: str) -> int:
        row = self._session.row(_POSITION, message_id, conversation_id)
        if row is None:
            raise NotFound("Message", message_id)
        return row[0]

    def truncate(self, conversation_id: str, head: int) -> None:
        self.system(conversation_id)  # or NotFound
        cut_history(self._session, conversation_id, head)
        forget_traces(self._session, conversation_id, beyond=head)
        columns = conversations.c
        context_from = sa.case((columns.context_from > head, head), else_=columns.context_from)
        self._session.change(
            sa.update(conversations)
            .where(columns.id == conversation_id)
            .values(head=head, context_from=context_from, epoch=columns.epoch + 1)
        )

    def reset(self, conversation_id: str) -> None:
        # Position 0 moves to a fresh log: the old one may live on in forks, with its positions from 1 taken. The
        # traces of steps would show positions that are gone, or worse, written anew.
        system = self.system(conversation_id)
        log_id = new_log_id()
        itself = conversations.c.id == conversation_id
        self._session.change(sa.update(messages).where(messages.c.id == system.id).values(log_id=log_id))
        forget_traces(self._session, conversation_id, beyond=1)
        delete_unshared(self._session, conversation_id)
        self._session.change(sa.delete(segments).where(segments.c.conversation_id == conversation_id))
        self._session.change(
            sa.insert(segments), {"conversation_id": conversation_id, "lo": 0, "hi": None, "log_id": log_id}
        )
        fresh = {"log_id": log_id, "head": 1, "context_from": 1, "epoch": conversations.c.epoch + 1}
        self._session.change(sa.update(conversations).where(itself).values(fresh))

    def _find_in_conversation(self, conversation_id: str, query: MessageQuery) -> list[Message]:
        """The segments one by one, so that the index gives each in order and no further than the limit."""
        older, newer = query.older_than, query.newer_than
        stop = _END if older is None else self.position(conversation_id, older)
        start = 0 if newer is None else self.position(conversation_id, newer) + 1
        conditions = _conditions(query)
        position = messages.c.position
        found: list[Message] = []
        spans = self._spans(conversation_id, start, stop)
        for log_id, first, last in spans if query.ascending else reversed(spans):
            left = None if query.limit is None else query.limit - len(found)
            if left == 0:
                break
            inside = [messages.c.log_id == log_id, position >= first, position < last]
            found += self._select([*inside, *conditions], position, left, ascending=query.ascending)
        return found

    def _select(
        self,
        conditions: Sequence[sa.ColumnElement[bool]],
        order: sa.ColumnElement[int],
        limit: int | None,
        *,
        ascending: bool,
    ) -> list[Message]:
        statement = sa.select(messages.c.body).where(*conditions).order_by(order.asc() if ascending else order.desc())
        return [_decode(body) for body in self._session.first_column(statement.limit(limit))]

    def _through_segments(self, statement: str, conversation_id: str, start: int, stop: int) -> list[Any]:
        """The first column of ``statement`` run on each log that holds positions ``start`` to ``stop`` - 1."""
        found: list[Any] = []
        for span in self._spans(conversation_id, start, stop):
            found += [value for (value,) in self._session.rows(statement, *span)]
        return found

    def _spans(self, conversation_id: str, start: int, stop: int) -> list[tuple[str, int, int]]:
        """Which positions of which logs are the conversation's ``start`` to ``stop`` - 1, oldest first."""
        return [
            (log_id, max(lo, start), stop if hi is None else min(hi, stop))
            for lo, hi, log_id in self._session.rows(_SEGMENTS, conversation_id, stop, start)
        ]

    def _seq(self, message_id: str, agent_id: str | None) -> int:
        """Its place in the order of writing; among an agent's messages, another agent's has none."""
        row = self._session.row("SELECT seq, agent_id FROM messages WHERE id = ?", message_id)
        if row is None or agent_id not in (None, row[1]):
            raise NotFound("Message", message_id)
        return row[0]


def _conditions(query: MessageQuery) -> list[sa.ColumnElement[bool]]:
    equal = {
        "agent_id": query.agent_id,
        "run_id": query.run_id,
        "step_id": query.step_id,
        "group_id": query.group_id,
    }
    conditions: list[sa.ColumnElement[bool]] = [
        messages.c[column] == value for column, value in equal.items() if value is not None
    ]
    if query.step_id is not None:
        # The index on runs serves this too; one on steps would cost every message a page.
        run_id = sa.select(steps.c.run_id).where(steps.c.id == query.step_id).scalar_subquery()
        conditions.append(messages.c.run_id == run_id)
    if query.roles:
        conditions.append(messages.c.role.in_(query.roles))
    if not query.include_errors:
        conditions.append(messages.c.is_err.is_(sa.false()))
    return conditions
