"""One connection to Postgres, which runs works one after the other."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import asyncpg
import sqlalchemy as sa
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from tertulia.ports.store import Transaction
from tertulia.store.postgres.failures import Unavailable, reason, translate
from tertulia.store.sql.postgres_nouns import PostgresTransaction
from tertulia.store.sql.postgres_session import Mark, Mode, PostgresSession

T = TypeVar("T")

_log = structlog.get_logger(__name__)


@dataclass
class OutcomeUnknown(Exception):
    """The connection broke while the transaction was being committed; ``result`` stands if its mark is there."""

    mark: Mark
    result: Any


class Connection:
    """Made by :meth:`over`; of no more use once it ``is_closed``."""

    def __init__(self, connection: AsyncConnection, driver: "asyncpg.Connection[Any]") -> None:
        self._connection = connection
        self.driver = driver
        sync = connection.sync_connection
        assert sync is not None  # noqa: S101  it was started
        self._session = PostgresSession(sync, driver)
        self._transaction = PostgresTransaction(self._session)

    @classmethod
    async def over(cls, connection: AsyncConnection) -> "Connection":
        raw = await connection.get_raw_connection()
        return cls(connection, cast("asyncpg.Connection[Any]", raw.driver_connection))

    @property
    def is_closed(self) -> bool:
        return self.driver.is_closed()

    async def perform(self, mode: Mode, work: Callable[[Transaction], T]) -> T:
        """Run the work in a transaction.

        :raises NeedsSnapshot: if a ``statement`` was more than one; nothing else happened.
        :raises Unavailable: if the database cannot be used; nothing was written.
        :raises OutcomeUnknown: if it is not known whether what it wrote is there.
        """
        return await self._connection.run_sync(lambda _: self._perform(mode, work))

    def _perform(self, mode: Mode, work: Callable[[Transaction], T]) -> T:
        session = self._session
        session.start(mode)
        try:
            result = work(self._transaction)
            mark = session.finish()
        except BaseException as error:
            self._give_up()
            failure = self._failure(error)
            if failure is error:
                raise
            raise failure from error
        try:
            session.end("COMMIT")
        except Exception as error:
            self.driver.terminate()
            failure = self._failure(error)
            if mark is None or not isinstance(failure, Unavailable):
                raise failure from error
            raise OutcomeUnknown(mark, result) from error
        self._catch_up()
        return result

    def _catch_up(self) -> None:
        try:
            self._session.catch_up()
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            # What was asked for is stored; such rows say what happened last, and will be written again.
            _log.warning("row_not_written", error=reason(error))

    def _give_up(self) -> None:
        try:
            self._session.end("ROLLBACK")
        except Exception:  # noqa: BLE001  the failure before this one is told; a broken connection undoes it all the same
            self.driver.terminate()

    def _failure(self, error: BaseException) -> BaseException:
        # Futures refuse StopIteration.
        known = RuntimeError("a work raised StopIteration") if isinstance(error, StopIteration) else translate(error)
        if self.driver.is_closed() and not isinstance(known, Unavailable):
            return Unavailable(f"The connection to the database broke: {error}")
        return known

    async def ask(self, sql: str, *parameters: Any) -> Any:
        """One value, outside of any transaction."""
        try:
            return await self.driver.fetchval(sql, *parameters)
        except Exception as error:
            failure = self._failure(error)
            if failure is error:
                raise
            raise failure from error

    async def migrate(self, upgrade: Callable[[sa.Connection], None]) -> None:
        await self.driver.execute("BEGIN")
        try:
            await self._connection.run_sync(upgrade)
        except BaseException:
            await self.driver.execute("ROLLBACK")
            raise
        await self.driver.execute("COMMIT")

    async def close(self) -> None:
        await self._connection.close()
