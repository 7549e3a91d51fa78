"""How a database's connections are used, as the figures see it."""

from pathlib import Path

import pytest

from tertulia.settings import Settings
from tertulia.store.database import open_database
from tests.support.databases import Database

pytestmark = pytest.mark.anyio


async def test_a_postgresql_says_how_its_connections_are_used(database: Database, tmp_path: Path) -> None:
    opened = await open_database(Settings(db=database.url, db_pool_size=3, data_dir=tmp_path))
    assert opened.pool is not None
    assert (opened.pool.size, opened.pool.in_use, opened.pool.waiting) == (3, 0, 0)
    await opened.store.close()


async def test_a_file_has_no_connections_to_tell_of(tmp_path: Path) -> None:
    opened = await open_database(Settings(data_dir=tmp_path))
    assert opened.pool is None
    await opened.store.close()
