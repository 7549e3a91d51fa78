"""The worker that this process is: it renews its lease, and takes over the runs of workers that lost theirs.

A worker that finds its own lease over drops everything and starts over under another name.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Sequence

import structlog

from tertulia.domain.errors import StoreUnavailable
from tertulia.domain.runs import Cancel, meaning_of
from tertulia.engine.lifecycle.executor import Executor
from tertulia.engine.lifecycle.launcher import Launcher
from tertulia.engine.lifecycle.lease import CLAIMS, NOTHING, Lease
from tertulia.engine.lifecycle.queue import Queues
from tertulia.ports.signals import Signals
from tertulia.ports.store import Store

_log = structlog.get_logger(__name__)


class Worker:
    """Looks for runs that others left and for runs to stop, until it is closed."""

    def __init__(
        self, store: Store, lease: Lease, executor: Executor, launcher: Launcher, queues: Queues, signals: Signals
    ) -> None:
        self._store = store
        self._lease = lease
        self._executor = executor
        self._launcher = launcher
        self._queues = queues
        self._closing = False
        self._looking = asyncio.Lock()
        self._keeping: asyncio.Task[None] | None = None
        self._stopping: set[asyncio.Task[None]] = set()
        self._signals = signals
        signals.subscribe("cancel", self._on_cancel)
        signals.subscribe("workers", self._on_leaving)
        launcher.quarantine.when_free(self._on_room)

    async def start(self) -> None:
        """Join the workers: from here on runs may start. What the last process left is resumed.

        :raises StoreUnavailable: if the store cannot be reached.
        """
        if not self._store.shared:
            await self._store.write(lambda tx: tx.workers.forget_all())
        await self._lease.take()
        await self.look()
        self._keeping = asyncio.create_task(self._keep(), name="worker")

    async def look(self) -> None:
        """Send a heartbeat, and take over whatever can be taken over.

        :raises StoreUnavailable: if the store cannot be reached.
        """
        async with self._looking:  # two that find the lease over at once would begin anew twice
            while await self._look():
                pass

    async def _look(self) -> bool:
        """Whether there may be more to take over."""
        lease, launcher = self._lease, self._launcher
        found = await lease.renew(launcher.room, launcher.quarantine.room, closing=self._closing)
        if found is None:
            _log.error("lease_lost", worker_id=lease.worker_id, runs=len(self._executor.active))
            await self._executor.leave(lost=True)
            await lease.take()
            found = await lease.renew(launcher.room, launcher.quarantine.room, closing=self._closing) or NOTHING
        for claim in found.claims:
            await launcher.go_on(claim)
        for run_id, how in found.cancels:
            self._stop(run_id, how)
        for conversation_id in found.queues:
            if launcher.room:
                await self._queues.start_next(conversation_id)
        return len(found.claims) == CLAIMS

    def mourn(self, life: str) -> None:
        """Take over what the process of that life was answering, which is known to be dead."""
        if not self._closing:
            self._begin(self._mourn(life))

    async def _mourn(self, life: str) -> None:
        try:
            if await self._lease.end_of(life):
                self._signals.publish("workers", [life])
                await self.look()
        except StoreUnavailable as error:
            _log.warning("store_unavailable", error=str(error))  # its lease will be over all the same

    def stop_claiming(self) -> None:
        self._closing = True

    async def close(self) -> None:
        """Leave: any worker can take over what is still running, at once."""
        self._closing = True
        if self._keeping is not None:
            self._keeping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeping
        if self._stopping:
            await asyncio.wait(self._stopping)
        try:
            await self._lease.give_up()
            self._signals.publish("workers", [self._lease.worker_id])
        except StoreUnavailable as error:
            _log.warning("lease_not_given_up", error=str(error))

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(self._lease.pause)
            await self._look_now()

    def _on_cancel(self, run_ids: Sequence[str] | None) -> None:
        if run_ids is None or any(map(self._executor.has, run_ids)):
            self._begin(self._cancel_asked())

    def _on_leaving(self, worker_ids: Sequence[str] | None) -> None:
        """What it was answering can be taken over now, and not only when its lease expires."""
        if worker_ids is not None and not self._closing:
            self._begin(self._look_now())

    def _on_room(self) -> None:
        """A run that was set aside can be resumed here now."""
        if not self._closing:
            self._begin(self._look_now())

    async def _look_now(self) -> None:
        try:
            await self.look()
        except StoreUnavailable as error:
            _log.warning("store_unavailable", error=str(error))

    async def _cancel_asked(self) -> None:
        try:
            asked = await self._lease.cancels()
        except StoreUnavailable as error:
            _log.warning("store_unavailable", error=str(error))  # the next look sees them
            return
        for run_id, how in asked:
            self._stop(run_id, how)

    def _stop(self, run_id: str, how: Cancel) -> None:
        rollback, hold = meaning_of(how)
        self._begin(self._executor.cancel(run_id, rollback=rollback, hold=hold))

    def _begin(self, work: Awaitable[object]) -> None:
        async def done() -> None:
            await work

        task = asyncio.create_task(done())
        self._stopping.add(task)
        task.add_done_callback(self._stopping.discard)
