"""A connection to SQLite as the nouns use it."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, Final, Protocol, cast

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from tertulia.domain.errors import NotFound
from tertulia.store.sql.session import Value

_NOW: Final = "CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)"


class _Cursor(Protocol):
    """What is used of a DBAPI cursor."""

    @property
    def rowcount(self) -> int: ...
    def fetchall(self) -> list[Any]: ...


class _Driver(Protocol):
    def execute(self, sql: str, parameters: Sequence[Value], /) -> _Cursor: ...
    def executemany(self, sql: str, parameters: Iterable[Sequence[Value]], /) -> _Cursor: ...


class SqliteSession:
    """Implements :class:`~tertulia.store.sql.session.Session`. Text takes 1–8 µs here, Core 10–130 µs.

    ``may_lag`` says that the search index was brought up to date after the work at hand was asked for, so it is
    complete enough as it is.
    """

    __slots__ = ("_connection", "_driver", "_refused", "may_lag", "read_only")

    now: ClassVar[str] = _NOW
    shares: ClassVar[bool] = False

    def __init__(self, connection: sa.Connection, *, read_only: bool = False) -> None:
        self.read_only = read_only
        self.may_lag = False
        self._connection = connection
        self._driver = cast("_Driver", connection.connection.driver_connection)
        self._refused: type[Exception] = connection.dialect.loaded_dbapi.IntegrityError

    def locking(self, sql: str, how: str) -> str:  # noqa: ARG002  nobody else writes, so nothing needs a lock
        return sql

    def later(
        self,
        sql: str,
        *parameters: Value,
        owner: tuple[str, str] | None = None,
        changed: Callable[[int], None] | None = None,
    ) -> None:
        if sql.startswith("SELECT"):
            rows = len(self.rows(sql, *parameters))
        else:
            rows = self.run(sql, *parameters) if owner is None else self.insert_under(owner, sql, *parameters)
        if changed is not None:
            changed(rows)

    def crowded(self, sql: str, key: str, *parameters: Value, owner: tuple[str, str] | None = None) -> None:  # noqa: ARG002  there is never another one
        self.later(sql.format(free="TRUE"), *parameters, owner=owner)

    def run(self, sql: str, *parameters: Value) -> int:
        try:
            return self._driver.execute(sql, parameters).rowcount
        except self._refused as error:
            raise IntegrityError(sql, None, error) from error

    def run_many(self, sql: str, parameters: Iterable[Sequence[Value]]) -> None:
        try:
            self._driver.executemany(sql, parameters)
        except self._refused as error:
            raise IntegrityError(sql, None, error) from error

    def insert_under(self, owner: tuple[str, str], sql: str, *parameters: Value) -> int:
        try:
            return self.run(sql, *parameters)
        except IntegrityError as error:
            if "foreign key" in str(error.orig).lower():
                raise NotFound(*owner) from error
            raise

    def row(self, sql: str, *parameters: Value) -> Any:
        rows = self._driver.execute(sql, parameters).fetchall()
        return rows[0] if rows else None

    def rows(self, sql: str, *parameters: Value) -> list[Any]:
        return self._driver.execute(sql, parameters).fetchall()

    def select(self, statement: sa.Select[Any, Any]) -> list[Any]:
        return list(self._connection.execute(statement).all())

    def first_column(self, statement: sa.Select[Any]) -> list[Any]:
        return list(self._connection.execute(statement).scalars())

    def change(self, statement: sa.Insert | sa.Update | sa.Delete, parameters: Any = None) -> int:
        return self._connection.execute(statement, parameters).rowcount
