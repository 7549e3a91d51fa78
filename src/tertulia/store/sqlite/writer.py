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
from typing import Any, Final, TypeVar, cast

import sqlalchemy as sa
import structlog

from tertulia.domain.errors import StoreUnavailable
from tertulia.ports.store import Transaction
from tertulia.store.failures import translate
from tertulia.store.sql.search import backlog, index_some
from tertulia.store.sql.sqlite_session import SqliteSession
from tertulia.store.sql.transaction import SqlTransaction

T = TypeVar("T")

_INDEX_FROM: Final = 100
"""How many messages may wait for the search index: adding one costs 15 µs, beginning to add any 200 µs."""
_INDEX_ANYWAY: Final = 2000
"""How many may wait while there are writes to do first."""
_TOLD_EVERY: Final = 50_000
"""Of so many messages that the index is behind, as after an upgrade that makes it anew, the log has a line."""

_log = structlog.get_logger(__name__)


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
        self._session = SqliteSession(connection)
        self._transaction = SqlTransaction(self._session)
        self._loop = asyncio.get_running_loop()
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._told = 0
        # A daemon: a program that ends without closing the store loses nothing acknowledged and must not hang.
        self._thread = Thread(target=self._run, name="tertulia-writer", daemon=True)
        self._thread.start()

    async def submit(self, work: Callable[[Transaction], T]) -> T:
        job = _Job(work, self._loop.create_future())
        self._queue.put(job)
        return await job.done

    async def index_messages(self) -> None:
        """Bring the search index up to everything that was written before."""
        upto, behind = await self.submit(lambda _: (index_some(self._session), backlog(self._session)))
        wanted = upto + behind
        while upto < wanted:  # in pieces, between which others write
            upto = await self.submit(lambda _: index_some(self._session))

    def stop(self) -> None:
        """Finish what is queued, move the log into the database file and let go of it. Blocks."""
        self._queue.put(None)
        self._thread.join()
        try:
            self._driver.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:
            _log.warning("the database's log could not be moved into its file; the next start will", error=str(error))
        finally:
            self._connection.close()

    def _run(self) -> None:
        stopping, behind = False, True
        while not stopping:
            if behind and self._queue.empty():
                behind = self._index_some()
                continue
            batch, stopping = self._take()
            if batch:
                self._commit(batch)
                self._loop.call_soon_threadsafe(_settle, batch)
                behind = self._index_some()

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
        except (sqlite3.Error, StoreUnavailable) as error:
            self._undo()
            for job in batch:
                job.error = translate(error)

    def _attempt(self, job: _Job) -> None:
        self._driver.execute("SAVEPOINT work")
        try:
            job.result = job.work(self._transaction)
        except BaseException as error:  # handed to whoever awaits the work
            # Futures refuse StopIteration.
            job.error = RuntimeError("a work raised StopIteration") if isinstance(error, StopIteration) else error
            job.error = translate(job.error)
            if not self._driver.in_transaction:  # a full disk undoes it all
                lost = StoreUnavailable("The database undid the transaction.")
                raise (job.error if isinstance(job.error, StoreUnavailable) else lost) from error
            self._driver.execute("ROLLBACK TO work")
        self._driver.execute("RELEASE work")

    def _index_some(self) -> bool:
        """Keep the search index close behind; whether there is more to do.

        If that fails, a search will try again and tell its caller.
        """
        try:
            if backlog(self._session) < (_INDEX_FROM if self._queue.empty() else _INDEX_ANYWAY):
                return False
            self._driver.execute("BEGIN IMMEDIATE")
            index_some(self._session)
            self._driver.execute("COMMIT")
            behind = backlog(self._session)
        except sqlite3.Error as error:
            self._undo()
            _log.warning("the search index could not be extended", error=str(error))
            return False
        if behind // _TOLD_EVERY != self._told:
            self._told = behind // _TOLD_EVERY
            _log.info("search_index_progress", messages_left=behind)
        return behind >= _INDEX_FROM

    def _undo(self) -> None:
        if self._driver.in_transaction:
            self._driver.execute("ROLLBACK")


def _settle(batch: list[_Job]) -> None:
    for job in batch:
        if job.done.cancelled():
            continue
        if job.error is None:
            job.done.set_result(job.result)
        else:
            job.done.set_exception(job.error)
