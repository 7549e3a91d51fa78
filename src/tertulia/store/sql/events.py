"""Chunks of run events as rows."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from tertulia.domain.errors import LeaseLost, NotFound
from tertulia.ports.events import EventChunk
from tertulia.store.sql.session import Session
from tertulia.store.sql.tables import microseconds

# Whether a transaction was committed is not always known; its chunk is stored again, or with more at its end.
_AGAIN: Final = "ON CONFLICT (run_id, first_seq) DO UPDATE SET last_seq = excluded.last_seq, data = excluded.data"
_APPEND: Final = f"INSERT INTO event_chunks (run_id, first_seq, last_seq, data) VALUES (?, ?, ?, ?) {_AGAIN}"  # noqa: S608
_HELD: Final = """
    INSERT INTO event_chunks (run_id, first_seq, last_seq, data)
    SELECT ?, ?, ?, ? FROM runs WHERE id = ? AND token = ?
"""
_APPEND_MANY: Final = """
    INSERT INTO event_chunks (run_id, first_seq, last_seq, data)
    SELECT c.run_id, c.first_seq, c.last_seq, c.data
    FROM unnest(?::text[], ?::int[], ?::int[], ?::int[], ?::bytea[]) AS c (run_id, token, first_seq, last_seq, data)
    JOIN runs r ON r.id = c.run_id AND r.token = c.token
    FOR SHARE OF r
"""
_LAST: Final = "SELECT coalesce(max(last_seq), 0) FROM event_chunks WHERE run_id = ?"
_AFTER: Final = """
    SELECT first_seq, last_seq, data FROM event_chunks
    WHERE run_id = ? AND last_seq > ? AND first_seq <= ? ORDER BY first_seq LIMIT ?
"""
_NO_LIMIT: Final = 2**31 - 1
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
        held = self._session.locking(_HELD, "FOR SHARE")
        if not self._session.run(f"{held} {_AGAIN}", *values, run_id, token):
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
            stored = {run_id for (run_id,) in self._session.rows(f"{_APPEND_MANY} {_AGAIN} RETURNING run_id", *columns)}
        else:
            stored = {
                run_id
                for run_id, token, chunk in chunks
                if self._session.run(f"{_HELD} {_AGAIN}", run_id, chunk.first, chunk.last, chunk.data, run_id, token)
            }
        return {run_id for run_id, _, _ in chunks} - stored

    def last(self, run_id: str) -> int:
        return self._session.row(_LAST, run_id)[0]

    def after(self, run_id: str, seq: int, within: int | None = None, limit: int | None = None) -> list[EventChunk]:
        before = _NO_LIMIT if within is None else seq + within
        rows = self._session.rows(_AFTER, run_id, seq, before, limit or _NO_LIMIT)
        return [EventChunk(*row) for row in rows]

    def kept(self, run_id: str) -> bool:
        return self._session.row(_KEPT, run_id) is not None

    def prune(self, before: datetime, limit: int) -> int:
        old = self._session.rows(_OLD, microseconds(before), limit)
        for (run_id,) in old:
            self._session.run("DELETE FROM event_chunks WHERE run_id = ?", run_id)
        return len(old)
