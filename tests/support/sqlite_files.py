"""SQLite files for tests, with their tables made: making them takes longer than most tests."""

import asyncio
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

from tertulia.store.sqlite.store import open_sqlite


def with_tables(path: Path) -> Path:
    """The path, where there is now an empty database with the newest schema."""
    path.write_bytes(_empty())
    return path


@cache
def _empty() -> bytes:
    async def make(path: Path) -> None:
        await (await open_sqlite(path)).close()

    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(1) as thread:
        path = Path(folder) / "empty.db"
        thread.submit(asyncio.run, make(path)).result()  # in this thread a loop may be running
        return path.read_bytes()
