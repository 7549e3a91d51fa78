"""A SQLite file as a database to copy from or into."""

import sqlite3
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Final

import msgspec
import sqlalchemy as sa

from tertulia.domain.errors import CopyFailed, DataDirectoryHeld, StoreUnavailable
from tertulia.store.copy.copying import (
    BATCH_BYTES,
    BATCH_ROWS,
    TABLES,
    Mark,
    Row,
    check_revision,
    key_columns,
    mark_of,
    search_texts,
    weight,
)
from tertulia.store.schema import COPYING, SCHEMA_REVISION
from tertulia.store.sql.tables import messages
from tertulia.store.sqlite.lock import FileLock
from tertulia.store.sqlite.store import open_sqlite

_BEGIN: Final = (
    "CREATE TABLE copying (source TEXT NOT NULL, revision TEXT NOT NULL, mark TEXT)",
    f"UPDATE alembic_version SET version_num = '{COPYING}'",  # noqa: S608  a constant
)
_FINISH: Final = ("DROP TABLE copying", f"UPDATE alembic_version SET version_num = '{SCHEMA_REVISION}'")  # noqa: S608  as above


def open_source(path: Path) -> "SqliteSource":
    """Open the file for reading, for this process alone.

    :raises CopyFailed: if a server uses it, or it is not a database of this version.
    :raises StoreUnavailable: if it cannot be read.
    """
    if not path.is_file():
        raise CopyFailed(f"There is no database {path}.")
    lock = _hold(path)
    with ExitStack() as opened, _typed_failures(path):
        opened.callback(lock.release)
        connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, isolation_level=None)
        opened.callback(connection.close)
        connection.execute("BEGIN")
        check_revision(_revision(connection), str(path), f"sqlite:///{path}")
        opened.pop_all()  # they are the source's from here on
    return SqliteSource(path, lock, connection)


async def open_target(path: Path) -> "SqliteTarget":
    """Open the file for a copy into it; made if there is none.

    :raises CopyFailed: if a server uses it, or it holds data of its own.
    :raises StoreUnavailable: if it cannot be written.
    """
    with _typed_failures(path):
        if not _is_unfinished(path):
            await (await open_sqlite(path)).close()
    lock = _hold(path)
    with ExitStack() as opened, _typed_failures(path):
        opened.callback(lock.release)
        connection = sqlite3.connect(path, isolation_level=None)
        opened.callback(connection.close)
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = NORMAL")
        opened.pop_all()  # they are the target's from here on
    return SqliteTarget(path, lock, connection)


def _is_unfinished(path: Path) -> bool:
    """Whether a copy into it was begun.

    :raises CopyFailed: if it holds data otherwise.
    """
    if not path.exists():
        return False
    lock = _hold(path)
    try:
        connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
        try:
            revision = _revision(connection)
            if revision not in (None, COPYING):
                _refuse_data(connection, path)
        finally:
            connection.close()
    finally:
        lock.release()
    return revision == COPYING


def _hold(path: Path) -> FileLock:
    try:
        return FileLock.acquire(path)
    except DataDirectoryHeld as error:
        raise CopyFailed(f"A server or another copy (pid {error.fields['pid']}) uses {path}. Stop it first.") from error
    except OSError as error:
        raise StoreUnavailable(f"The directory of the database {path} cannot be used: {error}") from error


def _revision(connection: sqlite3.Connection) -> str | None:
    if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone() is None:
        return None
    row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return None if row is None else row[0]


def _refuse_data(connection: sqlite3.Connection, path: Path) -> None:
    there = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    for table in TABLES:
        if table.name in there and connection.execute(f"SELECT 1 FROM {table.name} LIMIT 1").fetchone():  # noqa: S608  our own name
            raise CopyFailed(f"{path} already holds data ({table.name}). Copy into a new database.")


@contextmanager
def _typed_failures(path: Path) -> Generator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise StoreUnavailable(f"The database {path} cannot be used: {error}") from error


class SqliteSource:
    """Implements :class:`~tertulia.store.copy.copying.Source`. Blocks while it reads."""

    def __init__(self, path: Path, lock: FileLock, connection: sqlite3.Connection) -> None:
        self._path = path
        self._lock = lock
        self._connection = connection

    @property
    def place(self) -> str:
        return str(self._path)

    async def count(self, table: sa.Table) -> int:
        with _typed_failures(self._path):
            return self._connection.execute(f"SELECT count(*) FROM {table.name}").fetchone()[0]  # noqa: S608  our own name

    async def batches(self, table: sa.Table, after: tuple[str | int, ...] | None = None) -> AsyncGenerator[list[Row]]:
        booleans = [place for place, column in enumerate(table.columns) if isinstance(column.type, sa.Boolean)]
        batch: list[Row] = []
        size = 0
        with _typed_failures(self._path):
            for row in self._connection.execute(_query(table, after is not None), after or ()):
                batch.append(_with_booleans(row, booleans) if booleans else row)
                size += weight(row)
                if len(batch) == BATCH_ROWS or size >= BATCH_BYTES:
                    yield batch
                    batch, size = [], 0
        if batch:
            yield batch

    async def close(self) -> None:
        self._connection.close()
        self._lock.release()


class SqliteTarget(SqliteSource):
    """A target. The search index is left to the server, as it always is."""

    async def begin(self, source: str) -> Mark | None:
        with _typed_failures(self._path):
            if _revision(self._connection) != COPYING:
                with self._transaction():
                    _refuse_data(self._connection, self._path)
                    for statement in _BEGIN:
                        self._connection.execute(statement)
                    self._connection.execute("INSERT INTO copying VALUES (?, ?, NULL)", (source, SCHEMA_REVISION))
            begun = self._connection.execute("SELECT source, revision, mark FROM copying").fetchone()
        return mark_of(begun, source, self.place)

    async def add(self, table: sa.Table, rows: Sequence[Row], mark: Mark) -> None:
        given = rows
        if table is messages:
            texts = search_texts(rows, bare=False)
            given = [(*row, text) for row, text in zip(rows, texts, strict=True)]
        with _typed_failures(self._path), self._transaction():
            self._connection.executemany(_insertion(table), given)
            self._connection.execute("UPDATE copying SET mark = ?", (msgspec.json.encode(mark).decode(),))

    async def finish(self) -> None:
        with _typed_failures(self._path):
            with self._transaction():
                for statement in _FINISH:
                    self._connection.execute(statement)
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    @contextmanager
    def _transaction(self) -> Generator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")


def _with_booleans(row: Row, places: Sequence[int]) -> Row:
    """SQLite has numbers for them."""
    values = list(row)
    for place in places:
        if values[place] is not None:
            values[place] = bool(values[place])
    return tuple(values)


@lru_cache
def _query(table: sa.Table, after: bool) -> str:  # noqa: FBT001  for the cache
    key = [column.name for column in key_columns(table)]
    names, order = ", ".join(table.columns.keys()), ", ".join(key)
    beyond = f" WHERE ({order}) > ({', '.join('?' for _ in key)})" if after else ""
    return f"SELECT {names} FROM {table.name}{beyond} ORDER BY {order}"  # noqa: S608  our own names


@lru_cache
def _insertion(table: sa.Table) -> str:
    names = [*table.columns.keys(), *(["text"] if table is messages else [])]
    return f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({', '.join('?' for _ in names)})"  # noqa: S608  as above
