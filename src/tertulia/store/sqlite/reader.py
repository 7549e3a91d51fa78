"""A connection to a SQLite database that only reads, each time from one consistent snapshot."""

import sqlite3
from collections.abc import Callable
from time import perf_counter
from typing import Final, TypeVar, cast

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from tertulia.ports.store import Transaction
from tertulia.store.failures import translate
from tertulia.store.sql.sqlite_session import SqliteSession
from tertulia.store.sql.transaction import SqlTransaction

T = TypeVar("T")

_OPCODES_BETWEEN_LOOKS: Final = 1000
"""How often the database looks at the clock: every 50 to 100 µs of its work."""


class TookTooLong(Exception):
    """A read was given up because it went past its deadline, or would have had to wait."""


class Reader:
    """For one thread at a time. One that never ``waits`` for a lock is fit for the event loop's."""

    def __init__(self, connection: sa.Connection, *, waits: bool = True) -> None:
        self._connection = connection
        self._driver = cast("sqlite3.Connection", connection.connection.driver_connection)
        self._driver.execute("PRAGMA query_only = ON")
        if not waits:
            self._driver.execute("PRAGMA busy_timeout = 0")
        self._driver.set_progress_handler(self._is_late, _OPCODES_BETWEEN_LOOKS)
        self._session = SqliteSession(connection, read_only=True)
        self._transaction = SqlTransaction(self._session)
        self._deadline: float | None = None

    def read(self, work: Callable[[Transaction], T], *, seconds: float | None = None, may_lag: bool = False) -> T:
        """Run the work; see :class:`~tertulia.store.sql.sqlite_session.SqliteSession` for ``may_lag``.

        :raises TookTooLong: if the database spends more than ``seconds`` on it, or cannot serve it at once.
        :raises SearchIndexBehind: if it searches and the index may not lag but does.
        """
        self._session.may_lag = may_lag
        self._deadline = None if seconds is None else perf_counter() + seconds
        try:
            self._driver.execute("BEGIN")
            return work(self._transaction)
        except (sqlite3.Error, DBAPIError) as error:
            failure = translate(error)
            if failure is error:
                raise
            raise (failure if seconds is None else TookTooLong()) from error
        finally:
            self._deadline = None
            if self._driver.in_transaction:
                self._driver.execute("ROLLBACK")

    def close(self) -> None:
        self._connection.close()

    def _is_late(self) -> bool:
        return self._deadline is not None and perf_counter() > self._deadline
