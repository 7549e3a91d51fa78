"""A PostgreSQL for the tests of the stores."""

import os
from collections.abc import Iterator

import pytest

from tertulia.store.postgres import embedded as embedded_pg
from tests.support.databases import FAST, Database, shared_directory


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of the PostgreSQL that all test processes share."""
    server = embedded_pg.start(shared_directory(), FAST)
    yield server.url
    server.close()


@pytest.fixture(scope="session")
def database(postgres_server: str) -> Database:
    """A database of this test process's own, for tests that empty it first."""
    return Database.made(postgres_server, f"store_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}")
