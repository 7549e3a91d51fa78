"""One database connection as the nouns use it: Core statements, and prepared text for the few hot ones."""

from collections.abc import Iterable, Sequence
from typing import Any, Protocol, TypeAlias, cast

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from tertulia.domain.errors import NotFound

Value: TypeAlias = str | int | bytes | None


class Cursor(Protocol):
    """What is used of a DBAPI cursor."""

    @property
    def rowcount(self) -> int: ...
    def fetchall(self) -> list[Any]: ...


class _Driver(Protocol):
    def execute(self, sql: str, parameters: Sequence[Value], /) -> Cursor: ...
    def executemany(self, sql: str, parameters: Iterable[Sequence[Value]], /) -> Cursor: ...


class Session:
    """A connection. Statements that every message needs go to the driver as text: 1–8 µs where Core takes 10–130 µs.

    That text uses ``?`` for its parameters and only what SQLite and Postgres have in common. ``may_lag`` says that the
    search index was brought up to date after the work at hand was asked for, so it is complete enough as it is.
    """

    __slots__ = ("_driver", "_refused", "connection", "may_lag", "read_only")

    def __init__(self, connection: sa.Connection, *, read_only: bool = False) -> None:
        self.connection = connection
        self.read_only = read_only
        self.may_lag = False
        self._driver = cast("_Driver", connection.connection.driver_connection)
        self._refused: type[Exception] = connection.dialect.loaded_dbapi.IntegrityError

    def run(self, sql: str, *parameters: Value) -> int:
        """Execute; the number of rows changed.

        :raises IntegrityError: if a constraint refuses the statement.
        """
        try:
            return self._driver.execute(sql, parameters).rowcount
        except self._refused as error:
            raise IntegrityError(sql, None, error) from error

    def run_many(self, sql: str, parameters: Iterable[Sequence[Value]]) -> None:
        """:raises IntegrityError: if a constraint refuses a row."""
        try:
            self._driver.executemany(sql, parameters)
        except self._refused as error:
            raise IntegrityError(sql, None, error) from error

    def insert_under(self, owner: tuple[str, str], sql: str, *parameters: Value) -> int:
        """Insert a row that belongs to another, ``owner``: its noun and id. The number of rows inserted.

        :raises NotFound: if the owner does not exist.
        :raises IntegrityError: if another constraint refuses the row.
        """
        try:
            return self.run(sql, *parameters)
        except IntegrityError as error:
            if "foreign key" in str(error.orig).lower():
                raise NotFound(*owner) from error
            raise

    def row(self, sql: str, *parameters: Value) -> Any:
        """The only row, or None. The statement is over when this returns, as RETURNING needs."""
        rows = self._driver.execute(sql, parameters).fetchall()
        return rows[0] if rows else None

    def rows(self, sql: str, *parameters: Value) -> list[Any]:
        return self._driver.execute(sql, parameters).fetchall()

    def first_column(self, statement: sa.Select[Any]) -> list[Any]:
        return list(self.connection.execute(statement).scalars())

    def change(self, statement: sa.Insert | sa.Update | sa.Delete, parameters: Any = None) -> int:
        """Execute; the number of rows changed."""
        return self.connection.execute(statement, parameters).rowcount
