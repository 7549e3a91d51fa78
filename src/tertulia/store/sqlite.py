"""The store on one SQLite file: a thread that writes, and readers that never wait for it."""

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final, TypeVar, cast

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from tertulia.domain.errors import StoreUnavailable
from tertulia.ports.store import Transaction
from tertulia.store.lock import FileLock
from tertulia.store.sql.transaction import SqlTransaction
from tertulia.store.writer import Writer, translated

T = TypeVar("T")

SCHEMA_REVISION: Final = "0001"
"""The newest migration. A database that has it is opened without loading Alembic."""

_READERS: Final = 2
_BUSY_TIMEOUT_MS: Final = 10_000


async def open_sqlite(path: Path) -> "SqliteStore":
    """Open the database file, made and migrated as needed, for this process alone.

    :raises DataDirectoryHeld: if another process has it open.
    :raises StoreUnavailable: if the file cannot be opened or migrated.
    """
    return SqliteStore(*await asyncio.to_thread(_prepare, path))


def _prepare(path: Path) -> tuple[Path, FileLock, sa.Engine, sa.Connection]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock.acquire(path)
    except OSError as error:
        raise StoreUnavailable(f"The directory of the database {path} cannot be used: {error}") from error
    try:
        engine = _engine(path)
        connection = _migrated(engine)
    except DBAPIError as error:
        lock.release()
        raise StoreUnavailable(f"The database {path} cannot be opened: {error.orig}") from error
    except BaseException:
        lock.release()
        raise
    return path, lock, engine, connection


def _engine(path: Path) -> sa.Engine:
    def connect() -> sqlite3.Connection:
        driver = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        driver.execute("PRAGMA journal_mode = WAL")
        driver.execute("PRAGMA synchronous = NORMAL")
        driver.execute("PRAGMA foreign_keys = ON")
        driver.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")
        # SQLite's own knows ASCII alone.
        driver.create_function("lower", 1, _lower, deterministic=True)
        return driver

    # AUTOCOMMIT is SQLAlchemy's word for leaving BEGIN and COMMIT to us.
    return sa.create_engine("sqlite://", creator=connect, poolclass=NullPool, isolation_level="AUTOCOMMIT")


def _lower(text: str | None) -> str | None:
    return None if text is None else text.lower()


def _migrated(engine: sa.Engine) -> sa.Connection:
    """The writer's connection, to a database with the newest schema."""
    connection = engine.connect()
    try:
        if _revision(connection) != SCHEMA_REVISION:
            # Alembic takes longer to import than everything else here takes to start.
            from tertulia.store.migrate import upgrade  # noqa: PLC0415

            connection.exec_driver_sql("BEGIN IMMEDIATE")
            upgrade(connection)
            connection.exec_driver_sql("COMMIT")
    except BaseException:
        connection.close()
        raise
    return connection


def _revision(connection: sa.Connection) -> str | None:
    known = connection.exec_driver_sql("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").first()
    if known is None:
        return None
    return connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()


class _Reader:
    """A connection that cannot write."""

    def __init__(self, engine: sa.Engine) -> None:
        self._connection = engine.connect()
        self._driver = cast("sqlite3.Connection", self._connection.connection.driver_connection)
        self._driver.execute("PRAGMA query_only = ON")
        self._transaction = SqlTransaction(self._connection)

    def read(self, work: Callable[[Transaction], T]) -> T:
        try:
            self._driver.execute("BEGIN")
            return work(self._transaction)
        except (sqlite3.Error, DBAPIError) as error:
            raise translated(error) from error
        finally:
            if self._driver.in_transaction:
                self._driver.execute("ROLLBACK")

    def close(self) -> None:
        self._connection.close()


class SqliteStore:
    """Implements :class:`~tertulia.ports.store.Store`. Made by :func:`open_sqlite`, used on that event loop."""

    def __init__(self, path: Path, lock: FileLock, engine: sa.Engine, connection: sa.Connection) -> None:
        self._path = path
        self._lock = lock
        self._writer = Writer(connection)
        self._readers: SimpleQueue[_Reader] = SimpleQueue()
        for _ in range(_READERS):
            self._readers.put(_Reader(engine))
        self._reading = ThreadPoolExecutor(_READERS, thread_name_prefix="tertulia-reader")
        self._loop = asyncio.get_running_loop()
        self._closed = False

    async def read(self, work: Callable[[Transaction], T]) -> T:
        self._check_open()
        return await self._loop.run_in_executor(self._reading, self._read, work)

    async def write(self, work: Callable[[Transaction], T]) -> T:
        self._check_open()
        return await self._writer.submit(work)

    async def close(self) -> None:
        """Finish what was asked before, and let go of the file. Closing twice is nothing."""
        if self._closed:
            return
        self._closed = True
        await asyncio.to_thread(self._shut_down)

    def describe(self) -> dict[str, Any]:
        return {"engine": "sqlite", "location": str(self._path), "revision": SCHEMA_REVISION}

    def _check_open(self) -> None:
        if self._closed:
            raise StoreUnavailable("The server is shutting down.")

    def _read(self, work: Callable[[Transaction], T]) -> T:
        reader = self._readers.get()
        try:
            return reader.read(work)
        finally:
            self._readers.put(reader)

    def _shut_down(self) -> None:
        self._reading.shutdown()
        for _ in range(_READERS):
            self._readers.get().close()
        self._writer.stop()
        self._lock.release()
