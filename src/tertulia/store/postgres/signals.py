"""Signals between workers by Postgres's LISTEN and NOTIFY, on a connection of their own.

NOTIFY takes a lock that lets one transaction commit at a time, so it is kept out of all others: signals are collected
for a moment and sent together, in a transaction that waits for no disk.
"""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final, get_args

import asyncpg
import structlog

from tertulia.ports.signals import Listener, Topic
from tertulia.store.postgres.pool import connect

CHANNEL: Final = "tertulia"
_BATCH_SECONDS: Final = 0.02
_LOOK_SECONDS: Final = 10.0
"""How often a connection on which nothing happens is looked after."""
_PAUSE_SECONDS: Final = 0.1
_LONGEST_PAUSE_SECONDS: Final = 5.0
_LONGEST_PAYLOAD: Final = 7900
"""Bytes; Postgres takes 7,999."""
_MOST_IDS: Final = 5000
"""How many ids are kept while the database is away; beyond that everybody is told to look at everything."""
_ANYTHING: Final = "*"
_NOTIFY: Final = "SELECT pg_notify($1, payload) FROM unnest($2::text[]) AS payload"
_BROKEN: Final = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError)

_log = structlog.get_logger(__name__)


class PgSignals:
    """Implements :class:`~tertulia.ports.signals.Signals`, for the event loop it is started on."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._listeners: defaultdict[Topic, list[Listener]] = defaultdict(list)
        self._unsent: dict[Topic, dict[str, None]] = {}
        self._wanted = asyncio.Event()
        self._listening = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._closing = False
        self._session: int | None = None

    def publish(self, topic: Topic, ids: Sequence[str]) -> None:
        unsent = self._unsent.setdefault(topic, {})
        unsent.update(dict.fromkeys(ids))
        if len(unsent) > _MOST_IDS:
            self._unsent[topic] = {_ANYTHING: None}
        self._wanted.set()

    def subscribe(self, topic: Topic, listener: Listener) -> None:
        self._listeners[topic].append(listener)

    async def start(self) -> None:
        """Listen, from when this returns; a database that is away is waited for."""
        self._keeper = asyncio.create_task(self._keep())
        await self._listening.wait()

    async def close(self) -> None:
        """Send what is to be sent, if the database is there, and stop listening."""
        if self._keeper is None:
            return
        self._closing = True
        self._wanted.set()
        if not self._listening.is_set():
            self._keeper.cancel()
        with suppress(asyncio.CancelledError):
            await self._keeper
        self._keeper = None

    async def _keep(self) -> None:
        pause, gap = _PAUSE_SECONDS, False
        while not self._closing:
            try:
                connection = await connect(self._url)
                try:
                    await self._listen(connection)
                    if gap:
                        self._tell_all()
                    pause, gap = _PAUSE_SECONDS, True
                    await self._serve(connection)
                finally:
                    self._listening.clear()
                    connection.terminate()
            except _BROKEN as error:
                _log.warning("signals_interrupted", error=str(error) or type(error).__name__)
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    async def _listen(self, connection: "asyncpg.Connection[Any]") -> None:
        connection.add_termination_listener(lambda _: self._wanted.set())
        await connection.execute("SET synchronous_commit = off")
        # A pooler tells its clients another number than that of the session which notifies.
        self._session = await connection.fetchval("SELECT pg_backend_pid()")
        await connection.add_listener(CHANNEL, self._heard)
        self._listening.set()

    async def _serve(self, connection: "asyncpg.Connection[Any]") -> None:
        while not self._closing:
            try:
                async with asyncio.timeout(_LOOK_SECONDS):
                    await self._wanted.wait()
            except TimeoutError:
                await connection.execute("SELECT 1")
                continue
            self._wanted.clear()
            if not self._closing:
                await asyncio.sleep(_BATCH_SECONDS)
            await self._send(connection)
        await connection.close()

    async def _send(self, connection: "asyncpg.Connection[Any]") -> None:
        sent, self._unsent = self._unsent, {}
        try:
            # With nothing to send, it still finds out about a connection that said it was lost.
            await connection.execute(_NOTIFY, CHANNEL, payloads(sent))
        except _BROKEN:
            for topic, ids in sent.items():
                self.publish(topic, list(ids))
            raise

    def _heard(self, _connection: Any, pid: int, _channel: str, payload: object) -> None:
        if pid == self._session:
            return  # our own
        topic, *ids = str(payload).split(" ")
        for known in get_args(Topic):
            if known == topic:
                self._tell(known, None if ids == [_ANYTHING] else ids)

    def _tell_all(self) -> None:
        for topic in list(self._listeners):
            self._tell(topic, None)

    def _tell(self, topic: Topic, ids: Sequence[str] | None) -> None:
        for listener in self._listeners[topic]:
            listener(ids)


def payloads(signals: dict[Topic, dict[str, None]]) -> list[str]:
    """A topic and its ids, with spaces between, as often as the length of a notification makes it necessary."""
    found: list[str] = []
    for topic, ids in signals.items():
        line = ""
        for id_ in ids:
            if not line or len(line) + 1 + len(id_) > _LONGEST_PAYLOAD:
                if line:
                    found.append(line)
                line = topic
            line += f" {id_}"
        if line:
            found.append(line)
    return found
