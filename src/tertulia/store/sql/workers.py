"""Workers and their leases as rows; times are microseconds of the database's own clock."""

import secrets
from typing import Final

from tertulia.store.sql.session import Session

_BURIED_AFTER: Final = 3_600_000_000
_TRIAL: Final = "trial-"
"""What the ids of workers begin with that are rows to see whether one can be written."""
_TRIAL_ROWS: Final = 32
_TRIAL_BYTES: Final = 1000
"""Of random hexadecimals, two characters each: PostgreSQL compresses what is not, and indexes no longer ids."""


class SqlWorkers:
    def __init__(self, session: Session) -> None:
        self._session = session
        now = session.now
        # The clock's SQL is a constant of the engine's.
        self._register = f"""
            INSERT INTO workers (id, lease_until) VALUES (?, {now} + ?)
            ON CONFLICT (id) DO UPDATE SET lease_until = excluded.lease_until
        """  # noqa: S608
        self._renew = f"UPDATE workers SET lease_until = {now} + ? WHERE id = ? AND lease_until >= {now}"  # noqa: S608
        self._live = f"SELECT id FROM workers WHERE lease_until >= {now} ORDER BY id"  # noqa: S608
        self._end = f"UPDATE workers SET lease_until = 0 WHERE id >= ? AND id < ? AND lease_until >= {now}"  # noqa: S608
        self._bury = f"DELETE FROM workers WHERE lease_until < {now} - {_BURIED_AFTER}"  # noqa: S608

    def register(self, worker_id: str, seconds: float) -> None:
        self._session.run(self._bury)  # those who died long ago have no runs any more
        self._session.run(self._register, worker_id, _microseconds(seconds))

    def renew(self, worker_id: str, seconds: float) -> bool:
        return self._session.run(self._renew, _microseconds(seconds), worker_id) == 1

    def remove(self, worker_id: str) -> None:
        self._session.run("DELETE FROM workers WHERE id = ?", worker_id)

    def end(self, life: str) -> int:
        return self._session.run(self._end, f"worker-{life}-", f"worker-{life}.")  # "." comes after "-"

    def live(self) -> list[str]:
        return [worker_id for (worker_id,) in self._session.rows(self._live)]

    def take_room(self) -> None:
        self.give_room_back()  # what a trial left that could not be ended
        rows = [(f"{_TRIAL}{secrets.token_hex(_TRIAL_BYTES)}", 0) for _ in range(_TRIAL_ROWS)]
        self._session.run_many("INSERT INTO workers (id, lease_until) VALUES (?, ?)", rows)

    def give_room_back(self) -> None:
        self._session.run(f"DELETE FROM workers WHERE id LIKE '{_TRIAL}%'")  # noqa: S608  a constant

    def forget_all(self) -> None:
        self._session.run("DELETE FROM workers")


def _microseconds(seconds: float) -> int:
    return round(seconds * 1_000_000)
