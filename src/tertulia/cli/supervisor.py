"""Several server processes behind one listening socket: started, started again when they die, and stopped together.

It answers no request and knows nothing of the database. It tells the others of a worker that died, and they take over
at once what it was doing.
"""

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

import structlog

from tertulia.cli.parent import VARIABLE
from tertulia.cli.problems import Problem
from tertulia.cli.streams import tell

_SHORT_LIFE: Final = 1.0
"""Seconds; a worker that dies sooner after it was ready, or before, died at once."""
_PAUSES: Final = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""Seconds before a worker is started again, by how often it died at once in succession."""
_FIRST_ATTEMPTS: Final = 3
"""How often a worker may die while the server starts for the first time."""
_DEATHS_KEPT: Final = 64
"""How many of the last are told to a worker that was not ready when they were."""
_LAST_MOMENT: Final = 2.0
"""Seconds that workers get to go when they are to stop at once."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Worker:
    process: asyncio.subprocess.Process
    reports: asyncio.StreamReader
    orders: asyncio.StreamWriter
    life: str

    async def failure(self) -> str | None:
        """Wait until it is ready, or why it cannot be.

        :raises EOFError: if it died without a word.
        """
        line = await self.reports.readline()
        if not line:
            raise EOFError
        report: dict[str, str | None] = json.loads(line)
        return report["failure"]

    def tell_of_death(self, life: str) -> None:
        self.orders.write(f"{life}\n".encode())

    def signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)


class Supervisor:
    """Keeps ``count`` workers running, each this program again with the same arguments, on the inherited listener.

    They get ``patience`` seconds to stop by themselves.
    """

    def __init__(self, listener: socket.socket, count: int, patience: float, on_ready: Callable[[], None]) -> None:
        self._listener = listener
        self._count = count
        self._patience = patience
        self._on_ready = on_ready
        self._workers: set[_Worker] = set()
        self._ready: set[_Worker] = set()
        self._dead: deque[str] = deque(maxlen=_DEATHS_KEPT)
        self._not_ready_yet = set(range(count))
        self._stopping = asyncio.Event()
        self._hurried = asyncio.Event()
        self._problem: str | None = None

    async def run(self) -> None:
        """Until a signal says stop.

        :raises Problem: if the workers cannot start.
        """
        loop = asyncio.get_running_loop()
        for number in stop_signals():
            loop.add_signal_handler(number, self._told_to_stop, number)
        kept = [asyncio.create_task(self._keep(place)) for place in range(self._count)]
        await self._stopping.wait()
        ending = asyncio.create_task(self._end())
        try:
            await asyncio.gather(*kept)
        finally:
            ending.cancel()
        if self._problem is not None:
            raise Problem(self._problem)

    async def _keep(self, place: int) -> None:
        """Have a worker in this place until all are to stop."""
        attempts = 0
        while not self._stopping.is_set():
            lived = await self._live(place)
            if self._stopping.is_set():
                return
            attempts = 0 if lived >= _SHORT_LIFE else attempts + 1
            if place in self._not_ready_yet and attempts >= _FIRST_ATTEMPTS:
                self._give_up(f"a worker died {attempts} times before it was ready; its output says why")
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PAUSES[min(attempts, len(_PAUSES) - 1)]):
                    await self._stopping.wait()

    async def _live(self, place: int) -> float:
        """One life of a worker; for how many seconds it was ready."""
        clock = asyncio.get_running_loop().time
        async with self._started(place) as worker:
            ready_at = None
            with contextlib.suppress(EOFError):
                failure = await worker.failure()
                if failure is None:
                    ready_at = clock()
                    log.info("worker_ready", worker_pid=worker.process.pid)
                    self._is_ready(place)
                    self._introduce(worker)
                elif place in self._not_ready_yet:
                    self._give_up(failure)
                else:
                    log.warning("worker_not_started", worker_pid=worker.process.pid, error=failure)
            code = await worker.process.wait()
            self._ready.discard(worker)
        if not self._stopping.is_set():
            log.error("worker_died", worker_pid=worker.process.pid, how=_how(code))
            self._announce_death(worker.life)
        return 0.0 if ready_at is None else clock() - ready_at

    @asynccontextmanager
    async def _started(self, place: int) -> AsyncGenerator[_Worker]:
        ours, theirs = socket.socketpair()
        life = str(uuid4())
        with theirs:
            passed = (self._listener.fileno(), theirs.fileno())
            process = await asyncio.create_subprocess_exec(
                *command(),
                env={**os.environ, VARIABLE: ",".join(map(str, (*passed, place, life)))},
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=passed,
                process_group=0,  # Ctrl-C is for the supervisor, who passes it on as it sees fit
            )
        reports, writer = await asyncio.open_connection(sock=ours)
        worker = _Worker(process, reports, writer, life)
        self._workers.add(worker)
        if self._stopping.is_set():  # they were told to stop a moment ago
            worker.signal(signal.SIGTERM)
        try:
            yield worker
        finally:
            self._workers.remove(worker)
            writer.close()

    def _is_ready(self, place: int) -> None:
        if place in self._not_ready_yet:
            self._not_ready_yet.remove(place)
            if not self._not_ready_yet and not self._stopping.is_set():
                self._on_ready()

    def _introduce(self, worker: _Worker) -> None:
        """Tell a worker that is ready now whom nobody may have been there to hear of."""
        self._ready.add(worker)
        for life in self._dead:
            worker.tell_of_death(life)

    def _announce_death(self, life: str) -> None:
        self._dead.append(life)
        for worker in self._ready:
            worker.tell_of_death(life)

    def _give_up(self, problem: str) -> None:
        self._problem = self._problem or problem
        self._stopping.set()

    def _told_to_stop(self, number: signal.Signals) -> None:
        if not self._stopping.is_set():
            tell("Stopping. Replies get time to finish; press Ctrl-C again to stop at once.", error=True)
            self._stopping.set()
        elif number == signal.SIGINT:
            self._hurried.set()

    async def _end(self) -> None:
        """Stop the workers: kindly, then at once, then by force."""
        self._tell_all(signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._patience):
                await self._hurried.wait()
        self._tell_all(signal.SIGINT)
        await asyncio.sleep(_LAST_MOMENT)
        self._tell_all(signal.SIGKILL)

    def _tell_all(self, number: signal.Signals) -> None:
        for worker in self._workers:
            worker.signal(number)


def stop_signals() -> tuple[signal.Signals, ...]:
    """What tells a server to stop, graciously: a terminal that is closed too, unless it was started under `nohup`."""
    if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
        return signal.SIGINT, signal.SIGTERM
    return signal.SIGINT, signal.SIGTERM, signal.SIGHUP


def command() -> Sequence[str]:
    """What this program was started with, by the same interpreter."""
    return [sys.executable, *sys.orig_argv[1:]]


def _how(code: int) -> str:
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"exit code {code}"
