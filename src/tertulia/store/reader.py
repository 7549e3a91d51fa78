"""A connection to a SQLite database that only reads, each time from one consistent snapshot."""

import sqlite3
from collections.abc import Callable
from time import perf_counter
from typing import Final, TypeVar, cast

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from tertulia.ports.store import Transaction
from tertulia.store.failures import translated
from tertulia.store.sql.session import Session
from tertulia.store.sql.transaction import SqlTransaction

T = TypeVar("T")

_OPCODES_BETWEEN_LOOKS: Final = 1000
"""How often the database looks at the clock: every 50 to 100 µs of its work."""


class TookTooLong(Exception):
    """A read went past its deadline and was given up."""


class Reader:
    """One thread at a time."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        self._driver = cast("sqlite3.Connection", connection.connection.driver_connection)
        self._driver.execute("PRAGMA query_only = ON")
        self._driver.set_progress_handler(self._is_late, _OPCODES_BETWEEN_LOOKS)
        self._session = Session(connection, read_only=True)
        self._transaction = SqlTransaction(self._session)
        self._deadline: float | None = None

    def read(self, work: Callable[[Transaction], T], *, seconds: float | None = None, may_lag: bool = False) -> T:
        """Run the work; see :class:`~tertulia.store.sql.session.Session` for ``may_lag``.

        :raises TookTooLong: if the database spends more than ``seconds`` on it.
        :raises SearchIndexBehind: if it searches and the index may not lag but does.
        """
        self._session.may_lag = may_lag
        self._deadline = None if seconds is None else perf_counter() + seconds
        try:
            self._driver.execute("BEGIN")
            return work(self._transaction)
        except (sqlite3.Error, DBAPIError) as error:
            if self._is_late():
                raise TookTooLong from error
            failure = translated(error)
            if failure is error:
                raise
            raise failure from error
        finally:
            self._deadline = None
            if self._driver.in_transaction:
                self._driver.execute("ROLLBACK")

    def close(self) -> None:
        self._connection.close()

    def _is_late(self) -> bool:
        return self._deadline is not None and perf_counter() > self._deadline
