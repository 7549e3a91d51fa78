"""Databases for tests: one PostgreSQL for all processes of a test run, and an empty store on it for each test.

It runs without syncing its files, as no test's data outlives the test; what becomes of data when it is killed is tested
on ones of their own.
"""

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any, Final
from urllib.parse import urlsplit

import asyncpg

from tertulia.store.postgres import embedded as embedded_pg
from tertulia.store.postgres.store import PostgresStore, open_postgres
from tertulia.store.sql.tables import metadata

FAST: Final = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "200",
    "deadlock_timeout": "50ms",
}
POOL_SIZE: Final = 4
KILL_ALL: Final = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"  # fmt: skip  # noqa: E501  one statement


def shared_directory() -> Path:
    """The same for all processes of a test run, and not under a directory that only its owner may enter."""
    run = os.getppid() if "PYTEST_XDIST_WORKER" in os.environ else os.getpid()
    return Path(tempfile.gettempdir()) / f"tertulia-tests-{run}" / "pg"


def remove_shared_directory() -> None:
    shutil.rmtree(shared_directory().parent, ignore_errors=True)


class OwnPostgres:
    """A PostgreSQL of a test's own, which it may crash."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory / "pg"
        self._settings = {**FAST, "fsync": "on", "synchronous_commit": "on"}
        self._server = embedded_pg.start(self._directory, self._settings)

    @property
    def url(self) -> str:
        return self._server.url

    async def crash(self) -> None:
        """End all its processes at once and start it again, as after a failure of the machine."""
        await asyncio.to_thread(embedded_pg.control, self._directory, "stop", "-m", "immediate")
        again = await asyncio.to_thread(embedded_pg.start, self._directory, self._settings)
        await asyncio.to_thread(self._server.close)
        self._server = again

    def close(self) -> None:
        self._server.close()


@contextmanager
def own_postgres() -> Generator[OwnPostgres]:
    directory = Path(tempfile.mkdtemp(prefix="tertulia-test-"))
    server = OwnPostgres(directory)
    try:
        yield server
    finally:
        server.close()
        shutil.rmtree(directory)


async def execute(url: str, *statements: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def asked(url: str, sql: str, *parameters: Any) -> Any:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(sql, *parameters)
    finally:
        await connection.close()


def kill_connections(url: str) -> None:
    """End all connections to the database, from inside a work, which must not give way to the event loop for it."""
    thread = Thread(target=lambda: asyncio.run(execute(url, KILL_ALL)))
    thread.start()
    thread.join()


@contextmanager
def bare_database(server: str, name: str) -> Generator[str]:
    """The URL of a database with nothing in it, not even tables, beside the one of the server's URL."""
    asyncio.run(execute(server, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)', f'CREATE DATABASE "{name}"'))
    yield urlsplit(server)._replace(path=f"/{name}").geturl()
    asyncio.run(execute(server, f'DROP DATABASE "{name}" WITH (FORCE)'))


@dataclass(frozen=True, slots=True)
class Database:
    """A database of this process's own, with the newest schema."""

    url: str

    @classmethod
    def made(cls, server: str, name: str) -> "Database":
        """The database ``name`` beside the one of the server's URL."""
        parts = urlsplit(server)
        url = parts._replace(path=f"/{name}").geturl()

        async def make() -> None:
            await execute(server, f'DROP DATABASE IF EXISTS "{name}"', f'CREATE DATABASE "{name}"')
            await (await open_postgres(url)).close()

        asyncio.run(make())
        return cls(url)

    @asynccontextmanager
    async def emptied(self) -> AsyncGenerator[PostgresStore]:
        """An open store with nothing in it."""
        names = ", ".join(table.name for table in metadata.tables.values())
        await execute(self.url, f"TRUNCATE {names} RESTART IDENTITY CASCADE")
        store = await open_postgres(self.url, POOL_SIZE)
        try:
            yield store
        finally:
            await store.close()
