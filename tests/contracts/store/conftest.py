"""The stores that the contract is tested on."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tertulia.ports.store import Store
from tertulia.store.sqlite import open_sqlite


@pytest.fixture(scope="session")
def empty_sqlite_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database to copy, because migrating takes longer than most tests."""
    path = tmp_path_factory.mktemp("empty") / "tertulia.db"

    async def migrate() -> None:
        await (await open_sqlite(path)).close()

    asyncio.run(migrate())
    return path


@pytest.fixture(params=["sqlite"])
async def store(request: pytest.FixtureRequest, empty_sqlite_file: Path, tmp_path: Path) -> AsyncIterator[Store]:
    """An empty store of each kind there is."""
    path = tmp_path / "tertulia.db"
    shutil.copyfile(empty_sqlite_file, path)
    opened = await open_sqlite(path)
    yield opened
    await opened.close()
