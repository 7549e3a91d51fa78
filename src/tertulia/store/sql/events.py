"""Chunks of run events as rows."""

from datetime import datetime
from typing import Final

from tertulia.ports.store import EventChunk
from tertulia.store.sql.session import Session
from tertulia.store.sql.tables import microseconds

_APPEND: Final = "INSERT INTO event_chunks (run_id, first_seq, last_seq, data) VALUES (?, ?, ?, ?)"
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

    def append(self, run_id: str, chunk: EventChunk) -> None:
        self._session.insert_under(("Run", run_id), _APPEND, run_id, chunk.first, chunk.last, chunk.data)

    def after(self, run_id: str, seq: int) -> list[EventChunk]:
        return [EventChunk(*row) for row in self._session.rows(_AFTER, run_id, seq)]

    def kept(self, run_id: str) -> bool:
        return self._session.row(_KEPT, run_id) is not None

    def prune(self, before: datetime, limit: int) -> int:
        old = self._session.rows(_OLD, microseconds(before), limit)
        for (run_id,) in old:
            self._session.run("DELETE FROM event_chunks WHERE run_id = ?", run_id)
        return len(old)
