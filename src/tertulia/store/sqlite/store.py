"""The store on one SQLite file: a thread that writes, and readers that never wait for it."""

import asyncio
import ctypes
import os
import signal
import sqlite3
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from tertulia.domain.errors import StoreUnavailable
from tertulia.ports.store import Transaction
from tertulia.store.schema import SCHEMA_REVISION
from tertulia.store.sql.search import SearchIndexBehind
from tertulia.store.sql.words import index_terms
from tertulia.store.sqlite.lock import FileLock
from tertulia.store.sqlite.reader import Reader, TookTooLong
from tertulia.store.sqlite.writer import Writer
from tertulia.store.writability import Writability

T = TypeVar("T")

_PR_SET_PDEATHSIG: Final = 1
"""Of Linux's prctl: the signal that a process gets when its parent dies."""

_READER_THREADS: Final = 2
_READ_HERE_SECONDS: Final = 0.002
"""How long a read may keep the event loop from everything else before it is moved to a thread."""
_READS_A_ROUND: Final = 20
_CHECKPOINT_PAGES: Final = 4000
"""How long the log grows before it is moved into the database file: 16 MB, some hundreds of messages."""
_SCARCE_BYTES: Final = 4 * 1024 * 1024
"""With less left on the disk it is tried whether there is room for a message."""
_BUSY_TIMEOUT_MS: Final = 10_000
_CACHE_KB: Final = 500
"""Of each connection, of which there are four; behind it is the system's own cache of the file."""
_PRAGMAS: Final = (
    "journal_mode = WAL",
    "synchronous = NORMAL",
    "foreign_keys = ON",
    f"cache_size = -{_CACHE_KB}",
    f"busy_timeout = {_BUSY_TIMEOUT_MS}",
    f"wal_autocheckpoint = {_CHECKPOINT_PAGES}",
)


async def open_sqlite(path: Path) -> "SqliteStore":
    """Open the database file, made and migrated as needed, for this process alone.

    :raises DataDirectoryHeld: if another process has it open.
    :raises StoreUnavailable: if the file cannot be opened or migrated.
    """
    return SqliteStore(*await asyncio.to_thread(_prepare, path))


def migrate_apart(path: Path) -> None:
    """Make or migrate the database in a process of its own, which takes with it the 9 MB that Alembic needs for that.

    Only before there are threads. Where it fails nothing is said: opening the database meets the same and can say it.
    """
    if sys.platform != "linux" or _is_migrated(path):  # elsewhere a fork is not safe once libraries are loaded
        return
    child = os.fork()
    if child == 0:
        try:
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            _, _, _, connection = _prepare(path)
            connection.close()
        finally:
            os._exit(0)
    try:
        os.waitpid(child, 0)
    except BaseException:
        os.kill(child, signal.SIGKILL)
        raise


def _is_migrated(path: Path) -> bool:
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as driver:
            return driver.execute("SELECT version_num FROM alembic_version").fetchone() == (SCHEMA_REVISION,)
    except sqlite3.Error:
        return False


def _prepare(path: Path) -> tuple[Path, FileLock, sa.Engine, sa.Connection]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock.acquire(path)
    except OSError as error:
        raise StoreUnavailable(f"The directory of the database {path} cannot be used: {error}") from error
    try:
        engine = _engine(path)
        connection = _migrate(engine)
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
        try:
            for pragma in _PRAGMAS:
                driver.execute(f"PRAGMA {pragma}")
            driver.create_function("folded", 1, _fold, deterministic=True)
            driver.create_function("strpos", 2, _strpos, deterministic=True)
            driver.create_function("index_terms", 1, index_terms, deterministic=True)
        except BaseException:
            driver.close()  # the file is no database, or the disk is full
            raise
        return driver

    # AUTOCOMMIT is SQLAlchemy's word for leaving BEGIN and COMMIT to us. Parameters are people's words: not for logs.
    return sa.create_engine(
        "sqlite://", creator=connect, poolclass=NullPool, isolation_level="AUTOCOMMIT", hide_parameters=True
    )


def _fold(text: str | None) -> str | None:
    """Lower case; SQLite's own function for it knows ASCII alone."""
    return None if text is None else text.lower()


def _strpos(text: str | None, part: str) -> int | None:
    """Where the part is in the text, as PostgreSQL's function of this name says it; in linear time."""
    return None if text is None else text.find(part) + 1


def _migrate(engine: sa.Engine) -> sa.Connection:
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


class SqliteStore:
    """Implements :class:`~tertulia.ports.store.Store`. Made by :func:`open_sqlite`, used on that event loop."""

    def __init__(self, path: Path, lock: FileLock, engine: sa.Engine, connection: sa.Connection) -> None:
        self._path = path
        self._lock = lock
        self._writer = Writer(connection)
        self._writability = Writability(self.write, self._is_room_scarce)
        self._loop = asyncio.get_running_loop()
        self._here = Reader(engine.connect(), waits=False)
        self._elsewhere: SimpleQueue[Reader] = SimpleQueue()
        for _ in range(_READER_THREADS):
            self._elsewhere.put(Reader(engine.connect()))
        self._threads = ThreadPoolExecutor(_READER_THREADS, thread_name_prefix="tertulia-reader")
        self._closed = False
        self._reads_this_round = 0

    @property
    def shared(self) -> bool:
        return False

    async def read(self, work: Callable[[Transaction], T]) -> T:
        """Run ``work`` here and now if the database is quick about it, and again in a thread if not.

        Most reads take 10 to 30 µs; handing them to a thread and back takes longer than that.
        """
        await self._take_turn()
        self._check_open()
        try:
            return self._here.read(work, seconds=_READ_HERE_SECONDS)
        except TookTooLong:
            may_lag = False
        except SearchIndexBehind:
            await self._writer.index_messages()
            may_lag = True
        try:
            return await self._read_elsewhere(work, may_lag=may_lag)
        except SearchIndexBehind:
            self._check_open()
            await self._writer.index_messages()
            return await self._read_elsewhere(work, may_lag=True)

    async def write(self, work: Callable[[Transaction], T]) -> T:
        self._check_open()
        try:
            return await self._writer.submit(work)
        except StoreUnavailable as error:
            self._writability.refused(error)
            raise

    async def check_writing(self, seconds: float) -> None:
        self._check_open()
        await self._writability.check(seconds)

    async def close(self) -> None:
        """Finish what was asked before, and let go of the file. Closing twice is nothing."""
        if self._closed:
            return
        self._closed = True
        self._here.close()
        await asyncio.to_thread(self._shut_down)

    def describe(self) -> dict[str, Any]:
        return {"engine": "sqlite", "location": str(self._path), "revision": SCHEMA_REVISION}

    def _is_room_scarce(self) -> bool:
        disk = os.statvfs(self._path.parent)
        return disk.f_bavail * disk.f_frsize < _SCARCE_BYTES

    def _check_open(self) -> None:
        if self._closed:
            raise StoreUnavailable("The server is shutting down.")

    async def _take_turn(self) -> None:
        """Let the event loop go round now and then: who reads until something changes has to let it change."""
        if not self._reads_this_round:
            self._loop.call_soon(self._begin_round)
        self._reads_this_round += 1
        if self._reads_this_round > _READS_A_ROUND:
            await asyncio.sleep(0)

    def _begin_round(self) -> None:
        self._reads_this_round = 0

    async def _read_elsewhere(self, work: Callable[[Transaction], T], *, may_lag: bool) -> T:
        def read() -> T:
            reader = self._elsewhere.get()
            try:
                return reader.read(work, may_lag=may_lag)
            finally:
                self._elsewhere.put(reader)

        self._check_open()
        return await self._loop.run_in_executor(self._threads, read)

    def _shut_down(self) -> None:
        try:
            self._threads.shutdown()
            for _ in range(_READER_THREADS):
                self._elsewhere.get().close()
            self._writer.stop()
        finally:
            self._lock.release()
