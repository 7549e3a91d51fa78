"""Conversations, and the one open segment each begins with, as rows."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from msgspec.structs import replace

from tertulia.domain.conversations import Conversation
from tertulia.domain.errors import NotFound
from tertulia.domain.ids import new_log_id
from tertulia.domain.messages import Message
from tertulia.ports.queries import ConversationQuery
from tertulia.store.sql.forks import share_history
from tertulia.store.sql.messages import delete_unshared, insert_messages
from tertulia.store.sql.pages import Order, contains, fetch_page, visible
from tertulia.store.sql.session import Session, unless_found
from tertulia.store.sql.steps import delete_unused_frames, frames_of
from tertulia.store.sql.tables import OF_LIVING_AGENT, conversations, instant, microseconds, of_living_agent

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Conversation).decode

_ORDERS: Final = {
    "created_at": Order(conversations.c.created_at, conversations.c.id),
    "last_run_completion": Order(conversations.c.last_run_completion, conversations.c.id, nullable=True),
    "last_message_at": Order(conversations.c.last_message_at, conversations.c.id, nullable=True),
}

_INSERT: Final = """
    INSERT INTO conversations (id, agent_id, log_id, head, context_from, epoch, archived, hidden, summary, created_at,
                               last_message_at, last_run_completion, body)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_OPEN_SEGMENT: Final = "INSERT INTO conversation_segments (conversation_id, lo, hi, log_id) VALUES (?, 0, NULL, ?)"
_UPDATE: Final = """
    UPDATE conversations SET archived = ?, hidden = ?, summary = ?, created_at = ?, last_message_at = ?,
        last_run_completion = ?, body = ?
    WHERE id = ?
"""
_TOUCH: Final = """
    UPDATE conversations SET last_message_at = coalesce(?, last_message_at),
        last_run_completion = coalesce(?, last_run_completion)
    WHERE id = ?
"""
_ASKED_BEFORE: Final = f"""
    SELECT id FROM conversations WHERE asked_at < ? AND {OF_LIVING_AGENT}
        AND NOT EXISTS (SELECT 1 FROM runs r WHERE r.conversation_id = conversations.id AND r.status = 'running')
    ORDER BY asked_at LIMIT ?
"""  # noqa: S608  a constant
# The columns that the body does not speak for, and the body.
FIELDS: Final = ("body", "head", "context_from", "epoch", "last_message_at", "last_run_completion")
_GET: Final = f"SELECT {', '.join(FIELDS)} FROM conversations WHERE id = ? AND {OF_LIVING_AGENT}"  # noqa: S608  constants


def _columns(conversation: Conversation) -> tuple[Any, ...]:
    """As ``_INSERT`` and ``_UPDATE`` take them."""
    return (
        conversation.archived,
        conversation.hidden,
        conversation.summary,
        microseconds(conversation.created_at),
        _optional_microseconds(conversation.last_message_at),
        _optional_microseconds(conversation.last_run_completion),
        _encode(conversation).decode(),
    )


def _optional_microseconds(moment: datetime | None) -> int | None:
    return None if moment is None else microseconds(moment)


def conversation_of_row(
    body: str, head: int, context_from: int, epoch: int, last_message_at: int | None, last_run_completion: int | None
) -> Conversation:
    return replace(
        _decode(body),
        head=head,
        context_from=context_from,
        epoch=epoch,
        last_message_at=None if last_message_at is None else instant(last_message_at),
        last_run_completion=None if last_run_completion is None else instant(last_run_completion),
    )


class SqlConversations:
    def __init__(self, session: Session) -> None:
        self._session = session

    def insert(self, conversation: Conversation, system: Message) -> None:
        log_id = new_log_id()
        self._insert_row(conversation, log_id, 1)
        self._session.run(_OPEN_SEGMENT, conversation.id, log_id)
        insert_messages(self._session, log_id, 0, [system])

    def _insert_row(self, conversation: Conversation, log_id: str, head: int) -> None:
        self._session.insert_under(
            ("Agent", conversation.agent_id),
            _INSERT,
            conversation.id,
            conversation.agent_id,
            log_id,
            head,
            conversation.context_from,
            conversation.epoch,
            *_columns(conversation),
        )

    def get(self, conversation_id: str, *, lock: bool = True) -> Conversation:
        sql = self._session.locking(_GET, "FOR NO KEY UPDATE") if lock else _GET
        row = self._session.row(sql, conversation_id)
        if row is None:
            raise NotFound("Conversation", conversation_id)
        return conversation_of_row(*row)

    def update(self, conversation: Conversation) -> None:
        self._change_one(conversation.id, _UPDATE, *_columns(conversation))

    def touch(
        self,
        conversation_id: str,
        *,
        last_message_at: datetime | None = None,
        last_run_completion: datetime | None = None,
    ) -> None:
        self._session.later(
            _TOUCH,
            _optional_microseconds(last_message_at),
            _optional_microseconds(last_run_completion),
            conversation_id,
            changed=unless_found("Conversation", conversation_id),
        )

    def set_asked(self, conversation_id: str, at: datetime | None) -> None:
        self._session.later(
            "UPDATE conversations SET asked_at = ? WHERE id = ?",
            _optional_microseconds(at),
            conversation_id,
            changed=unless_found("Conversation", conversation_id),
        )

    def asked_before(self, instant: datetime, limit: int) -> list[str]:
        return [id_ for (id_,) in self._session.rows(_ASKED_BEFORE, microseconds(instant), limit)]

    def set_context(self, conversation_id: str, context_from: int, pins: Sequence[int] = ()) -> None:
        body = _encode(replace(self.get(conversation_id), pins=tuple(pins))).decode()
        sql = "UPDATE conversations SET context_from = ?, body = ? WHERE id = ?"
        self._change_one(conversation_id, sql, context_from, body)

    def fork(self, source_id: str, fork: Conversation, system: Message, upto: int) -> None:
        log_id = new_log_id()
        self._insert_row(fork, log_id, upto)
        share_history(self._session, source_id, fork.id, log_id, upto)
        insert_messages(self._session, log_id, 0, [system])

    def delete(self, conversation_id: str) -> None:
        named = frames_of(self._session, sa.select(conversations.c.id).where(conversations.c.id == conversation_id))
        delete_unshared(self._session, conversation_id)
        # Segments, runs, steps and events go with it by foreign key.
        self._change_one(conversation_id, "DELETE FROM conversations WHERE id = ?")
        delete_unused_frames(self._session, named)

    def find(self, query: ConversationQuery) -> list[Conversation]:
        statement = sa.select(conversations.c.id).where(*_conditions(query))
        ids = fetch_page(self._session, statement, _ORDERS[query.order_by], query.page, "Conversation")
        return [self.get(id_) for id_ in ids]

    def _change_one(self, conversation_id: str, sql: str, *parameters: Any) -> None:
        if not self._session.run(sql, *parameters, conversation_id):
            raise NotFound("Conversation", conversation_id)


def _conditions(query: ConversationQuery) -> list[sa.ColumnElement[bool]]:
    # A default conversation has its agent's id.
    conditions: list[sa.ColumnElement[bool]] = [
        conversations.c.id != conversations.c.agent_id,
        of_living_agent(conversations.c.agent_id),
    ]
    if query.agent_id is not None:
        conditions.append(conversations.c.agent_id == query.agent_id)
    if query.archived is not None:
        conditions.append(conversations.c.archived.is_(query.archived))
    if query.summary_search is not None:
        conditions.append(contains(conversations.c.summary, query.summary_search))
    if not query.include_hidden:
        conditions.append(visible(conversations.c.hidden))
    return conditions
