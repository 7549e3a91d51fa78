"""The one thread that writes to a SQLite database, and commits what queued up meanwhile together.

A commit costs more than most of the works it holds, and so does waking the event loop. So the thread takes every work
that is waiting, runs each in a savepoint of one transaction, commits once and wakes the loop once.
"""

import asyncio
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, TypeVar, cast

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from tertulia.domain.errors import StoreUnavailable
from tertulia.ports.store import Transaction
from tertulia.store.sql.transaction import SqlTransaction

T = TypeVar("T")


@dataclass(slots=True)
class _Job:
    work: Callable[[Transaction], Any]
    done: asyncio.Future[Any]
    result: Any = None
    error: BaseException | None = None


class Writer:
    """Owns the only connection that writes. Made on the event loop that awaits its results."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        self._driver = cast("sqlite3.Connection", connection.connection.driver_connection)
        self._transaction = SqlTransaction(connection)
        self._loop = asyncio.get_running_loop()
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        # A daemon: a program that ends without closing the store loses nothing acknowledged and must not hang.
        self._thread = Thread(target=self._run, name="tertulia-writer", daemon=True)
        self._thread.start()

    async def submit(self, work: Callable[[Transaction], T]) -> T:
        job = _Job(work, self._loop.create_future())
        self._queue.put(job)
        return await job.done

    def stop(self) -> None:
        """Finish what is queued, move the log into the database file and let go of it. Blocks."""
        self._queue.put(None)
        self._thread.join()
        self._driver.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._connection.close()

    def _run(self) -> None:
        stopping = False
        while not stopping:
            batch, stopping = self._take()
            if batch:
                self._commit(batch)
                self._loop.call_soon_threadsafe(_settle, batch)

    def _take(self) -> tuple[list[_Job], bool]:
        """Everything that is queued, waiting for the first; and whether that was the end."""
        batch: list[_Job] = []
        job = self._queue.get()
        while job is not None:
            batch.append(job)
            try:
                job = self._queue.get_nowait()
            except Empty:
                return batch, False
        return batch, True

    def _commit(self, batch: list[_Job]) -> None:
        try:
            self._driver.execute("BEGIN IMMEDIATE")
            for job in batch:
                self._attempt(job)
            self._driver.execute("COMMIT")
        except sqlite3.Error as error:
            if self._driver.in_transaction:
                self._driver.execute("ROLLBACK")
            for job in batch:
                job.error = unavailable(error)

    def _attempt(self, job: _Job) -> None:
        self._driver.execute("SAVEPOINT work")
        try:
            job.result = job.work(self._transaction)
        except BaseException as error:  # noqa: BLE001  handed to whoever awaits the work
            job.error = translated(error)
            # Without a transaction (a full disk undoes it all) this fails, and with it the batch.
            self._driver.execute("ROLLBACK TO work")
        self._driver.execute("RELEASE work")


def _settle(batch: list[_Job]) -> None:
    for job in batch:
        if job.done.cancelled():
            continue
        if job.error is None:
            job.done.set_result(job.result)
        else:
            job.done.set_exception(job.error)


def translated(error: BaseException) -> BaseException:
    """The error as the port knows it: what the database could not do is StoreUnavailable, the rest is as it is."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(cause, sqlite3.OperationalError | sqlite3.DatabaseError) and not isinstance(
        cause, sqlite3.IntegrityError | sqlite3.ProgrammingError | sqlite3.DataError
    ):
        return unavailable(cause)
    if isinstance(error, StopIteration):  # futures refuse it
        return RuntimeError("a store work raised StopIteration")
    return error


def unavailable(error: BaseException) -> StoreUnavailable:
    failure = StoreUnavailable(f"The database cannot be used: {error}")
    failure.__cause__ = error
    return failure
