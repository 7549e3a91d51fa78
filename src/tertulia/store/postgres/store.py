"""The store on a PostgreSQL database, which any number of workers share."""

import asyncio
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from types import CodeType
from typing import Any, Final, TypeVar, cast
from urllib.parse import parse_qs, urlsplit

import asyncpg
import sqlalchemy as sa
import structlog
from asyncpg import exceptions

from tertulia.domain.errors import StoreUnavailable
from tertulia.ports.store import Transaction
from tertulia.store.postgres.connection import Connection, OutcomeUnknown
from tertulia.store.postgres.embedded import EmbeddedPostgres
from tertulia.store.postgres.failures import Unavailable, is_passing, reason
from tertulia.store.postgres.pool import Pool
from tertulia.store.postgres.pooler import refuse_shared_session
from tertulia.store.postgres.reindexing import UNFINISHED, reindex
from tertulia.store.schema import SCHEMA_REVISION
from tertulia.store.sql.postgres_session import Mark, Mode, NeedsSnapshot
from tertulia.store.writability import Writability

T = TypeVar("T")

DEFAULT_POOL_SIZE: Final = 8
OLDEST_VERSION: Final = 14

_log = structlog.get_logger(__name__)

_PATIENCE_SECONDS: Final = 5.0
"""How long a work waits for a database that is away before its caller is told."""
_PATIENCE_AT_START_SECONDS: Final = 15.0
_ATTEMPTS: Final = 10
"""How often a work is run that others keep coming in the way of."""
_OUTCOME_SECONDS: Final = 30.0
_PAUSE_SECONDS: Final = 0.05
_FREE_CONNECTIONS: Final = """
    SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
        - (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')::int
"""
# Written and not just read, so that it waits for a transaction that is still being committed.
_LAST_MARK: Final = """
    INSERT INTO commit_marks (connection, mark) VALUES ($1, 0)
    ON CONFLICT (connection) DO UPDATE SET made_at = now() RETURNING mark
"""
# Many start at once: each forgets what no other is just forgetting.
_FORGET_MARKS: Final = """
    DELETE FROM commit_marks WHERE connection IN (
        SELECT connection FROM commit_marks WHERE made_at < now() - interval '1 hour' FOR UPDATE SKIP LOCKED
    )
"""
_MIGRATION_LOCK: Final = 0x7465_7274_756C_6961
"""An advisory lock of the database: the bytes of our name."""


async def open_postgres(
    url: str, pool_size: int = DEFAULT_POOL_SIZE, server: EmbeddedPostgres | None = None
) -> "PostgresStore":
    """Open the database, migrated as needed, whoever else has it open. The URL is as libpq takes it.

    ``server`` is what runs the database, if we do; it is let go of with the store.

    :raises StoreUnavailable: if it cannot be reached, is too old, or has a newer schema.
    """
    pool = Pool(url, pool_size)
    try:
        async with pool.connection(_PATIENCE_AT_START_SECONDS) as connection:
            await _check(url, connection)
            if await _revision(connection) != SCHEMA_REVISION:
                await _migrate(url)
            await connection.ask(_FORGET_MARKS)
            unfinished = await connection.ask(UNFINISHED)
    except BaseException as error:
        await pool.close()
        if server is not None:
            await asyncio.to_thread(server.close)
        if isinstance(error, (asyncpg.PostgresError, Unavailable)):
            raise _cannot_be_opened(url, error) from error
        raise
    store = PostgresStore(pool, location(url), server)
    if unfinished:
        store.begin_reindexing()
    return store


@dataclass(frozen=True, slots=True)
class Seen:
    """A database as it was found. ``revision`` None means that it has no tables; ``connections`` are those left."""

    version: str
    revision: str | None
    connections: int


async def look_at(url: str) -> Seen:
    """Look whether the database could be opened, without changing anything.

    :raises StoreUnavailable: if it cannot be reached, is too old, or has the wrong encoding.
    """
    pool = Pool(url, 1)
    try:
        async with pool.connection(0) as connection:
            await _check(url, connection)
            return Seen(
                version=(await connection.ask("SHOW server_version")).partition(" ")[0],
                revision=await _revision(connection),
                connections=await connection.ask(_FREE_CONNECTIONS),
            )
    except Unavailable as error:
        raise _cannot_be_opened(url, error) from error
    finally:
        await pool.close()


def _cannot_be_opened(url: str, error: BaseException) -> StoreUnavailable:
    return StoreUnavailable(f"The database {location(url)} cannot be opened: {reason(error.__cause__ or error)}")


def location(url: str) -> str:
    """Where the database is, without the user and the password."""
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    host = parts.netloc.rpartition("@")[2] or ",".join(query.get("host", ["localhost"]))
    return f"{host}/{parts.path.removeprefix('/') or query.get('dbname', [''])[0]}"


async def _check(url: str, connection: Connection) -> None:
    version = connection.driver.get_server_version()
    if version.major < OLDEST_VERSION:
        raise StoreUnavailable(f"PostgreSQL {OLDEST_VERSION} or newer is needed; this is {version.major}.")
    encoding = await connection.ask("SHOW server_encoding")
    if encoding != "UTF8":
        raise StoreUnavailable(f"The database has the encoding {encoding}; create one with the encoding UTF8.")
    await refuse_shared_session(url, connection.driver)


async def _revision(connection: Connection) -> str | None:
    if await connection.ask("SELECT to_regclass('alembic_version')::text") is None:
        return None
    return await connection.ask("SELECT version_num FROM alembic_version")


async def _migrate(url: str) -> None:
    """Have the newest schema: whoever has the lock makes it, however long that takes, and the others wait for it.

    They look again and again rather than wait in a statement, which would be given up when it takes too long. The lock
    is the connection's: it ends with a process that dies.
    """
    pool = Pool(url, 1, hurried=False)
    try:
        async with pool.connection(_PATIENCE_AT_START_SECONDS) as connection:
            told = False
            while await _revision(connection) != SCHEMA_REVISION:
                if await connection.ask("SELECT pg_try_advisory_lock($1)", _MIGRATION_LOCK):
                    await connection.migrate(_upgrade)
                    return
                if not told:
                    _log.info("waiting_for_migration", database=location(url))
                    told = True
                await asyncio.sleep(_PAUSE_SECONDS * (1 + random.random()))  # noqa: S311  not a secret
    finally:
        await pool.close()  # and with its connection the lock


def _upgrade(connection: sa.Connection) -> None:
    # Alembic takes longer to import than everything else here takes to start; those who wait do not need it.
    from tertulia.store.migrate import upgrade  # noqa: PLC0415

    upgrade(connection)


class PostgresStore:
    """Implements :class:`~tertulia.ports.store.Store`. Made by :func:`open_postgres`, used on that event loop.

    A work is run again when another transaction came in its way, or the connection broke before it could be committed.
    If the connection breaks in the very commit, the database is asked afterwards what became of the transaction.
    """

    def __init__(self, pool: Pool, place: str, server: EmbeddedPostgres | None = None) -> None:
        self.pool = pool
        self._place = place
        self._writability = Writability(self.write)
        self._server = server
        self._works: set[asyncio.Task[Any]] = set()
        self._closed = False
        self._reindexing: asyncio.Task[None] | None = None
        # The reads that turned out to be more than one statement, by the code of their work.
        self._long: set[CodeType | type] = set()

    @property
    def shared(self) -> bool:
        """Whether other processes may use the database."""
        return True

    async def read(self, work: Callable[[Transaction], T]) -> T:
        """Run ``work`` as a single statement if that is what it turns out to be, else again on a snapshot.

        A transaction around a statement would take three times as long.
        """
        return await self._shielded(self._read(work))

    async def write(self, work: Callable[[Transaction], T]) -> T:
        try:
            return await self._shielded(self._run("write", work))
        except StoreUnavailable as error:
            self._writability.refused(error)
            raise

    async def check_writing(self, seconds: float) -> None:
        await self._writability.check(seconds)

    def begin_reindexing(self) -> None:
        """Give the messages of an older version their search terms, beside everything else."""
        self._reindexing = asyncio.create_task(reindex(self.write), name="reindexing")

    async def close(self) -> None:
        """Finish what was asked before, and close the connections. Closing twice is nothing."""
        self._closed = True
        if self._reindexing is not None:
            self._reindexing.cancel()
            await asyncio.wait([self._reindexing])
        if self._works:
            await asyncio.wait(self._works)
        await self.pool.close()
        if self._server is not None:
            await asyncio.to_thread(self._server.close)

    def describe(self) -> dict[str, Any]:
        return {"engine": "postgresql", "location": self._place, "revision": SCHEMA_REVISION}

    async def _shielded(self, work: Coroutine[Any, Any, T]) -> T:
        """A caller that is cancelled does not stop the work: a connection is never left in the middle of something."""
        if self._closed:
            work.close()
            raise StoreUnavailable("The server is shutting down.")
        task = asyncio.get_running_loop().create_task(work)
        self._works.add(task)
        task.add_done_callback(self._forget)
        return await asyncio.shield(task)

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._works.discard(task)
        if not task.cancelled():
            task.exception()  # seen, for a caller who is gone

    async def _read(self, work: Callable[[Transaction], T]) -> T:
        code = _code(work)
        if code not in self._long:
            try:
                return await self._run("statement", work)
            except NeedsSnapshot:
                self._long.add(code)
        return await self._run("snapshot", work)

    async def _run(self, mode: Mode, work: Callable[[Transaction], T]) -> T:
        attempt = 0
        loop = asyncio.get_running_loop()
        until = loop.time() + _PATIENCE_SECONDS
        while True:
            attempt += 1
            try:
                async with self.pool.connection(_PATIENCE_SECONDS) as connection:
                    return await connection.perform(mode, work)
            except OutcomeUnknown as unknown:
                if await self._was_committed(unknown.mark):
                    return unknown.result
            except Unavailable:
                if loop.time() > until:
                    raise
                await asyncio.sleep(_PAUSE_SECONDS * attempt)
            except Exception as error:
                if not is_passing(error):
                    raise
                if attempt == _ATTEMPTS:
                    raise StoreUnavailable("The database is too busy for this change; try again.") from error
                # Those who met do not come back together.
                await asyncio.sleep(_PAUSE_SECONDS * attempt * random.random())  # noqa: S311  not a secret

    async def _was_committed(self, mark: Mark) -> bool:
        """What became of a transaction whose connection broke in its commit.

        Its mark tells. The number that Postgres gives a transaction does not: after a crash it may be given again.

        :raises StoreUnavailable: if the database does not come back to tell.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + _OUTCOME_SECONDS
        while loop.time() < until:
            try:
                async with self.pool.connection(until - loop.time()) as connection:
                    return await connection.ask(_LAST_MARK, mark.connection) == mark.number
            except (Unavailable, exceptions.LockNotAvailableError):
                # It went away again, as a database does that is just coming back, or the commit takes its time.
                await asyncio.sleep(_PAUSE_SECONDS)
        raise StoreUnavailable("It is not known whether the change was stored; check before repeating it.")


def _code(work: Callable[..., Any]) -> CodeType | type:
    """What tells works apart that do the same: lambdas and partials are new objects each time."""
    function = getattr(work, "func", work)
    code: CodeType | None = getattr(function, "__code__", None)
    return code or cast("type", type(function))
