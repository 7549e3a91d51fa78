"""The stores that the contract is tested on."""

import os
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from tertulia.ports.store import Store
from tertulia.store.postgres import embedded as embedded_pg
from tertulia.store.sqlite.store import open_sqlite
from tests.support.databases import FAST, Database, shared_directory
from tests.support.sqlite_files import with_tables


@pytest.fixture(scope="session")
def postgres_database() -> Iterator[Database]:
    """A database of this test process in the PostgreSQL that all of them share."""
    server = embedded_pg.start(shared_directory(), FAST)
    yield Database.made(server.url, f"contract_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}")
    server.close()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def emptied(request: pytest.FixtureRequest, tmp_path: Path) -> AbstractAsyncContextManager[Store]:
    """An empty store of each kind there is, not open yet."""
    if request.param == "postgresql":
        database: Database = request.getfixturevalue("postgres_database")
        return database.emptied()
    return _opened(with_tables(tmp_path / "tertulia.db"))


@asynccontextmanager
async def _opened(path: Path) -> AsyncGenerator[Store]:
    store = await open_sqlite(path)
    yield store
    await store.close()


@pytest.fixture
async def store(emptied: AbstractAsyncContextManager[Store]) -> AsyncIterator[Store]:
    async with emptied as opened:
        yield opened
