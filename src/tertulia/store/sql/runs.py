"""Runs as rows, and the index that keeps a conversation to one active run."""

from typing import Any, Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from tertulia.domain.errors import ConversationBusy, NotFound
from tertulia.domain.runs import Run
from tertulia.ports.store import RunQuery
from tertulia.store.sql.pages import Order, fetch_page
from tertulia.store.sql.session import Session
from tertulia.store.sql.tables import microseconds, runs

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Run).decode

_ORDER: Final = Order(runs.c.created_at, runs.c.id)

# A refused row is no error here, so that the active run can still be asked for in the same transaction on Postgres.
_INSERT: Final = """
    INSERT INTO runs (id, agent_id, conversation_id, status, background, stop_reason, created_at, body)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (conversation_id) WHERE status = 'running' DO NOTHING
"""
_UPDATE: Final = """
    UPDATE runs SET status = ?, background = ?, stop_reason = ?, body = ? WHERE id = ?
"""
_ACTIVE: Final = "SELECT body FROM runs WHERE conversation_id = ? AND status = 'running'"
_ALL_ACTIVE: Final = "SELECT body FROM runs WHERE status = 'running' ORDER BY created_at, id"
_QUEUED: Final = "SELECT body FROM runs WHERE status = 'created' ORDER BY created_at, id"
_QUEUED_OF: Final = "SELECT body FROM runs WHERE conversation_id = ? AND status = 'created' ORDER BY created_at, id"


class SqlRuns:
    def __init__(self, session: Session) -> None:
        self._session = session

    def insert(self, run: Run) -> None:
        stored = self._session.insert_under(
            ("Conversation", run.conversation_id),
            _INSERT,
            run.id,
            run.agent_id,
            run.conversation_id,
            run.status,
            run.background,
            run.stop_reason,
            microseconds(run.created_at),
            _encode(run).decode(),
        )
        if not stored:
            raise ConversationBusy(self._active_id(run.conversation_id))

    def get(self, run_id: str) -> Run:
        row = self._session.row("SELECT body FROM runs WHERE id = ?", run_id)
        if row is None:
            raise NotFound("Run", run_id)
        return _decode(row[0])

    def update(self, run: Run) -> None:
        """:raises ConversationBusy: if that would make a second active run of the conversation."""
        body = _encode(run).decode()
        try:
            changed = self._session.run(_UPDATE, run.status, run.background, run.stop_reason, body, run.id)
        except IntegrityError as error:
            raise ConversationBusy(self._active_id(run.conversation_id)) from error
        if not changed:
            raise NotFound("Run", run.id)

    def active(self, conversation_id: str) -> Run | None:
        row = self._session.row(_ACTIVE, conversation_id)
        return None if row is None else _decode(row[0])

    def all_active(self) -> list[Run]:
        return [_decode(body) for (body,) in self._session.rows(_ALL_ACTIVE)]

    def queued(self, conversation_id: str | None = None) -> list[Run]:
        if conversation_id is None:
            rows = self._session.rows(_QUEUED)
        else:
            rows = self._session.rows(_QUEUED_OF, conversation_id)
        return [_decode(body) for (body,) in rows]

    def find(self, query: RunQuery) -> list[Run]:
        bodies = fetch_page(self._session, sa.select(runs.c.body).where(*_conditions(query)), _ORDER, query.page, "Run")
        return [_decode(body) for body in bodies]

    def _active_id(self, conversation_id: str) -> str:
        active: Any = self._session.row(
            "SELECT id FROM runs WHERE conversation_id = ? AND status = 'running'", conversation_id
        )
        return active[0] if active else "unknown"


def _conditions(query: RunQuery) -> list[sa.ColumnElement[bool]]:
    conditions: list[sa.ColumnElement[bool]] = []
    if query.agent_ids:
        conditions.append(runs.c.agent_id.in_(query.agent_ids))
    if query.conversation_id is not None:
        conditions.append(runs.c.conversation_id == query.conversation_id)
    if query.statuses:
        conditions.append(runs.c.status.in_(query.statuses))
    if query.background is not None:
        conditions.append(runs.c.background.is_(query.background))
    if query.stop_reason is not None:
        conditions.append(runs.c.stop_reason == query.stop_reason)
    return conditions
