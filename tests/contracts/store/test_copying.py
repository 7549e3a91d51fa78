"""A database copied into another one: what it answers, and what keeps a copy from being made or believed."""

import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tertulia.domain.errors import CopyFailed, StoreUnavailable
from tertulia.ports.store import Store
from tertulia.store.copy import postgres as copy_postgres
from tertulia.store.copy import sqlite as copy_sqlite
from tertulia.store.copy.copying import TABLES, Checksum, Source, Target, Tell, copy
from tertulia.store.postgres import embedded as embedded_pg
from tertulia.store.postgres.store import open_postgres
from tertulia.store.sql.tables import metadata
from tertulia.store.sqlite.store import open_sqlite
from tests.contracts.store.makers import a_message, a_run, stored_agent, stored_conversation, stored_messages
from tests.contracts.store.random_history import answers, fill
from tests.support.databases import FAST, asked, bare_database, execute, kill_connections, shared_directory
from tests.support.sqlite_files import with_tables

pytestmark = pytest.mark.slow


class Stopped(Exception):
    """What ends a copy in the middle of a test."""


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    found = embedded_pg.start(shared_directory(), FAST)
    yield found.url
    found.close()


@pytest.fixture
def url(server: str) -> Iterator[str]:
    with bare_database(server, f"copy_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}") as made:
        yield made


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return with_tables(tmp_path / "tertulia.db")


def silent(what: str, done: int, total: int) -> None:
    """Nobody watches."""


class Watch:
    """Keeps how many rows were copied each time that it was told."""

    def __init__(self) -> None:
        self.copied: list[int] = []

    def __call__(self, what: str, done: int, total: int) -> None:
        assert done <= total
        if what == "Copying":
            self.copied.append(done)


def stopping_after(times: int) -> Tell:
    """Ends the copy when it was told of so many batches."""

    def tell(what: str, done: int, total: int) -> None:
        nonlocal times
        times -= 1
        if not times:
            raise Stopped

    return tell


async def copied(path: Path, url: str, tell: Tell = silent) -> dict[str, Checksum]:
    source = copy_sqlite.open_source(path)
    try:
        return await between(source, await copy_postgres.open_target(url), tell)
    finally:
        await source.close()


async def between(source: Source, target: Target, tell: Tell = silent) -> dict[str, Checksum]:
    try:
        return await copy(source, target, tell)
    finally:
        await target.close()


@pytest.mark.parametrize("seed", [2, 3])
async def test_a_copy_answers_every_question_as_the_original_does_and_so_does_one_of_it(
    path: Path, url: str, tmp_path: Path, seed: int
) -> None:
    store: Store = await open_sqlite(path)
    history = await fill(store, seed)
    expected = await answers(store, history)
    await store.close()

    found = await copied(path, url)
    assert found["messages"].rows > 100
    assert all(found[table.name].rows for table in TABLES), found
    store = await open_postgres(url)
    assert await answers(store, history) == expected
    await store.close()

    source = await copy_postgres.open_source(url)
    assert await between(source, await copy_sqlite.open_target(tmp_path / "back.db")) == found
    await source.close()
    store = await open_sqlite(tmp_path / "back.db")
    assert await answers(store, history) == expected
    await store.close()


async def test_what_is_written_to_a_copy_follows_what_was_copied(path: Path, url: str) -> None:
    store: Store = await open_sqlite(path)
    conversation = await stored_conversation(store)
    await stored_messages(store, conversation, *"abc")
    await store.close()
    await copied(path, url)
    store = await open_postgres(url)
    await stored_messages(store, conversation, "d")
    listed = await store.read(lambda tx: tx.messages.range(conversation.id, 1, 99))
    assert [message.text for message in listed] == [*"abcd"]
    await store.close()
    assert await asked(url, "SELECT max(seq) = count(*) FROM messages")


async def test_workers_are_left_out_and_their_runs_can_be_claimed(path: Path, url: str) -> None:
    store: Store = await open_sqlite(path)
    conversation = await stored_conversation(store)
    run = a_run(conversation)
    await store.write(lambda tx: tx.runs.insert(run, worker_id="worker-gone"))
    await store.write(lambda tx: tx.runs.note_call(run.id, "call-1"))
    await store.write(lambda tx: tx.workers.register("worker-gone", 1000))
    await store.close()
    await copied(path, url)
    store = await open_postgres(url)
    (claim,) = await store.write(lambda tx: tx.runs.claim("worker-new", 100))
    assert (claim.run, claim.token) == (run, 2)
    assert await store.read(lambda tx: tx.runs.noted_calls(run.id)) == {"call-1"}
    await store.close()


@pytest.mark.parametrize("batches", [1, 5, 14, 30])
async def test_a_copy_that_was_stopped_goes_on_where_it_was(path: Path, url: str, batches: int) -> None:
    store: Store = await open_sqlite(path)
    await fill(store, 5, operations=60)
    await store.close()
    with pytest.raises(Stopped):
        await copied(path, url, stopping_after(batches))
    with pytest.raises(StoreUnavailable, match="A copy into this database is not finished"):
        await open_postgres(url)
    watch = Watch()
    found = await copied(path, url, watch)
    assert watch.copied[-1] == sum(checksum.rows for checksum in found.values())
    assert watch.copied[0] > 0 or batches == 1
    await (await open_postgres(url)).close()


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from tertulia.store.copy import postgres as copy_postgres
from tertulia.store.copy import sqlite as copy_sqlite
from tertulia.store.copy.copying import copy

def tell(what, done, total):
    if done * 2 > total:
        os.kill(os.getpid(), signal.SIGKILL)

async def main():
    await copy(copy_sqlite.open_source(Path(sys.argv[1])), await copy_postgres.open_target(sys.argv[2]), tell)

asyncio.run(main())
"""


async def test_a_copy_that_was_killed_goes_on_where_it_was(path: Path, url: str) -> None:
    store: Store = await open_sqlite(path)
    conversation = await stored_conversation(store)
    added = [a_message(conversation, f"message {number}") for number in range(4000)]
    await store.write(lambda tx: tx.messages.append(conversation.id, added))
    await store.close()
    ended = subprocess.run([sys.executable, "-c", KILLED, str(path), url], timeout=60, check=False)  # noqa: ASYNC221  nothing else runs meanwhile
    assert ended.returncode == -signal.SIGKILL
    begun = await asked(url, "SELECT count(*) FROM messages")
    assert 0 < begun < 4001
    watch = Watch()
    found = await copied(path, url, watch)
    assert watch.copied[0] >= begun
    assert found["messages"].rows == 4001


async def test_a_copy_whose_connection_broke_goes_on_where_it_was(path: Path, url: str) -> None:
    store: Store = await open_sqlite(path)
    await fill(store, 7, operations=40)
    await store.close()

    def cut(what: str, done: int, total: int) -> None:
        if done * 2 > total:
            kill_connections(url)

    with pytest.raises(StoreUnavailable, match="cannot be used"):
        await copied(path, url, cut)
    watch = Watch()
    await copied(path, url, watch)
    assert watch.copied[0] > 0


async def test_what_a_killed_server_left_in_its_log_is_copied(path: Path, url: str, tmp_path: Path) -> None:
    store: Store = await open_sqlite(path)
    await stored_agent(store)
    for name in ("tertulia.db", "tertulia.db-wal"):
        shutil.copyfile(tmp_path / name, tmp_path / name.replace("tertulia", "left"))
    await store.close()
    assert (await copied(tmp_path / "left.db", url))["agents"].rows == 1


async def test_a_target_with_other_data_is_refused_and_left_alone(path: Path, url: str, tmp_path: Path) -> None:
    store: Store = await open_postgres(url)
    await stored_agent(store)
    await store.close()
    with pytest.raises(CopyFailed, match=r"already holds data \(agents\)"):
        await copied(path, url)
    await (await open_postgres(url)).close()

    other = await open_sqlite(tmp_path / "other.db")
    await stored_agent(other)
    await other.close()
    with pytest.raises(CopyFailed, match="already holds data"):
        await copy_sqlite.open_target(tmp_path / "other.db")


async def test_a_target_with_part_of_another_copy_is_refused(path: Path, url: str, tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        await copied(path, url, stopping_after(1))
    shutil.copyfile(path, tmp_path / "other.db")
    with pytest.raises(CopyFailed, match=f"holds part of a copy of {re.escape(str(path))}"):
        await copied(tmp_path / "other.db", url)
    with pytest.raises(CopyFailed, match="is itself the target of a copy"):
        await copy_postgres.open_source(url)
    await execute(url, "UPDATE copying SET revision = '0001'")
    with pytest.raises(CopyFailed, match="by another version of Tertulia"):
        await copied(path, url)


async def test_databases_that_servers_use_are_refused(path: Path, url: str) -> None:
    store: Store = await open_sqlite(path)
    with pytest.raises(CopyFailed, match=f"{os.getpid()}.* uses .* Stop it first"):
        copy_sqlite.open_source(path)
    with pytest.raises(CopyFailed, match="Stop it first"):
        await copy_sqlite.open_target(path)
    await store.close()
    store = await open_postgres(url)
    await store.write(lambda tx: tx.workers.register("worker-1", 1000))
    with pytest.raises(CopyFailed, match="1 worker uses"):
        await copied(path, url)
    with pytest.raises(CopyFailed, match="1 worker uses"):
        await copy_postgres.open_source(url)
    await store.close()


async def test_nobody_can_open_the_source_as_long_as_it_is_copied(path: Path) -> None:
    source = copy_sqlite.open_source(path)
    with pytest.raises(Exception, match="Another process"):
        await open_sqlite(path)
    await source.close()
    await (await open_sqlite(path)).close()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("UPDATE agents SET name = name || ' '", "agents has a row with different content"),
        ("UPDATE agents SET hidden = false", "agents has a row with different content"),
        ("UPDATE frames SET data = data || '\\x00'::bytea", "frames has a row with different content"),
        ("DELETE FROM messages WHERE seq = 1", "messages has .* rows instead of"),
    ],
)
async def test_a_row_that_differs_is_found(path: Path, url: str, change: str, told: str) -> None:
    store: Store = await open_sqlite(path)
    await fill(store, 6, operations=40)
    await store.close()

    def stop_before_checking(what: str, done: int, total: int) -> None:
        if what == "Checking":
            raise Stopped

    with pytest.raises(Stopped):
        await copied(path, url, stop_before_checking)
    await execute(url, change)
    for _ in range(2):
        with pytest.raises(CopyFailed, match=told):
            await copied(path, url)
    with pytest.raises(StoreUnavailable, match="not finished"):
        await open_postgres(url)


@pytest.mark.parametrize(
    "name", ["a\0b", random.Random(1).randbytes(9000).hex()], ids=["NUL", "too long to be indexed"]
)
async def test_a_row_that_postgres_cannot_hold_is_named(path: Path, url: str, name: str) -> None:
    store: Store = await open_sqlite(path)
    await stored_agent(store, name="fine")
    agent = await stored_agent(store, name=name)
    await store.close()
    with pytest.raises(CopyFailed, match=f"cannot hold a row of agents .id {agent.id}.: .*Change or delete it"):
        await copied(path, url)
    store = await open_sqlite(path)
    await store.write(lambda tx: tx.agents.delete(agent.id))
    await store.close()
    assert (await copied(path, url))["agents"].rows == 1


async def test_what_is_no_database_of_this_version_is_refused(path: Path, url: str, tmp_path: Path) -> None:
    with pytest.raises(CopyFailed, match="There is no database"):
        copy_sqlite.open_source(tmp_path / "missing.db")
    (tmp_path / "text.db").write_text("no database at all, but a text")
    with pytest.raises(StoreUnavailable, match="not a database"):
        copy_sqlite.open_source(tmp_path / "text.db")
    sqlite3.connect(tmp_path / "empty.db").close()
    with pytest.raises(CopyFailed, match="nothing of Tertulia's"):
        copy_sqlite.open_source(tmp_path / "empty.db")
    with pytest.raises(CopyFailed, match="nothing of Tertulia's"):
        await copy_postgres.open_source(url)
    with pytest.raises(StoreUnavailable, match="cannot be opened"):
        await copy_postgres.open_target(url.replace("/copy_", "/missing_"))
    connection = sqlite3.connect(path)
    connection.execute("UPDATE alembic_version SET version_num = '0001'")
    connection.commit()
    connection.close()
    with pytest.raises(CopyFailed, match=r"has the schema 0001, and .* `tertulia migrate up"):
        copy_sqlite.open_source(path)


def test_every_table_but_the_workers_is_copied() -> None:
    assert {table.name for table in TABLES} == {*metadata.tables} - {"workers"}
