"""The connections to one Postgres database: opened as they are needed, up to a number, and replaced when they break."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from tertulia.store.postgres.connection import Connection
from tertulia.store.postgres.failures import Unavailable, innermost, is_refusal, reason

_CONNECT_SECONDS: Final = 5
_COMMAND_SECONDS: Final = 60
"""How long a statement may take before its connection counts as dead."""
_PAUSE_SECONDS: Final = 0.1
_LONGEST_PAUSE_SECONDS: Final = 1.0
_PREPARED_STATEMENTS: Final = 300

_SERVER_SETTINGS: Final = {
    # Compiling a query takes longer than any query here runs.
    "jit": "off",
    # A worker that was stopped in the middle of a transaction must not hold up the others: its locks go first, then
    # its lease.
    "idle_in_transaction_session_timeout": "5s",
    "lock_timeout": "10s",
}
_NO_LIMITS: Final = {"idle_in_transaction_session_timeout": "0", "lock_timeout": "0", "statement_timeout": "0"}
_SET: Final = "SELECT set_config(name, value, false) FROM unnest($1::text[], $2::text[]) AS setting(name, value)"


class Pool:
    """At most ``size`` connections, given out in the order they were asked for.

    Those that are not ``hurried`` may take any time for a statement, and between two: a change of the schema does.
    """

    def __init__(self, url: str, size: int, *, hurried: bool = True) -> None:
        self._size = size
        self._url = url
        self._hurried = hurried
        self._engine = _engine(self._take_new)
        self._new: list[asyncpg.Connection[Any]] = []
        self._idle: list[Connection] = []
        self._open = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def in_use(self) -> int:
        """How many connections are busy with a work."""
        return self._open - len(self._idle)

    @property
    def waiting(self) -> int:
        """How many works wait for a connection."""
        return len(self._waiting)

    @property
    def size(self) -> int:
        return self._size

    @asynccontextmanager
    async def connection(self, patience: float) -> AsyncGenerator[Connection]:
        """One that works, for one work.

        :raises Unavailable: if none can be made within ``patience`` seconds.
        """
        connection = await self._take(patience)
        try:
            yield connection
        finally:
            await self._give_back(connection)

    async def close(self) -> None:
        """Close what is idle; to be called when nothing is in use."""
        while self._idle:
            self._open -= 1
            await self._idle.pop().close()
        await self._engine.dispose()

    async def _take(self, patience: float) -> Connection:
        if self._waiting or (not self._idle and self._open >= self._size):
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._next()
                raise
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed:
                return connection
            await self._discard(connection)
        self._open += 1
        try:
            return await connect_patiently(self._connect, patience)
        except BaseException:
            self._open -= 1
            self._next()
            raise

    async def _give_back(self, connection: Connection) -> None:
        if connection.is_closed:
            await self._discard(connection)
        else:
            self._idle.append(connection)
        self._next()

    async def _discard(self, connection: Connection) -> None:
        self._open -= 1
        await connection.close()

    def _next(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return

    async def _connect(self) -> Connection:
        # Made here and not by SQLAlchemy, whose errors say less.
        self._new.append(await connect(self._url, hurried=self._hurried))
        return await Connection.over(await self._engine.connect())

    async def _take_new(self) -> "asyncpg.Connection[Any]":
        return self._new.pop()


async def connect_patiently(connect: Callable[[], Awaitable[Connection]], patience: float) -> Connection:
    """A new connection, tried for again and again while the database is not to be reached.

    :raises Unavailable: if that lasts longer than ``patience`` seconds.
    """
    loop = asyncio.get_running_loop()
    until, pause = loop.time() + patience, _PAUSE_SECONDS
    while True:
        try:
            return await connect()
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError, DBAPIError) as error:
            cause = innermost(error)
            if is_refusal(cause) or loop.time() + pause > until:
                raise Unavailable(f"The database cannot be used: {reason(cause)}") from cause
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)


async def connect(url: str, *, hurried: bool = True) -> "asyncpg.Connection[Any]":
    """A bare connection, with everything the URL says: TLS, sockets, several hosts."""
    connection = await asyncpg.connect(
        url,
        timeout=_CONNECT_SECONDS,
        command_timeout=_COMMAND_SECONDS if hurried else None,
        statement_cache_size=_PREPARED_STATEMENTS,
        max_cached_statement_lifetime=0,
        server_settings={"application_name": "tertulia"},
    )
    # Set here and not with the connection: PgBouncer refuses to be started with settings that it does not know.
    settings = _SERVER_SETTINGS if hurried else {**_SERVER_SETTINGS, **_NO_LIMITS}
    try:
        await connection.execute(_SET, list(settings), list(settings.values()), timeout=_CONNECT_SECONDS)
    except BaseException:
        connection.terminate()
        raise
    return connection


def _engine(creator: Callable[[], Awaitable[Any]]) -> AsyncEngine:
    # AUTOCOMMIT is SQLAlchemy's word for leaving BEGIN and COMMIT to us. Parameters are people's words: not for logs.
    return create_async_engine(
        sa.URL.create("postgresql+asyncpg"),
        async_creator=creator,
        poolclass=NullPool,
        isolation_level="AUTOCOMMIT",
        hide_parameters=True,
    )
