"""The lease of this process on the runs it answers, kept up by a heartbeat in the database.

When it expires, the first worker to look takes over the runs under a higher fencing token, and nothing more from the
old worker is stored.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from uuid import uuid4

import structlog

from tertulia.domain.runs import Cancel
from tertulia.ports.runs import Claim
from tertulia.ports.store import Store, Transaction

_log = structlog.get_logger(__name__)

CLAIMS = 100
"""The most runs that are taken over at once, which leaves time for heartbeats."""

_SIGNS = 3
"""How many heartbeats are sent per lease."""
_QUEUES = 100
_FOR_EVER = 100 * 365 * 86_400.0
"""The lease, in seconds, of a worker that shares its database with nobody."""
_ALONE_SECONDS = 30.0
"""How often such a worker looks whether anything was left."""
_SOON_SECONDS = 1.0
"""How often a worker looks that has runs whose end the store could not take."""


@dataclass(frozen=True, slots=True)
class Found:
    """What there is to do: runs to resume, conversations whose queue nobody is serving, runs to stop."""

    claims: list[Claim]
    queues: list[str]
    cancels: list[tuple[str, Cancel]]


NOTHING = Found([], [], [])


class Lease:
    """Lasts ``seconds`` from each heartbeat. ``worker_id`` names this worker, who owns the runs answered here."""

    def __init__(self, store: Store, seconds: float, life: str = "") -> None:
        self.worker_id = ""
        self._life = life or str(uuid4())
        self._takes = 0
        self._store = store
        self._seconds = seconds
        self.dropped: dict[str, int] = {}
        """Runs whose end the store could not take, with their tokens: to be released when it can."""

    @property
    def pause(self) -> float:
        """Seconds until the next heartbeat."""
        if self.dropped:
            return _SOON_SECONDS
        return self._seconds / _SIGNS if self._store.shared else _ALONE_SECONDS

    async def take(self) -> None:
        """Start a lease, under a new name."""
        self._takes += 1
        worker_id = self.worker_id = f"worker-{self._life}-{self._takes}"
        seconds = self._seconds if self._store.shared else _FOR_EVER
        await self._store.write(lambda tx: tx.workers.register(worker_id, seconds))

    def drop(self, run_id: str, token: int, error: Exception) -> None:
        """Leave one of this worker's runs to the next worker that looks, since the store cannot be reached now."""
        self.dropped[run_id] = token
        _log.warning("run_dropped", run_id=run_id, error=str(error))

    async def renew(self, room: int, suspects: int = 0, *, closing: bool = False) -> Found | None:
        """Send a heartbeat, and take over as many runs as there is ``room`` for; None if the lease has expired.

        At most ``suspects`` of them were set aside. A worker that is ``closing`` takes over nothing.
        """
        released = dict(self.dropped)
        take_over = None if closing else partial(self._take_over, min(room, CLAIMS), suspects)
        found = await self._store.write(partial(self._renew, released, take_over))
        for run_id in released:
            self.dropped.pop(run_id, None)
        return found

    async def cancels(self) -> list[tuple[str, Cancel]]:
        """The runs that this worker was asked to stop."""
        worker_id = self.worker_id
        return await self._store.read(lambda tx: tx.runs.asked_to_cancel(worker_id))

    async def end_of(self, life: str) -> bool:
        """End the lease of another process, which is dead; whether it had one."""
        return await self._store.write(lambda tx: tx.workers.end(life)) > 0

    async def give_up(self) -> None:
        """Release it: any worker can take over what is still running, at once."""
        await self._store.write(partial(_give_up, self.worker_id))

    def _renew(
        self, released: Mapping[str, int], take_over: Callable[[Transaction], Found] | None, tx: Transaction
    ) -> Found | None:
        if self._store.shared and not tx.workers.renew(self.worker_id, self._seconds):
            return None
        for run_id, token in released.items():
            tx.runs.release(run_id, token)
        return take_over(tx) if take_over else NOTHING

    def _take_over(self, room: int, suspects: int, tx: Transaction) -> Found:
        claims = tx.runs.claim(self.worker_id, room, suspects) if room else []
        return Found(claims, tx.runs.free_queues(_QUEUES), tx.runs.asked_to_cancel(self.worker_id))


def _give_up(worker_id: str, tx: Transaction) -> None:
    tx.runs.release_all(worker_id)
    tx.workers.remove(worker_id)
