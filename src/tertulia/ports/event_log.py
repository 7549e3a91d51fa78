"""The event log: what happens in each run, numbered from 1, for any number of readers at any time."""

from collections.abc import AsyncGenerator, Sequence
from typing import Protocol, TypeAlias

from tertulia.domain.events import Event
from tertulia.ports.events import EventChunk

Numbered: TypeAlias = tuple[int, Event]
"""An event with its sequence id."""


class RunLog(Protocol):
    """The writing end of one run's events; there is one writer."""

    def append(self, event: Event, chars: int = 0) -> None:
        """Number the event and show it to the readers at once. It is stored a little later, or with the next stage.

        ``chars`` is about how much text is in it.
        """
        ...

    @property
    def full(self) -> bool:
        """Whether so much is not stored yet that nothing more should be appended before there is ``room``."""
        ...

    async def room(self) -> None:
        """Wait until the store has caught up.

        :raises StoreUnavailable: if it does not for long.
        :raises LeaseLost: if another worker has the run.
        """
        ...

    async def settle(self) -> None:
        """Wait until nothing of this log is on its way to the store, so that what is staged next is not stored before.

        Dying in between would leave a gap in the log for ever.
        """
        ...

    def stage(self, *events: Event) -> EventChunk | None:
        """Everything not stored yet with ``events`` at its end, for the caller to store in a transaction of its own.

        Readers see the staged events only when ``stored`` says that the transaction is durable: what a reader is told
        of as finished is finished. None when there is nothing to store.
        """
        ...

    def stored(self, chunk: EventChunk | None) -> None:
        """Say that a staged chunk is durable."""
        ...

    def discard(self, chunk: EventChunk | None) -> None:
        """Say that a staged chunk could not be stored: what was staged in it never happened."""
        ...

    def lose(self) -> None:
        """Say that another worker has the run: nothing more is stored, and readers here are let go."""
        ...

    def give_up(self, why: str) -> None:
        """Say that the store does not take what was told: readers are told ``why`` when the log is closed."""
        ...

    def close(self) -> None:
        """Let go of the log: nothing will follow from here. Readers that are behind still get all of it."""
        ...


class EventLog(Protocol):
    def open(self, run_id: str, token: int = 1, after: int = 0) -> RunLog:
        """Write a run's log in this process, from its beginning or after the events that are stored already.

        ``token`` is the run's fencing token: once another worker has the run, nothing more is stored.
        """
        ...

    def follow(self, run_id: str, after: int = 0) -> AsyncGenerator[Sequence[Numbered], None]:
        """The events after ``after`` in order, then those to come, until the run's ``Ended``.

        Each item is some events that were there when it was asked for, never none, the very next one first. After the
        run's end there is nothing to follow.

        :raises NotFound: if no event of such a run was ever kept.
        :raises StreamInterrupted: where it cannot go on to the end: this process stops, or the run was taken from it,
            or what was shown could not be stored. The run goes on, and can be followed again from its beginning.
        """
        ...

    def changed(self, run_id: str) -> None:
        """Say that events of a run were stored that no log of this process told of."""
        ...

    async def close(self) -> None:
        """Store what was told, as far as the store takes it, and let all readers go."""
        ...
