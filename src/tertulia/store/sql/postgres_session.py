"""A connection to Postgres as the nouns use it: written as if it were blocking, run where it is not.

A work is a plain function. It runs in a greenlet that gives way to the event loop while a statement is under way.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Final, Literal, TypeAlias, TypeVar
from uuid import uuid4

import asyncpg
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.util import await_only

from tertulia.domain.errors import NotFound
from tertulia.store.sql.session import Value

T = TypeVar("T")
Mode: TypeAlias = Literal["write", "snapshot", "statement"]
"""A transaction that writes; a read of several statements at one instant; a read that is one statement."""

_BEGIN: Final[dict[Mode, str | None]] = {
    "write": "BEGIN ISOLATION LEVEL READ COMMITTED",
    "snapshot": "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
    "statement": None,
}
_NOW: Final = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
_MARK: Final = """
    INSERT INTO commit_marks (connection, mark) VALUES (?, ?)
    ON CONFLICT (connection) DO UPDATE SET mark = excluded.mark, made_at = now()
"""
_FREE: Final = "pg_try_advisory_xact_lock(hashtextextended(?, 0))"
_TABLES: Final = re.compile(r"\b(?:FROM|JOIN|INTO|UPDATE)\s+(?!SET\b)(\w+)")


class NeedsSnapshot(BaseException):
    """A read that was begun as one statement asks for another one.

    Nothing that a work catches, so that the read can be run again in a transaction.
    """


@dataclass(frozen=True, slots=True)
class Mark:
    """What a transaction leaves in the database: the number of the last one that its connection committed."""

    connection: str
    number: int


@dataclass(frozen=True, slots=True)
class Part:
    """A statement that goes to the database together with others, as a common table expression called ``name``.

    All of them see the database as it was before any, so no two of them may be about the same table; ``tables`` is
    what it is about. ``owner`` is the noun and id whose absence a foreign key finds out. ``changed`` is told the number
    of rows.
    """

    sql: str
    parameters: tuple[Value, ...]
    owner: tuple[str, str] | None = None
    changed: Callable[[int], None] | None = None
    name: str | None = None

    @property
    def tables(self) -> frozenset[str]:
        return _tables(self.sql)


class PostgresSession:
    """Implements :class:`~tertulia.store.sql.session.Session`. For one work at a time, each between start and end.

    The transaction begins with the first statement, so a work that has none costs nothing. Statements whose outcome
    can wait do wait, and go with the next one: what a round trip costs here would run ten statements in the database.
    """

    __slots__ = (
        "_afterwards",
        "_begun",
        "_connection",
        "_driver",
        "_failure",
        "_mark",
        "_marked",
        "_mode",
        "_name",
        "_ran",
        "_waiting",
        "_writes",
    )

    now: ClassVar[str] = _NOW
    shares: ClassVar[bool] = True

    def __init__(self, connection: sa.Connection, driver: "asyncpg.Connection[Any]") -> None:
        self._connection = connection
        self._driver = driver
        self._name = uuid4().hex
        self._mark = 0
        self.start("write")

    def start(self, mode: Mode) -> None:
        self._mode: Mode = mode
        self._begun = self._ran = self._writes = self._marked = False
        self._mark += 1
        self._failure: BaseException | None = None
        self._waiting: list[Part] = []
        self._afterwards: list[tuple[str, tuple[Value, ...]]] = []

    def finish(self) -> Mark | None:
        """Do what waits, and leave the transaction's mark in the database; None if it has written nothing.

        What broke the transaction is raised again if the work has let it pass.
        """
        self._flush()
        self._check()
        if not self._writes:
            return None
        if not self._marked:
            self.together((), "NULL")
        return Mark(self._name, self._mark)

    def end(self, how: Literal["COMMIT", "ROLLBACK"]) -> None:
        self._waiting.clear()
        if self._begun:
            self._begun = False
            await_only(self._driver.execute(how))

    def locking(self, sql: str, how: str) -> str:
        return f"{sql} {how}" if self._mode == "write" else sql

    def later(
        self,
        sql: str,
        *parameters: Value,
        owner: tuple[str, str] | None = None,
        changed: Callable[[int], None] | None = None,
    ) -> None:
        self._check_writes()
        part = Part(sql, parameters, owner, changed)
        if any(part.tables & other.tables for other in self._waiting):
            self._flush()
        self._waiting.append(part)

    def crowded(self, sql: str, key: str, *parameters: Value, owner: tuple[str, str] | None = None) -> None:
        def check(rows: int) -> None:
            if not rows:
                self._afterwards.append((sql.format(free="TRUE"), parameters))

        self.later(sql.format(free=_FREE), *parameters, key, owner=owner, changed=check)

    def catch_up(self) -> None:
        """After the commit: write the rows that another transaction had, each in a transaction of its own."""
        for sql, parameters in self._afterwards:
            await_only(self._driver.execute(_number(sql), *parameters))

    def together(self, parts: Sequence[Part], wanted: str) -> Any:
        """Execute parts with what waits, as one statement; ``wanted`` is SQL for a value of what they return."""
        self._check_writes()
        if any(part.tables & other.tables for part in parts for other in self._waiting):
            self._flush()
        parts, self._waiting = [*self._waiting, *parts], []
        if not self._marked:
            self._marked = True
            parts.append(Part(_MARK, (self._name, self._mark)))
        self._writes = True
        sql = _compose(tuple((part.sql, part.name) for part in parts), wanted)
        parameters = [value for part in parts for value in part.parameters]
        self._begin()
        try:
            row = self._awaited(lambda: self._driver.fetchrow(sql, *parameters), sql)
        except IntegrityError as error:
            raise _owner_missing(error, parts) from error
        assert row is not None  # noqa: S101  a SELECT without FROM has one row
        value, *counts = row
        for part, count in zip(parts, counts, strict=True):
            if part.changed is not None:
                part.changed(count)
        return value

    def run(self, sql: str, *parameters: Value) -> int:
        self._begin_to_write()
        status = self._awaited(lambda: self._driver.execute(_number(sql), *parameters), sql)
        return int(status.rpartition(" ")[2])

    def run_many(self, sql: str, parameters: Iterable[Sequence[Value]]) -> None:
        rows = list(parameters)
        if not rows:
            return
        if len(rows) == 1:
            self.later(sql, *rows[0])
            return
        self._begin_to_write()
        self._awaited(lambda: self._driver.executemany(_number(sql), rows), sql)

    def insert_under(self, owner: tuple[str, str], sql: str, *parameters: Value) -> int:
        try:
            return self.run(sql, *parameters)
        except IntegrityError as error:
            if isinstance(error.orig, asyncpg.ForeignKeyViolationError):
                raise NotFound(*owner) from error
            raise

    def row(self, sql: str, *parameters: Value) -> Any:
        found = self.rows(sql, *parameters)
        return found[0] if found else None

    def rows(self, sql: str, *parameters: Value) -> list[Any]:
        self._prepare_to_ask()
        if "RETURNING" in sql:
            self._writes = True
        return self._awaited(lambda: self._driver.fetch(_number(sql), *parameters), sql)

    def select(self, statement: sa.Select[Any, Any]) -> list[Any]:
        self._prepare_to_ask()
        return self._attempt(lambda: list(self._connection.execute(statement).all()))

    def first_column(self, statement: sa.Select[Any]) -> list[Any]:
        self._prepare_to_ask()
        return self._attempt(lambda: list(self._connection.execute(statement).scalars()))

    def change(self, statement: sa.Insert | sa.Update | sa.Delete, parameters: Any = None) -> int:
        self._begin_to_write()
        return self._attempt(lambda: self._connection.execute(statement, parameters).rowcount)

    def _check_writes(self) -> None:
        if self._mode != "write":
            message = "a work that reads is read-only"
            raise TypeError(message)
        self._check()

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _flush(self) -> None:
        if self._waiting and self._failure is None:
            self.together((), "NULL")

    def _prepare_to_ask(self) -> None:
        self._check()
        self._flush()
        self._begin()

    def _begin_to_write(self) -> None:
        self._check_writes()
        self._flush()
        self._begin()
        self._writes = True

    def _begin(self) -> None:
        begin = _BEGIN[self._mode]
        if begin is None:
            if self._ran:
                raise NeedsSnapshot
            self._ran = True
        elif not self._begun:
            await_only(self._driver.execute(begin))
            self._begun = True

    def _awaited(self, statement: Callable[[], Any], sql: str = "") -> Any:
        try:
            return await_only(statement())
        except asyncpg.IntegrityConstraintViolationError as error:
            refused = self._failure = IntegrityError(sql, None, error)
            raise refused from error
        except BaseException as error:
            self._failure = error
            raise

    def _attempt(self, statement: Callable[[], T]) -> T:
        try:
            return statement()
        except BaseException as error:
            self._failure = error
            raise


def _owner_missing(error: IntegrityError, parts: Iterable[Part]) -> Exception:
    cause = error.orig
    if isinstance(cause, asyncpg.ForeignKeyViolationError):
        for part in parts:
            if part.owner is not None and cause.table_name in part.tables:
                return NotFound(*part.owner)
    return error


@lru_cache(maxsize=1000)
def _number(sql: str, first: int = 1) -> str:
    """With Postgres's own marks for parameters."""
    beginning, *others = sql.split("?")
    return beginning + "".join(f"${number}{part}" for number, part in enumerate(others, first))


@lru_cache(maxsize=1000)
def _tables(sql: str) -> frozenset[str]:
    return frozenset(_TABLES.findall(sql))


@lru_cache(maxsize=1000)
def _compose(parts: tuple[tuple[str, str | None], ...], wanted: str) -> str:
    """One statement of all parts, whose row is ``wanted`` and how many rows each changed."""
    expressions: list[str] = []
    counts: list[str] = []
    used = 0
    for number, (sql, given) in enumerate(parts):
        name = given or f"part_{number}"
        returning = "" if "RETURNING" in sql or sql.lstrip().startswith("SELECT") else " RETURNING 1"
        expressions.append(f"{name} AS ({_number(sql, used + 1)}{returning})")
        counts.append(f"(SELECT count(*) FROM {name})")  # noqa: S608  made of our own statements
        used += sql.count("?")
    columns = ", ".join([wanted, *counts])
    return f"WITH {', '.join(expressions)} SELECT {columns}"
