"""A copy of the SQLite file that is made while the server has it open, as docs/operations.md says."""

import sqlite3
from pathlib import Path

import pytest

from tertulia.store.sqlite.store import open_sqlite
from tests.contracts.store.makers import an_agent

pytestmark = pytest.mark.anyio


async def test_a_copy_that_is_made_while_the_server_writes_is_whole(tmp_path: Path) -> None:
    store = await open_sqlite(tmp_path / "tertulia.db")
    agent = an_agent()
    await store.write(lambda tx: tx.agents.insert(agent))
    (tmp_path / "backup").mkdir()
    source = sqlite3.connect(tmp_path / "tertulia.db")
    copy = sqlite3.connect(tmp_path / "backup" / "tertulia.db")
    with copy:
        source.backup(copy)
    source.close()
    copy.close()
    await store.write(lambda tx: tx.agents.delete(agent.id))
    await store.close()
    restored = await open_sqlite(tmp_path / "backup" / "tertulia.db")
    assert await restored.read(lambda tx: tx.agents.get(agent.id)) == agent
    await restored.close()
