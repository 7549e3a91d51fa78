"""What is particular to the store on one SQLite file: the lock, the schema, and surviving a kill."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import cast

import pytest

from tertulia.domain.errors import DataDirectoryHeld, StoreUnavailable
from tertulia.ports.queries import AgentQuery, SearchQuery
from tertulia.ports.store import Transaction
from tertulia.store.migrate import newest_revision
from tertulia.store.sql.search import backlog
from tertulia.store.sql.sqlite_session import SqliteSession
from tertulia.store.sql.tables import metadata
from tertulia.store.sql.transaction import SqlTransaction
from tertulia.store.sqlite.store import SCHEMA_REVISION, open_sqlite
from tests.contracts.store.makers import a_run, an_agent, at, stored_agent, stored_conversation, stored_messages
from tests.support.schemas import without_later_migrations

# Writes an agent a time for ever and says the id of each that is acknowledged.
WRITER = """
import asyncio, sys
from pathlib import Path
from tertulia.store.sqlite.store import open_sqlite
from tests.contracts.store.makers import stored_agent

async def main():
    store = await open_sqlite(Path(sys.argv[1]))
    while True:
        agents = await asyncio.gather(*(stored_agent(store) for _ in range(4)))
        print(*(agent.id for agent in agents), sep="\\n", flush=True)

asyncio.run(main())
"""
ROOT = Path(__file__).parents[2]


def test_the_known_revision_is_the_newest_migration() -> None:
    assert newest_revision() == SCHEMA_REVISION


async def test_a_migrated_database_has_the_tables_that_statements_are_built_for(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    await (await open_sqlite(path)).close()
    with closing(sqlite3.connect(path)) as database:
        for table in metadata.tables.values():
            described = database.execute(f"PRAGMA table_info({table.name})").fetchall()
            assert {(name, bool(not_null)) for _, name, _, not_null, _, _ in described} >= {
                (column.name, not column.nullable) for column in table.columns if not column.primary_key
            }, table.name
            indices = {name for (name,) in database.execute(
                "SELECT name FROM sqlite_master WHERE type = 'index' AND tbl_name = ? AND sql IS NOT NULL", [table.name]
            )}  # fmt: skip
            assert indices == {index.name for index in table.indexes}, table.name
    database.close()


async def test_a_database_of_the_known_revision_is_opened_without_alembic(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    await (await open_sqlite(path)).close()
    code = (
        "import asyncio, sys; from pathlib import Path; from tertulia.store.sqlite.store import open_sqlite\n"
        "asyncio.run(open_sqlite(Path(sys.argv[1])))\n"
        "assert 'alembic' not in sys.modules"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, str(path))
    assert await process.wait() == 0


async def test_a_database_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    await (await open_sqlite(path)).close()
    with sqlite3.connect(path) as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    database.close()
    with pytest.raises(StoreUnavailable, match="newer version"):
        await open_sqlite(path)


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    path.write_text("this is not a database, and long enough not to be taken for an empty one")
    with pytest.raises(StoreUnavailable, match="cannot be opened"):
        await open_sqlite(path)


async def test_a_directory_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnavailable, match="cannot be used"):
        await open_sqlite(tmp_path / "file" / "t.db")


async def test_one_store_holds_the_database_until_it_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "new directory" / "t.db"
    store = await open_sqlite(path)
    with pytest.raises(DataDirectoryHeld, match=f"pid {os.getpid()}"):
        await open_sqlite(path)
    await store.close()
    await (await open_sqlite(path)).close()


def test_closing_leaves_one_file_and_the_lock(tmp_path: Path) -> None:
    async def open_and_close() -> None:
        await (await open_sqlite(tmp_path / "t.db")).close()

    asyncio.run(open_and_close())
    assert {file.name for file in tmp_path.iterdir()} == {"t.db", "t.db.lock"}


async def test_a_kill_loses_nothing_acknowledged_and_frees_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")])}
    writer = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WRITER, str(path), stdout=asyncio.subprocess.PIPE, env=environment
    )
    assert writer.stdout is not None
    lines = [await writer.stdout.readline() for _ in range(40)]
    with pytest.raises(DataDirectoryHeld, match=f"pid {writer.pid}"):
        await open_sqlite(path)
    writer.kill()
    lines += (await writer.stdout.read()).splitlines(keepends=True)
    assert await writer.wait() == -signal.SIGKILL
    acknowledged = [line.decode().strip() for line in lines if line.endswith(b"\n")]
    store = await open_sqlite(path)
    found = await store.read(lambda tx: tx.agents.get_many(acknowledged))
    assert [agent.id for agent in found] == acknowledged
    await store.close()


async def test_a_database_that_another_process_has_locked_is_unavailable_and_then_usable_again(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    store = await open_sqlite(path)
    # The timeout itself is ten seconds; the writer's connection is the only one that waits.
    store._writer._driver.execute("PRAGMA busy_timeout = 1")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="locked"):
        await store.write(lambda tx: None)
    assert await store.read(lambda tx: tx.agents.find(AgentQuery())) == []
    other.execute("ROLLBACK")
    other.close()
    assert await store.write(lambda tx: 1) == 1
    await store.close()


async def test_works_that_wait_are_committed_together(tmp_path: Path) -> None:
    store = await open_sqlite(tmp_path / "t.db")
    statements: list[str] = []
    store._writer._driver.set_trace_callback(statements.append)
    await asyncio.gather(*(store.write(lambda tx: None) for _ in range(100)))
    assert statements.count("COMMIT") < 10
    await store.close()


async def test_a_read_is_a_snapshot(tmp_path: Path) -> None:
    """What is written while a read is under way is not seen by its later statements."""
    store = await open_sqlite(tmp_path / "t.db")
    writer = store._writer

    def read_twice(tx: Transaction) -> list[int]:
        before = len(tx.agents.find(AgentQuery()))
        writer._transaction.agents.insert(an_agent())
        return [before, len(tx.agents.find(AgentQuery()))]

    assert await store.read(read_twice) == [0, 0]
    assert len(await store.read(lambda tx: tx.agents.find(AgentQuery()))) == 1
    await store.close()


async def test_a_slow_read_leaves_the_event_loop_and_is_finished_elsewhere(tmp_path: Path) -> None:
    store = await open_sqlite(tmp_path / "t.db")
    threads: list[str] = []

    def count_slowly(tx: Transaction) -> int:
        threads.append(threading.current_thread().name)
        session = cast("SqlTransaction", tx).agents._session
        return session.row(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300000) SELECT count(*) FROM n"
        )[0]

    assert await store.read(count_slowly) == 300_000
    assert [name.partition("_")[0] for name in threads] == ["MainThread", "tertulia-reader"]
    await store.close()


async def test_the_search_index_follows_in_batches_and_is_complete_for_every_search(tmp_path: Path) -> None:
    store = await open_sqlite(tmp_path / "t.db")
    session = store._writer._session
    conversation = await stored_conversation(store)
    await stored_messages(store, conversation, "first word")
    assert backlog(session) > 0
    found = await store.read(lambda tx: tx.messages.search(SearchQuery(text="word")))
    assert [message.text for message in found] == ["first word"]
    assert backlog(session) == 0

    await stored_messages(store, conversation, *("many words" for _ in range(700)))
    while await store.write(lambda tx: backlog(session)) >= 700:
        """The writer adds some as soon as no write waits."""
    found = await store.write(lambda tx: tx.messages.search(SearchQuery(text="words", limit=999)))
    assert len(found) == 700
    await store.close()


async def test_messages_deleted_before_and_after_they_were_indexed_leave_a_sound_index(tmp_path: Path) -> None:
    store = await open_sqlite(tmp_path / "t.db")
    conversation = await stored_conversation(store)
    for text in ("indexed word", "new word"):
        await stored_messages(store, conversation, text)
        if text == "indexed word":
            await store.read(lambda tx: tx.messages.search(SearchQuery(text="word")))
    await store.write(lambda tx: tx.messages.reset(conversation.id))
    await stored_messages(store, conversation, "last word")
    found = await store.read(lambda tx: tx.messages.search(SearchQuery(text="word")))
    assert [message.text for message in found] == ["last word"]
    await store.write(
        lambda tx: cast("SqlTransaction", tx).agents._session.run(
            "INSERT INTO messages_fts(messages_fts) VALUES ('integrity-check')"
        )
    )
    await store.close()


BEFORE_TERMS = """
DROP TRIGGER messages_fts_delete;
DROP TABLE messages_fts;
CREATE VIRTUAL TABLE messages_fts USING fts5(
    text, content='messages', content_rowid='seq', tokenize='unicode61 remove_diacritics 2');
CREATE TRIGGER messages_fts_delete AFTER DELETE ON messages
    WHEN old.text <> '' AND old.seq <= (SELECT upto FROM search_index) BEGIN
    INSERT INTO messages_fts(messages_fts, rowid, text) VALUES ('delete', old.seq, old.text); END;
INSERT INTO messages_fts(rowid, text) SELECT seq, text FROM messages;
UPDATE search_index SET upto = (SELECT max(seq) FROM messages);
UPDATE alembic_version SET version_num = '0005';
"""


async def test_messages_from_before_the_index_knew_their_script_are_found_after_an_upgrade(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    store = await open_sqlite(path)
    conversation = await stored_conversation(store)
    await stored_messages(store, conversation, "codex里记忆断裂了", *(f"word {number}" for number in range(300)))
    await store.close()
    with sqlite3.connect(path) as database:
        database.executescript(";".join([BEFORE_TERMS, *without_later_migrations()]))
    database.close()
    store = await open_sqlite(path)
    session = store._writer._session
    for text, expected in (("断裂", 1), ("codex", 1), ("word", 300)):
        query = SearchQuery(text=text, limit=999)
        found = await store.read(lambda tx, query=query: tx.messages.search(query))
        assert len(found) == expected, text
    assert backlog(session) == 0
    await store.close()


async def test_conversations_that_asked_before_the_deadline_was_noted_are_found_after_an_upgrade(
    tmp_path: Path,
) -> None:
    path = tmp_path / "t.db"
    store = await open_sqlite(path)
    asked = await stored_conversation(store)
    for conversation, reason in ((asked, "requires_approval"), (await stored_conversation(store), "end_turn")):
        run = a_run(conversation, status="completed", stop_reason=reason)
        await store.write(lambda tx, run=run: tx.runs.insert(run))
    await store.close()
    with closing(sqlite3.connect(path)) as database:
        database.executescript(
            ";".join([*without_later_migrations(), "UPDATE alembic_version SET version_num = '0006'"])
        )
    store = await open_sqlite(path)
    assert await store.read(lambda tx: tx.conversations.asked_before(at(1), 9)) == [asked.id]
    await store.close()


async def test_an_index_that_is_far_behind_is_filled_while_nobody_asks(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    store = await open_sqlite(path)
    await stored_messages(store, await stored_conversation(store), *("word" for _ in range(900)))
    await store.close()
    with sqlite3.connect(path) as database:
        database.executescript(";".join([BEFORE_TERMS, *without_later_migrations()]))
    database.close()
    store = await open_sqlite(path)
    while (
        await store.read(lambda tx: backlog(cast("SqliteSession", cast("SqlTransaction", tx).agents._session))) >= 100
    ):
        """Nothing but this asks for anything, and it does not write."""
    await store.close()


async def test_a_full_disk_fails_what_was_being_written_and_nothing_else(tmp_path: Path) -> None:
    store = await open_sqlite(tmp_path / "t.db")
    kept = await stored_agent(store)
    driver = store._writer._driver
    (pages,) = driver.execute("PRAGMA page_count").fetchone()
    driver.execute(f"PRAGMA max_page_count = {pages}").fetchone()
    with pytest.raises(StoreUnavailable, match="full"):
        await stored_agent(store, system="x" * 1_000_000)
    assert await store.read(lambda tx: tx.agents.find(AgentQuery())) == [kept]
    driver.execute("PRAGMA max_page_count = 1000000").fetchone()
    later = await stored_agent(store, created_at=at(1))
    assert await store.read(lambda tx: tx.agents.find(AgentQuery())) == [later, kept]
    await store.close()


MIGRATED_APART = """
import asyncio, sys
from pathlib import Path
from tertulia.store.sqlite.store import migrate_apart, open_sqlite
migrate_apart(Path(sys.argv[1]))
async def main():
    await (await open_sqlite(Path(sys.argv[1]))).close()
asyncio.run(main())
print("alembic" in sys.modules)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="nowhere else is it done apart")
def test_what_migrates_a_database_is_gone_from_memory_afterwards(tmp_path: Path) -> None:
    ran = subprocess.run([sys.executable, "-c", MIGRATED_APART, tmp_path / "t.db"], capture_output=True, check=True)
    assert ran.stdout == b"False\n"


@pytest.mark.skipif(sys.platform != "linux", reason="nowhere else is it done apart")
def test_a_database_that_cannot_be_migrated_apart_is_told_of_when_it_is_opened(tmp_path: Path) -> None:
    (tmp_path / "t.db").write_bytes(b"no database at all" * 100)
    ran = subprocess.run(
        [sys.executable, "-c", MIGRATED_APART, tmp_path / "t.db"], capture_output=True, check=False, text=True
    )
    assert ran.stderr.count("cannot be opened: file is not a database") == 1
