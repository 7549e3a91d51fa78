"""Chunks of run events as rows."""

from typing import Final

from tertulia.ports.store import EventChunk
from tertulia.store.sql.session import Session

_APPEND: Final = "INSERT INTO event_chunks (run_id, first_seq, last_seq, data) VALUES (?, ?, ?, ?)"
_AFTER: Final = """
    SELECT first_seq, last_seq, data FROM event_chunks WHERE run_id = ? AND last_seq > ? ORDER BY first_seq
"""


class SqlEvents:
    def __init__(self, session: Session) -> None:
        self._session = session

    def append(self, run_id: str, chunk: EventChunk) -> None:
        self._session.insert_under(("Run", run_id), _APPEND, run_id, chunk.first, chunk.last, chunk.data)

    def after(self, run_id: str, seq: int) -> list[EventChunk]:
        return [EventChunk(*row) for row in self._session.rows(_AFTER, run_id, seq)]
