"""A Postgres database to copy from or into."""

import asyncio
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Final

import asyncpg
import msgspec
import sqlalchemy as sa
from asyncpg import exceptions
from sqlalchemy.dialects import postgresql

from tertulia.domain.errors import CopyFailed, StoreUnavailable
from tertulia.store.copy.copying import (
    BATCH_BYTES,
    BATCH_ROWS,
    TABLES,
    Mark,
    Row,
    check_revision,
    key_columns,
    key_of,
    mark_of,
    search_texts,
    weight,
)
from tertulia.store.postgres.embedded import EmbeddedPostgres
from tertulia.store.postgres.failures import reason
from tertulia.store.postgres.pool import connect
from tertulia.store.postgres.store import location, look_at, open_postgres
from tertulia.store.schema import COPYING, SCHEMA_REVISION
from tertulia.store.sql.postgres_session import PostgresSession
from tertulia.store.sql.search import VECTOR
from tertulia.store.sql.tables import messages

_FIRST_ROWS: Final = 10
"""How many rows are asked for before it is known how long they are."""
_COPY_LOCK: Final = 0x7465_7274_636F_7079
"""An advisory lock of the target."""
_LIVE: Final = f"SELECT count(*) FROM workers WHERE lease_until >= {PostgresSession.now}"  # noqa: S608  a constant
_BEGIN: Final = "CREATE TABLE copying (source text NOT NULL, revision text NOT NULL, mark text)"
_REVISE: Final = "UPDATE alembic_version SET version_num = $1"
# Not for a crash of the database in between: what a batch loses then, its mark loses with it.
_AS_TARGET: Final = (
    "SET synchronous_commit = off; SET lock_timeout = '10s'; SET idle_in_transaction_session_timeout = 0"
)
_AS_SOURCE: Final = "SET idle_in_transaction_session_timeout = 0"
# A row that Postgres refuses: a text with a NUL, a name that is too long for an index.
_REFUSALS: Final = (
    exceptions.DataError,
    exceptions.IntegrityConstraintViolationError,
    exceptions.ProgramLimitExceededError,
)
_DIALECT: Final = postgresql.dialect()


async def open_source(url: str, server: EmbeddedPostgres | None = None) -> "PostgresSource":
    """Look at the database as it is now. ``server`` is what runs it, if we do.

    :raises CopyFailed: if a server uses it, or it has not this version's schema.
    :raises StoreUnavailable: if it cannot be reached.
    """
    source = PostgresSource(url, await _connect(url, server), server)
    try:
        with source.told():
            await source.check()
            await source.connection.execute(_AS_SOURCE)
            await source.connection.transaction(isolation="repeatable_read", readonly=True).start()
    except BaseException:
        await source.close()
        raise
    return source


async def open_target(url: str, server: EmbeddedPostgres | None = None) -> "PostgresTarget":
    """Make the database ready for a copy into it.

    :raises CopyFailed: if a server or another copy uses it, or it holds data of its own.
    :raises StoreUnavailable: if it cannot be reached.
    """
    target = PostgresTarget(url, await _connect(url, server), server)
    try:
        with target.told():
            await target.connection.execute(_AS_TARGET)
            await target.prepare(url)
    except BaseException:
        await target.close()
        raise
    return target


async def _connect(url: str, server: EmbeddedPostgres | None) -> "asyncpg.Connection[Any]":
    try:
        await look_at(url)  # says what is wrong with it
        return await connect(url)
    except BaseException:
        if server is not None:
            await asyncio.to_thread(server.close)
        raise


class PostgresSource:
    """Implements :class:`~tertulia.store.copy.copying.Source`. Made by :func:`open_source`."""

    def __init__(self, url: str, connection: "asyncpg.Connection[Any]", server: EmbeddedPostgres | None = None) -> None:
        self.connection = connection
        self._place = location(url)
        self._server = server

    @property
    def place(self) -> str:
        return self._place

    @contextmanager
    def told(self) -> Generator[None]:
        try:
            yield
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise StoreUnavailable(f"The database {self.place} cannot be used: {reason(error)}") from error

    async def check(self) -> None:
        check_revision(await self.revision(), self.place, "postgresql://…")
        await self.refuse_workers()

    async def revision(self) -> str | None:
        if await self.connection.fetchval("SELECT to_regclass('alembic_version')::text") is None:
            return None
        return await self.connection.fetchval("SELECT version_num FROM alembic_version")

    async def refuse_workers(self) -> None:
        if live := await self.connection.fetchval(_LIVE):
            raise CopyFailed(
                f"{live} {'worker uses' if live == 1 else 'workers use'} {self.place}. Stop all servers on it first; "
                "one that was killed counts until its lease expires."
            )

    async def count(self, table: sa.Table) -> int:
        with self.told():
            return await self.connection.fetchval(f"SELECT count(*) FROM {table.name}")  # noqa: S608  our own name

    async def batches(self, table: sa.Table, after: tuple[str | int, ...] | None = None) -> AsyncGenerator[list[Row]]:
        with self.told():
            async with self.connection.transaction():
                cursor = await self.connection.cursor(_query(table, after is not None), *(after or ()))
                wanted = _FIRST_ROWS
                while records := await cursor.fetch(wanted):
                    rows = [tuple(record) for record in records]
                    yield rows
                    mean = sum(map(weight, rows)) // len(rows) + 1
                    wanted = max(1, min(BATCH_ROWS, 2 * wanted, BATCH_BYTES // mean))

    async def close(self) -> None:
        # Everything worth keeping was committed; what is under way need not be waited for.
        self.connection.terminate()
        if self._server is not None:
            await asyncio.to_thread(self._server.close)


class PostgresTarget(PostgresSource):
    """Implements :class:`~tertulia.store.copy.copying.Target`. Made by :func:`open_target`."""

    async def prepare(self, url: str) -> None:
        """Lock it against other copies, and make the tables unless a copy was begun already."""
        try:
            await self.connection.execute(f"SELECT pg_advisory_lock({_COPY_LOCK})")
        except exceptions.LockNotAvailableError as error:
            raise CopyFailed(f"Another copy into {self.place} is under way.") from error
        revision = await self.revision()
        if revision == COPYING:
            return
        if revision is not None:
            await self._refuse_data()
        await (await open_postgres(url, 1)).close()
        await self.refuse_workers()

    async def begin(self, source: str) -> Mark | None:
        with self.told():
            if await self.revision() != COPYING:
                async with self.connection.transaction():
                    await self._refuse_data()
                    await self.connection.execute(_BEGIN)
                    await self.connection.execute(
                        "INSERT INTO copying (source, revision) VALUES ($1, $2)", source, SCHEMA_REVISION
                    )
                    await self.connection.execute(_REVISE, COPYING)
            begun = await self.connection.fetchrow("SELECT source, revision, mark FROM copying")
        assert begun is not None  # noqa: S101  it is there as long as the revision says so
        return mark_of(tuple(begun), source, self.place)

    async def add(self, table: sa.Table, rows: Sequence[Row], mark: Mark) -> None:
        with self.told():
            try:
                async with self.connection.transaction():
                    await self._insert(table, rows)
                    await self.connection.execute("UPDATE copying SET mark = $1", msgspec.json.encode(mark).decode())
            except _REFUSALS as error:
                await self._name_refused(table, rows)
                raise CopyFailed(f"{self.place} refuses rows of {table.name}: {error}") from error

    async def finish(self) -> None:
        with self.told():
            await self.connection.execute("ANALYZE")
            async with self.connection.transaction():
                await self.connection.execute("SET LOCAL synchronous_commit = on")
                for table in TABLES:
                    for column in key_columns(table):
                        await self._count_on(table, column)
                await self.connection.execute("DROP TABLE copying")
                await self.connection.execute(_REVISE, SCHEMA_REVISION)

    async def _refuse_data(self) -> None:
        for table in TABLES:
            there = await self.connection.fetchval("SELECT to_regclass($1)::text", table.name)
            if there and await self.connection.fetchval(f"SELECT EXISTS (SELECT 1 FROM {table.name})"):  # noqa: S608  our own name
                raise CopyFailed(f"{self.place} already holds data ({table.name}). Copy into an empty database.")

    async def _insert(self, table: sa.Table, rows: Sequence[Row]) -> None:
        columns = [list(column) for column in zip(*rows, strict=True)]
        if table is messages:
            columns.append(search_texts(rows, bare=True))
        await self.connection.execute(_insertion(table), *columns)

    async def _name_refused(self, table: sa.Table, rows: Sequence[Row]) -> None:
        """:raises CopyFailed: naming the first row that cannot be stored by itself."""
        for row in rows:
            attempt = self.connection.transaction()
            await attempt.start()
            try:
                await self._insert(table, [row])
            except _REFUSALS as error:
                names = [column.name for column in key_columns(table)]
                key = ", ".join(f"{name} {value}" for name, value in zip(names, key_of(table, row), strict=True))
                raise CopyFailed(
                    f"PostgreSQL cannot hold a row of {table.name} ({key}): {error}. Change or delete it in the "
                    "source, and run the command again."
                ) from error
            finally:
                await attempt.rollback()

    async def _count_on(self, table: sa.Table, column: sa.Column[Any]) -> None:
        sequence = await self.connection.fetchval("SELECT pg_get_serial_sequence($1, $2)", table.name, column.name)
        if sequence is not None:
            await self.connection.execute(
                f"SELECT setval('{sequence}', coalesce(max({column.name}), 0) + 1, false) FROM {table.name}"  # noqa: S608  our own names
            )


def _type(column: sa.Column[Any]) -> str:
    return column.type.compile(_DIALECT)


@lru_cache
def _query(table: sa.Table, after: bool) -> str:  # noqa: FBT001  for the cache
    # By code point whatever the collation of a column, as SQLite sorts.
    key = [
        f'{column.name} COLLATE "C"' if isinstance(column.type, sa.Text) else column.name
        for column in key_columns(table)
    ]
    marks = [f"${place}::{_type(column)}" for place, column in enumerate(key_columns(table), 1)]
    names, order = ", ".join(table.columns.keys()), ", ".join(key)
    beyond = f" WHERE ({order}) > ({', '.join(marks)})" if after else ""
    return f"SELECT {names} FROM {table.name}{beyond} ORDER BY {order}"  # noqa: S608  our own names


@lru_cache
def _insertion(table: sa.Table) -> str:
    types = {column.name: _type(column) for column in table.columns}
    values = {name: f"given.{name}" for name in types}
    if table is messages:
        types["words"], values["words"] = "TEXT", VECTOR.format("given.words")
    arrays = ", ".join(f"${place}::{type_}[]" for place, type_ in enumerate(types.values(), 1))
    names = ", ".join(types)
    return f"""
        INSERT INTO {table.name} ({names}) SELECT {", ".join(values.values())}
        FROM unnest({arrays}) AS given ({names})
    """  # noqa: S608  our own names
