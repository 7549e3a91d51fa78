"""Chunks of run events as rows."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from tertulia.domain.errors import LeaseLost, NotFound
from tertulia.ports.store import EventChunk
from tertulia.store.sql.session import Session
from tertulia.store.sql.tables import microseconds

_APPEND: Final = "INSERT INTO event_chunks (run_id, first_seq, last_seq, data) VALUES (?, ?, ?, ?)"
_APPEND_HELD: Final = """
    INSERT INTO event_chunks (run_id, first_seq, last_seq, data)
    SELECT ?, ?, ?, ? FROM runs WHERE id = ? AND token = ?
"""
_APPEND_MANY: Final = """
    INSERT INTO event_chunks (run_id, first_seq, last_seq, data)
    SELECT c.run_id, c.first_seq, c.last_seq, c.data
    FROM unnest(?::text[], ?::int[], ?::int[], ?::int[], ?::bytea[]) AS c (run_id, token, first_seq, last_seq, data)
    JOIN runs r ON r.id = c.run_id AND r.token = c.token
    FOR SHARE OF r
    RETURNING run_id
"""
_LAST: Final = "SELECT coalesce(max(last_seq), 0) FROM event_chunks WHERE run_id = ?"
_AFTER: Final = """
    SELECT first_seq, last_seq, data FROM event_chunks WHERE run_id = ? AND last_seq > ? ORDER BY first_seq
"""
_KEPT: Final = "SELECT 1 FROM event_chunks WHERE run_id = ? LIMIT 1"
_OLD: Final = """
    SELECT r.id FROM runs r
    WHERE r.created_at < ? AND r.status NOT IN ('created', 'running')
        AND EXISTS (SELECT 1 FROM event_chunks e WHERE e.run_id = r.id)
    ORDER BY r.created_at LIMIT ?
"""


class SqlEvents:
    def __init__(self, session: Session) -> None:
        self._session = session

    def append(self, run_id: str, chunk: EventChunk, token: int | None = None) -> None:
        values = (run_id, chunk.first, chunk.last, chunk.data)
        if token is None:
            self._session.later(_APPEND, *values, owner=("Run", run_id))
            return
        held = self._session.locking(_APPEND_HELD, "FOR SHARE")
        if not self._session.run(held, *values, run_id, token):
            if self._session.row("SELECT 1 FROM runs WHERE id = ?", run_id) is None:
                raise NotFound("Run", run_id)
            raise LeaseLost(run_id)

    def append_many(self, chunks: Sequence[tuple[str, int, EventChunk]]) -> set[str]:
        if self._session.shares:
            columns = [
                [run_id for run_id, _, _ in chunks],
                [token for _, token, _ in chunks],
                [chunk.first for _, _, chunk in chunks],
                [chunk.last for _, _, chunk in chunks],
                [chunk.data for _, _, chunk in chunks],
            ]
            stored = {run_id for (run_id,) in self._session.rows(_APPEND_MANY, *columns)}
        else:
            stored = {
                run_id
                for run_id, token, chunk in chunks
                if self._session.run(_APPEND_HELD, run_id, chunk.first, chunk.last, chunk.data, run_id, token)
            }
        return {run_id for run_id, _, _ in chunks} - stored

    def last(self, run_id: str) -> int:
        return self._session.row(_LAST, run_id)[0]

    def after(self, run_id: str, seq: int) -> list[EventChunk]:
        return [EventChunk(*row) for row in self._session.rows(_AFTER, run_id, seq)]

    def kept(self, run_id: str) -> bool:
        return self._session.row(_KEPT, run_id) is not None

    def prune(self, before: datetime, limit: int) -> int:
        old = self._session.rows(_OLD, microseconds(before), limit)
        for (run_id,) in old:
            self._session.run("DELETE FROM event_chunks WHERE run_id = ?", run_id)
        return len(old)
