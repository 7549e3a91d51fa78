"""The worker that this process is: its lease, and the runs it takes over from those who lost theirs.

A lease is kept up by a sign of life in the database. When it is over the runs are taken over by whoever looks first,
under a higher fencing token, and nothing of the old worker's is stored any more. A worker that finds its own lease over
lets go of everything and begins anew under another name.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from uuid import uuid4

import structlog

from tertulia.domain.errors import StoreUnavailable
from tertulia.domain.runs import Cancel, meaning_of
from tertulia.engine.lifecycle.executor import Answering
from tertulia.engine.lifecycle.launcher import Launcher
from tertulia.ports.signals import Signals
from tertulia.ports.store import Claim, Store, Transaction

_log = structlog.get_logger(__name__)

_SIGNS = 3
"""How many signs of life a lease lasts."""
_CLAIMS = 100
_QUEUES = 100
_FOR_EVER = 100 * 365 * 86_400.0
"""The lease, in seconds, of a worker that shares its database with nobody."""
_ALONE_SECONDS = 30.0
"""How often such a worker looks whether anything was left."""
_SOON_SECONDS = 1.0
"""How often a worker looks that has runs whose end the store could not take."""


class Worker:
    """Keeps up the lease of ``seconds`` and looks after what others left, until it is closed."""

    def __init__(
        self,
        store: Store,
        launcher: Launcher,
        answering: Answering,
        signals: Signals,
        start_next: Callable[[str], Awaitable[None]],
        seconds: float,
    ) -> None:
        self._store = store
        self._launcher = launcher
        self._answering = answering
        self._start_next = start_next
        self._seconds = seconds
        self._closing = False
        self._looking = asyncio.Lock()
        self._keeping: asyncio.Task[None] | None = None
        self._stopping: set[asyncio.Task[None]] = set()
        self._signals = signals
        signals.subscribe("cancel", self._told_to_cancel)
        signals.subscribe("workers", self._told_of_leaving)

    @property
    def id(self) -> str:
        return self._launcher.worker_id

    async def start(self) -> None:
        """Take part: from here on runs may begin. What the last process left is gone on with.

        :raises StoreUnavailable: if the store cannot be reached.
        """
        if not self._store.shared:
            await self._store.write(lambda tx: tx.workers.forget_all())
        await self._register()
        await self.look()
        self._keeping = asyncio.create_task(self._keep(), name="worker")

    async def look(self) -> None:
        """Give a sign of life, and take over what is there to be taken over.

        :raises StoreUnavailable: if the store cannot be reached.
        """
        async with self._looking:  # two that find the lease over at once would begin anew twice
            while await self._look():
                pass

    async def _look(self) -> bool:
        """Whether there may be more to take over: no more at once than leaves time for signs of life."""
        released = dict(self._answering.dropped)
        seen = await self._store.write(partial(self._tick, released))
        for run_id in released:
            self._answering.dropped.pop(run_id, None)
        if seen is None:
            _log.error("lease_lost", worker_id=self.id, runs=len(self._answering))
            await self._answering.leave(lost=True)
            await self._register()
            seen = await self._store.write(partial(self._tick, {})) or ([], [], [])
        claims, queues, cancels = seen
        for claim in claims:
            await self._launcher.go_on(claim)
        for run_id, how in cancels:
            self._stop(run_id, how)
        for conversation_id in queues:
            if self._launcher.room:
                await self._start_next(conversation_id)
        return len(claims) == _CLAIMS

    def stop_claiming(self) -> None:
        self._closing = True

    async def close(self) -> None:
        """Leave: what still runs is anybody's at once."""
        self._closing = True
        if self._keeping is not None:
            self._keeping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeping
        if self._stopping:
            await asyncio.wait(self._stopping)
        worker_id = self.id
        try:
            await self._store.write(partial(_leave, worker_id))
            self._signals.publish("workers", [worker_id])
        except StoreUnavailable as error:
            _log.warning("lease_not_given_up", error=str(error))

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(self._pause)
            await self._look_now()

    @property
    def _pause(self) -> float:
        if self._answering.dropped:
            return _SOON_SECONDS
        return self._seconds / _SIGNS if self._store.shared else _ALONE_SECONDS

    async def _register(self) -> None:
        worker_id = self._launcher.worker_id = f"worker-{uuid4()}"
        seconds = self._seconds if self._store.shared else _FOR_EVER
        await self._store.write(lambda tx: tx.workers.register(worker_id, seconds))

    def _tick(
        self, released: Mapping[str, int], tx: Transaction
    ) -> tuple[list[Claim], list[str], list[tuple[str, Cancel]]] | None:
        """What is there to be done; None if the lease is over."""
        if self._store.shared and not tx.workers.renew(self.id, self._seconds):
            return None
        for run_id, token in released.items():
            tx.runs.release(run_id, token)
        if self._closing:
            return [], [], []
        room = min(self._launcher.room, _CLAIMS)
        claims = tx.runs.claim(self.id, room) if room else []
        return claims, tx.runs.free_queues(_QUEUES), tx.runs.asked_to_cancel(self.id)

    def _told_to_cancel(self, run_ids: Sequence[str] | None) -> None:
        if run_ids is None or any(map(self._answering.has, run_ids)):
            self._begin(self._cancel_asked())

    def _told_of_leaving(self, worker_ids: Sequence[str] | None) -> None:
        """What it was answering is there to be taken over now, not only when its lease would have been over."""
        if worker_ids is not None and not self._closing:
            self._begin(self._look_now())

    async def _look_now(self) -> None:
        try:
            await self.look()
        except StoreUnavailable as error:
            _log.warning("store_unavailable", error=str(error))

    async def _cancel_asked(self) -> None:
        worker_id = self.id
        try:
            asked = await self._store.read(lambda tx: tx.runs.asked_to_cancel(worker_id))
        except StoreUnavailable as error:
            _log.warning("store_unavailable", error=str(error))  # the next look sees them
            return
        for run_id, how in asked:
            self._stop(run_id, how)

    def _stop(self, run_id: str, how: Cancel) -> None:
        rollback, hold = meaning_of(how)
        self._begin(self._answering.cancel(run_id, rollback=rollback, hold=hold))

    def _begin(self, work: Awaitable[object]) -> None:
        async def done() -> None:
            await work

        task = asyncio.create_task(done())
        self._stopping.add(task)
        task.add_done_callback(self._stopping.discard)


def _leave(worker_id: str, tx: Transaction) -> None:
    tx.runs.release_all(worker_id)
    tx.workers.remove(worker_id)
