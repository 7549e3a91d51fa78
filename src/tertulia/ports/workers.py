"""The workers that share a store."""

from typing import Protocol


class Workers(Protocol):
    """The processes that answer messages. One whose lease is over has lost its runs to the others.

    Leases are measured by the database's clock alone.
    """

    def register(self, worker_id: str, seconds: float) -> None: ...
    def renew(self, worker_id: str, seconds: float) -> bool:
        """Whether the lease was still good, and is for so many seconds more."""
        ...

    def remove(self, worker_id: str) -> None:
        """Give up the lease; what the worker still runs is anybody's at once."""
        ...

    def end(self, life: str) -> int:
        """End the leases of a process that is known to be dead, by the life that its workers' ids name; how many."""
        ...

    def live(self) -> list[str]: ...
    def take_room(self) -> None:
        """Write as much as a message may need, as workers that never lived: to see whether it can be written."""
        ...

    def give_room_back(self) -> None:
        """Undo all that ``take_room`` did."""
        ...

    def forget_all(self) -> None:
        """Where there can be only one worker: whoever was here before is gone."""
        ...
