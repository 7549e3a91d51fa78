"""The store as a run's tools see it: nothing is written for a run that another worker has."""

from collections.abc import Callable
from typing import Any, TypeVar

from tertulia.ports.store import Store, Transaction

T = TypeVar("T")


class FencedStore:
    """Every write holds the run under its fencing token."""

    def __init__(self, store: Store, run_id: str, token: int) -> None:
        self._store = store
        self._run_id = run_id
        self._token = token

    @property
    def shared(self) -> bool:
        return self._store.shared

    async def read(self, work: Callable[[Transaction], T]) -> T:
        return await self._store.read(work)

    async def write(self, work: Callable[[Transaction], T]) -> T:
        """:raises LeaseLost: if another worker has the run."""

        def held(tx: Transaction) -> T:
            tx.runs.hold(self._run_id, self._token)
            return work(tx)

        return await self._store.write(held)

    async def check_writing(self, seconds: float) -> None:
        await self._store.check_writing(seconds)

    async def close(self) -> None:
        """The store is not the tools' to close."""

    def describe(self) -> dict[str, Any]:
        return self._store.describe()
