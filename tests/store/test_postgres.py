"""What is particular to the store on PostgreSQL: workers beside each other, and connections that break."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import nullcontext, suppress
from pathlib import Path
from threading import Thread
from typing import Any
from unittest.mock import Mock

import asyncpg
import pytest
import sqlalchemy as sa
from msgspec.structs import replace

from tertulia.domain.agents import Agent, AgentActivity
from tertulia.domain.errors import InvalidArgument, StoreUnavailable
from tertulia.domain.messages import Message
from tertulia.ports.queries import AgentQuery, SearchQuery
from tertulia.ports.store import Transaction
from tertulia.store.postgres import pool, pooler
from tertulia.store.postgres import store as postgres
from tertulia.store.postgres.connection import Connection
from tertulia.store.postgres.failures import is_refusal, reason
from tertulia.store.postgres.store import PostgresStore, location, open_postgres
from tertulia.store.schema import SCHEMA_REVISION
from tertulia.store.sql.tables import metadata
from tests.contracts.store.makers import (
    a_message,
    a_run,
    an_agent,
    at,
    stored_agent,
    stored_conversation,
    stored_messages,
)
from tests.support.databases import KILL_ALL, Database, asked, execute, kill_connections, own_postgres
from tests.support.schemas import without_later_migrations

COUNT_ALL = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


@pytest.fixture
async def store(database: Database) -> AsyncIterator[PostgresStore]:
    async with database.emptied() as opened:
        yield opened


async def names(store: PostgresStore) -> list[str]:
    return sorted(agent.name for agent in await store.read(lambda tx: tx.agents.find(AgentQuery())))


async def test_ten_that_open_a_new_database_at_once_make_it_once(postgres_server: str) -> None:
    url = postgres_server.replace("/tertulia?", "/ten?")
    await execute(postgres_server, "DROP DATABASE IF EXISTS ten", "CREATE DATABASE ten")
    stores = await asyncio.gather(*(open_postgres(url, 1) for _ in range(10)))
    assert {store.describe()["revision"] for store in stores} == {SCHEMA_REVISION}
    await asyncio.gather(*(stored_agent(store) for store in stores))
    assert len(await names(stores[0])) == 10
    await asyncio.gather(*(store.close() for store in stores))
    assert await asked(url, COUNT_ALL) == 0


async def test_a_migration_may_take_its_time_and_its_lock_ends_with_it(
    postgres_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgres_server.replace("/tertulia?", "/slow?")
    await execute(postgres_server, "DROP DATABASE IF EXISTS slow", "CREATE DATABASE slow")
    seen: dict[str, Any] = {}

    def upgrade(connection: sa.Connection) -> None:
        for limit in ("idle_in_transaction_session_timeout", "lock_timeout", "statement_timeout"):
            seen[limit] = connection.exec_driver_sql(f"SHOW {limit}").scalar()
        upgrade_it(connection)

    upgrade_it = postgres._upgrade
    monkeypatch.setattr(postgres, "_upgrade", upgrade)
    await (await open_postgres(url, 1)).close()
    assert set(seen.values()) == {"0"}
    assert await asked(url, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == 0


def test_a_database_without_room_for_more_connections_says_what_to_change() -> None:
    said = reason(asyncpg.exceptions.TooManyConnectionsError("sorry, too many clients already"))
    assert said.startswith("sorry, too many clients already. Raise max_connections")
    assert "TERTULIA_DB_POOL_SIZE" in said


async def test_a_migrated_database_has_the_tables_that_statements_are_built_for(database: Database) -> None:
    connection = await asyncpg.connect(database.url)
    for table in metadata.tables.values():
        columns = await connection.fetch(
            "SELECT column_name, is_nullable = 'NO' FROM information_schema.columns WHERE table_name = $1", table.name
        )
        assert {tuple(column) for column in columns} >= {(c.name, not c.nullable) for c in table.columns}, table.name
        found = await connection.fetch("SELECT indexname, indexdef FROM pg_indexes WHERE tablename = $1", table.name)
        indices = {name: "WHERE" in definition for name, definition in found}
        for index in table.indexes:
            assert indices[str(index.name)] == (index.dialect_options["postgresql"]["where"] is not None), index.name
    await connection.close()


async def test_a_database_of_a_newer_version_is_refused(postgres_server: str) -> None:
    url = postgres_server.replace("/tertulia?", "/newer?")
    await execute(postgres_server, "DROP DATABASE IF EXISTS newer", "CREATE DATABASE newer")
    await (await open_postgres(url)).close()
    await execute(url, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StoreUnavailable, match="newer version"):
        await open_postgres(url)


async def test_a_database_of_another_encoding_is_refused(postgres_server: str) -> None:
    url = postgres_server.replace("/tertulia?", "/latin?")
    make = "CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0"
    await execute(postgres_server, "DROP DATABASE IF EXISTS latin", make)
    with pytest.raises(StoreUnavailable, match="encoding LATIN1"):
        await open_postgres(url)


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("postgresql://user:secret@db.example.org:5433/team?sslmode=require", "db.example.org:5433/team"),
        ("postgresql://user:secret@/team?host=/run/postgresql", "/run/postgresql/team"),
        ("postgresql://user:sec%40ret@one,two:5433/team", "one,two:5433/team"),
    ],
)
def test_a_location_has_no_password(url: str, place: str) -> None:
    assert location(url) == place


async def test_a_database_that_cannot_be_opened_is_named_without_its_password(postgres_server: str) -> None:
    url = postgres_server.replace("tertulia@/tertulia?", "tertulia:secret@/missing?")
    with pytest.raises(
        StoreUnavailable, match='missing cannot be opened: database "missing" does not exist'
    ) as refusal:
        await open_postgres(url)
    assert "secret" not in str(refusal.value)


async def test_tls_is_what_the_url_says() -> None:
    with pytest.raises(StoreUnavailable, match="sslmode"):
        await open_postgres("postgresql://user@127.0.0.1:1/x?sslmode=nonsense")

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readexactly(8))
        writer.write(b"N")  # no TLS here
        await writer.drain()
        writer.close()

    asked: list[bytes] = []
    server = await asyncio.start_server(refuse, "127.0.0.1")
    port = server.sockets[0].getsockname()[1]
    async with server:
        with pytest.raises(StoreUnavailable, match="SSL"):
            await open_postgres(f"postgresql://user@127.0.0.1:{port}/x?sslmode=require")
    assert asked == [b"\0\0\0\x08\x04\xd2\x16\x2f"]


async def test_a_certificate_file_that_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="sslrootcert"):
        await open_postgres(f"postgresql://user@127.0.0.1:1/x?sslmode=verify-full&sslrootcert={tmp_path}/none.crt")


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        (ssl.SSLCertVerificationError("certificate verify failed"), "sslrootcert"),
        (asyncpg.exceptions.DuplicatePreparedStatementError("already exists\nHINT: the driver's"), "session mode"),
        (asyncpg.exceptions.InvalidSQLStatementNameError("does not exist"), "session mode"),
    ],
)
def test_what_has_to_be_mended_before_there_can_be_a_connection_is_said_in_one_line(
    error: Exception, hint: str
) -> None:
    said = reason(error)
    assert is_refusal(error)
    assert hint in said
    assert "\n" not in said


@pytest.mark.parametrize("shared", [True, False])
async def test_a_pooler_that_shares_sessions_is_refused(
    database: Database, monkeypatch: pytest.MonkeyPatch, shared: bool
) -> None:
    """Poolers invent the number that they give a connection."""
    opened: list[asyncpg.Connection[Any]] = []

    async def connect(url: str) -> Any:
        opened.append(await asyncpg.connect(url))
        return opened[0] if shared else opened[-1]

    monkeypatch.setattr(asyncpg.Connection, "get_server_pid", Mock(return_value=0))
    monkeypatch.setattr(pooler, "connect", connect)
    first = await connect(database.url)
    with pytest.raises(StoreUnavailable, match="session mode") if shared else nullcontext():
        await pooler.refuse_shared_session(database.url, first)
    for each in opened:
        each.terminate()


async def test_a_connection_has_its_limits_without_asking_for_them_at_its_start(database: Database) -> None:
    """PgBouncer refuses connections that begin with settings it does not know."""
    connection = await pool.connect(database.url)
    assert await connection.fetchval("SHOW lock_timeout") == "10s"
    assert await connection.fetchval("SELECT source FROM pg_settings WHERE name = 'lock_timeout'") == "session"
    await connection.close()


async def test_no_more_works_run_at_once_than_there_are_connections(database: Database) -> None:
    async with database.emptied() as store:
        await asyncio.gather(*(stored_agent(store, name=f"{number}") for number in range(40)))
        assert len(await names(store)) == 40
        assert await asked(database.url, COUNT_ALL) <= store.pool.size
        assert (store.pool.in_use, store.pool.waiting) == (0, 0)


async def test_two_workers_append_to_one_conversation_without_a_clash(database: Database, store: PostgresStore) -> None:
    conversation = await stored_conversation(store)
    other = await open_postgres(database.url, 2)

    async def append(store: PostgresStore, text: str) -> Message:
        message = a_message(conversation, text)
        await store.write(lambda tx: tx.messages.append(conversation.id, [message, a_message(conversation)]))
        return message

    sent = await asyncio.gather(*(append([store, other][n % 2], f"{n}") for n in range(30)))
    history = await store.read(lambda tx: tx.messages.range(conversation.id, 1, 100))
    assert len(history) == 60
    assert {message.id for message in history[::2]} == {message.id for message in sent}
    await other.close()


async def test_what_a_write_has_read_stays_until_it_has_written_it(database: Database, store: PostgresStore) -> None:
    agent = await stored_agent(store, name="")
    other = await open_postgres(database.url, 2)

    def extend(tx: Transaction) -> None:
        found = tx.agents.get(agent.id)
        tx.agents.update(replace(found, name=found.name + "x"))

    await asyncio.gather(*([store, other][n % 2].write(extend) for n in range(20)))
    assert await names(store) == ["x" * 20]
    await other.close()


async def test_works_that_wait_for_each_other_are_run_again(store: PostgresStore) -> None:
    one, two = await stored_agent(store), await stored_agent(store)

    def rename(first: Agent, second: Agent, tx: Transaction) -> None:
        for agent in (first, second):
            tx.agents.update(replace(tx.agents.get(agent.id), name="new"))

    pairs = [(one, two), (two, one)] * 6
    await asyncio.gather(*(store.write(lambda tx, pair=pair: rename(*pair, tx)) for pair in pairs))
    assert await names(store) == ["new", "new"]


async def test_an_agents_activity_does_not_wait_for_another_run_to_be_committed(
    database: Database, store: PostgresStore
) -> None:
    agent = await stored_agent(store)
    activity = AgentActivity(last_run_duration_ms=7)
    other = await asyncpg.connect(database.url)
    async with other.transaction():
        await other.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", agent.id)
        await store.write(lambda tx: tx.agents.set_activity(agent.id, activity))
        assert await store.read(lambda tx: tx.agents.activity([agent.id])) == {agent.id: activity}
    await other.close()


async def test_a_read_sees_one_instant(database: Database, store: PostgresStore) -> None:
    await stored_agent(store)

    def count_twice(tx: Transaction) -> tuple[int, int]:
        before = len(tx.agents.find(AgentQuery()))
        thread = Thread(target=lambda: asyncio.run(execute(database.url, "UPDATE agents SET hidden = true")))
        thread.start()
        thread.join()
        return before, len(tx.agents.find(AgentQuery()))

    assert await store.read(count_twice) in {(1, 1), (0, 0)}


async def test_a_refused_statement_cannot_be_passed_over(store: PostgresStore) -> None:
    agent = await stored_agent(store)
    new = an_agent()

    def work(tx: Transaction) -> None:
        with suppress(Exception):  # this is what a work must not do
            tx.agents.insert(agent)
        tx.agents.insert(new)

    with pytest.raises(Exception, match="duplicate key"):
        await store.write(work)
    assert len(await names(store)) == 1


async def test_a_text_that_cannot_be_stored_is_the_callers_mistake(store: PostgresStore) -> None:
    with pytest.raises(InvalidArgument, match="NUL"):
        await stored_agent(store, name="a\0b")


async def test_connections_that_were_cut_while_idle_are_replaced(database: Database, store: PostgresStore) -> None:
    await asyncio.gather(*(stored_agent(store) for _ in range(8)))
    await execute(database.url, KILL_ALL)
    await asyncio.gather(*(stored_agent(store) for _ in range(8)))
    assert len(await names(store)) == 16


async def test_a_work_whose_connection_was_cut_is_run_again(database: Database, store: PostgresStore) -> None:
    runs: list[Agent] = []

    def work(tx: Transaction) -> None:
        agent = an_agent(name=f"{len(runs)}")
        runs.append(agent)
        tx.agents.insert(agent)
        if len(runs) == 1:
            kill_connections(database.url)
        tx.agents.get(agent.id)

    await store.write(work)
    assert await names(store) == ["1"]


async def test_a_read_whose_connection_was_cut_is_run_again(database: Database, store: PostgresStore) -> None:
    agent = await stored_agent(store)
    runs: list[int] = []

    def work(tx: Transaction) -> Agent:
        runs.append(1)
        if len(runs) == 1:
            kill_connections(database.url)
        return tx.agents.get(agent.id)

    assert await store.read(work) == agent


@pytest.mark.parametrize("committed", [True, False])
async def test_a_commit_whose_connection_broke_took_effect_once(
    store: PostgresStore, monkeypatch: pytest.MonkeyPatch, committed: bool
) -> None:
    """Whether the database heard of it or not: it is asked what became of the transaction."""
    runs: list[Agent] = []
    cut: list[str] = []
    execute = asyncpg.Connection.execute

    async def breaking(self: Any, query: str, *parameters: Any, **options: Any) -> Any:
        if query == "COMMIT" and not cut:
            cut.append(query)
            if committed:
                await execute(self, query)
            self.terminate()
            raise ConnectionResetError
        return await execute(self, query, *parameters, **options)

    def work(tx: Transaction) -> Agent:
        runs.append(an_agent(name=f"{len(runs)}"))
        tx.agents.insert(runs[-1])
        return runs[-1]

    monkeypatch.setattr(asyncpg.Connection, "execute", breaking)
    stored = await store.write(work)
    assert cut
    assert await names(store) == [stored.name] == [f"{len(runs) - 1}"]
    assert len(runs) == (1 if committed else 2)


async def test_a_crash_under_load_loses_and_doubles_nothing_and_the_store_goes_on() -> None:
    with own_postgres() as server:
        store = await open_postgres(server.url, 4)
        stored: list[str] = []
        failed: list[str] = []
        stopping = asyncio.Event()

        async def write(worker: int) -> None:
            number = 0
            while not stopping.is_set():
                number += 1
                name = f"{worker}.{number}"
                try:
                    await stored_agent(store, name=name)
                    stored.append(name)
                except StoreUnavailable:
                    failed.append(name)

        writers = [asyncio.create_task(write(worker)) for worker in range(8)]
        for _ in range(2):
            before = len(stored)
            await server.crash()
            while len(stored) < before + 20:
                await store.read(lambda tx: tx.agents.find(AgentQuery()))
        stopping.set()
        await asyncio.gather(*writers)
        found = [agent.name for agent in await store.read(lambda tx: tx.agents.find(_all()))]
        assert len(found) == len(set(found))
        assert set(stored) <= set(found) <= {*stored, *failed}
        await store.close()


def _all() -> AgentQuery:
    query = AgentQuery()
    return AgentQuery(page=type(query.page)(limit=None))


async def test_a_database_that_stays_away_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tertulia.store.postgres.store._PATIENCE_SECONDS", 0.1)
    with own_postgres() as server:
        store = await open_postgres(server.url, 2)
        await stored_agent(store)
        server.close()
        with pytest.raises(StoreUnavailable, match="cannot be used"):
            await names(store)
        with pytest.raises(StoreUnavailable, match="cannot be used"):
            await stored_agent(store)
        await store.close()


async def test_a_work_that_fails_leaves_its_connection_fit_for_use(store: PostgresStore) -> None:
    class Refused(Exception):
        pass

    def work(tx: Transaction) -> None:
        tx.agents.insert(an_agent())
        raise Refused

    for _ in range(2 * store.pool.size):
        with pytest.raises(Refused):
            await store.write(work)
    assert await names(store) == []
    assert store.pool.in_use == 0


async def test_a_frozen_worker_is_not_let_hold_its_locks(store: PostgresStore) -> None:
    def ask(connection: Connection) -> Any:
        return connection.ask("SHOW idle_in_transaction_session_timeout")

    async with store.pool.connection(1) as connection:
        assert await ask(connection) == "5s"


async def test_messages_from_before_the_index_knew_their_script_are_found_after_an_upgrade(
    postgres_server: str,
) -> None:
    url = postgres_server.replace("/tertulia?", "/older?")
    await execute(postgres_server, "DROP DATABASE IF EXISTS older", "CREATE DATABASE older")
    store = await open_postgres(url, 2)
    conversation = await stored_conversation(store)
    await stored_messages(store, conversation, "codex里记忆断裂了", *(f"word {number}" for number in range(250)))
    await store.close()
    await execute(
        url,
        "UPDATE messages SET words = to_tsvector('simple', CASE position WHEN 0 THEN '' "
        "WHEN 1 THEN 'codex里记忆断裂了' ELSE 'word ' || position END)",
        "DROP TABLE search_index",
        *without_later_migrations(),
        "UPDATE alembic_version SET version_num = '0005'",
    )
    stores = await asyncio.gather(open_postgres(url, 2), open_postgres(url, 2))
    while await asked(url, "SELECT count(*) FROM search_index WHERE upto < until"):
        """They do it by themselves."""
    for text, expected in (("断裂", 1), ("里", 1), ("codex", 1), ("word", 250)):
        query = SearchQuery(text=text, limit=999)
        found = await stores[1].read(lambda tx, query=query: tx.messages.search(query))
        assert len(found) == expected, text
    await asyncio.gather(*(each.close() for each in stores))


async def test_conversations_that_asked_before_the_deadline_was_noted_are_found_after_an_upgrade(
    postgres_server: str,
) -> None:
    url = postgres_server.replace("/tertulia?", "/older?")
    await execute(postgres_server, "DROP DATABASE IF EXISTS older", "CREATE DATABASE older")
    store = await open_postgres(url, 2)
    asked_once = await stored_conversation(store)
    for conversation, why in ((asked_once, "requires_approval"), (await stored_conversation(store), "end_turn")):
        run = a_run(conversation, status="completed", stop_reason=why)
        await store.write(lambda tx, run=run: tx.runs.insert(run))
    await store.close()
    await execute(url, *without_later_migrations(), "UPDATE alembic_version SET version_num = '0006'")
    store = await open_postgres(url, 2)
    assert await store.read(lambda tx: tx.conversations.asked_before(at(1), 9)) == [asked_once.id]
    await store.close()
