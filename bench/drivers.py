"""`python -m bench.drivers postgresql://…`: what a small work costs by each way of asking Postgres."""

import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import sqlalchemy as sa
import uvloop
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.util import await_only, greenlet_spawn

WORKS = 1500
BODY = "x" * 600
SETUP = """
    DROP TABLE IF EXISTS bench_heads, bench_rows;
    CREATE TABLE bench_heads (id text PRIMARY KEY, head int NOT NULL, body text NOT NULL);
    CREATE TABLE bench_rows (id text, position int, body text, PRIMARY KEY (id, position));
    INSERT INTO bench_heads SELECT 'k' || n, 0, repeat('x', 600) FROM generate_series(0, 63) n;
"""
GET = "SELECT body, head FROM bench_heads WHERE id = $1"
MOVE = "UPDATE bench_heads SET head = head + 1 WHERE id = $1 RETURNING head"
ADD = "INSERT INTO bench_rows (id, position, body) VALUES ($1, $2, $3)"
CHANGE = "UPDATE bench_heads SET body = $1 WHERE id = $2"

heads = sa.table("bench_heads", sa.column("id", sa.Text), sa.column("head", sa.Integer), sa.column("body", sa.Text))
rows = sa.table("bench_rows", sa.column("id", sa.Text), sa.column("position", sa.Integer), sa.column("body", sa.Text))


async def awaited(driver: "asyncpg.Connection[Any]", key: str) -> None:
    await driver.execute("BEGIN")
    await driver.fetch(GET, key)
    await driver.fetch(GET, key)
    (moved,) = await driver.fetch(MOVE, key)
    await driver.execute(ADD, key, moved[0], BODY)
    await driver.execute(CHANGE, BODY, key)
    await driver.execute(ADD, key, -moved[0], BODY)
    await driver.execute("COMMIT")


def in_greenlet(driver: "asyncpg.Connection[Any]", key: str) -> None:
    await_only(driver.execute("BEGIN"))
    await_only(driver.fetch(GET, key))
    await_only(driver.fetch(GET, key))
    (moved,) = await_only(driver.fetch(MOVE, key))
    await_only(driver.execute(ADD, key, moved[0], BODY))
    await_only(driver.execute(CHANGE, BODY, key))
    await_only(driver.execute(ADD, key, -moved[0], BODY))
    await_only(driver.execute("COMMIT"))


def core(connection: sa.Connection, key: str) -> None:
    itself = heads.c.id == key
    connection.execute(sa.select(heads.c.body, heads.c.head).where(itself)).all()
    connection.execute(sa.select(heads.c.body, heads.c.head).where(itself)).all()
    moved = sa.update(heads).where(itself).values(head=heads.c.head + 1).returning(heads.c.head)
    head = connection.execute(moved).scalar_one()
    connection.execute(sa.insert(rows), {"id": key, "position": head, "body": BODY})
    connection.execute(sa.update(heads).where(itself), {"body": BODY})
    connection.execute(sa.insert(rows), {"id": key, "position": -head, "body": BODY})


async def measure(name: str, work: Callable[[str], Awaitable[object]]) -> None:
    for number in range(50):
        await work(f"k{number}")
    wall, processor = time.perf_counter(), time.process_time()
    for number in range(WORKS):
        await work(f"k{number % 64}")
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    print(f"{name:32} {wall / WORKS * 1000:6.2f} ms, {processor / WORKS * 1000:6.2f} ms of processor time")


async def main(url: str) -> None:
    driver = await asyncpg.connect(url)
    await driver.execute(SETUP)
    await measure("asyncpg, awaited", lambda key: awaited(driver, key))
    await measure("asyncpg in a greenlet", lambda key: greenlet_spawn(in_greenlet, driver, key))
    engine = create_async_engine("postgresql+asyncpg://", async_creator=lambda: asyncpg.connect(url))

    async def through_pool(key: str) -> None:
        async with engine.begin() as connection:
            await connection.run_sync(core, key)

    await measure("SQLAlchemy Core, run_sync", through_pool)
    async with engine.connect() as connection:

        async def kept(key: str) -> None:
            await connection.run_sync(core, key)
            await connection.commit()

        await measure("the same, connection kept", kept)
    await engine.dispose()
    await driver.execute("DROP TABLE bench_heads, bench_rows")
    await driver.close()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1]))
