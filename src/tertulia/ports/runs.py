"""Runs as the store has them, and whose they are."""

from dataclasses import dataclass
from typing import Protocol

from tertulia.domain.runs import Cancel, Run
from tertulia.ports.queries import RunQuery


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A run that a worker took over, with the fencing token of its writes from now on.

    ``cancel`` is what was asked of it meanwhile. ``given_up`` says that the last one let go of it by itself, or set it
    aside, and did not die or hang while it was answering it.
    """

    run: Run
    token: int
    cancel: Cancel | None = None
    given_up: bool = False

    @property
    def attempts(self) -> int:
        """How many workers answered it, this one included."""
        return self.token - self.run.times_set_aside


class Runs(Protocol):
    """A running run belongs to a worker, under a fencing token that rises each time another one takes it over."""

    def insert(self, run: Run, worker_id: str | None = None) -> None:
        """Store a running run, token 1, or one of status ``created`` at the end of the conversation's queue.

        :raises ConversationBusy: if the conversation has a running run; the database itself keeps it to one.
        """
        ...

    def begin(self, run: Run, worker_id: str) -> None:
        """Make a queued run a running one.

        :raises ConversationBusy: if the conversation has a running run.
        """
        ...

    def hold(self, run_id: str, token: int) -> None:
        """Keep the run from being taken over until the transaction ends.

        :raises LeaseLost: if it was taken over, or has ended.
        :raises NotFound: if it was deleted.
        """
        ...

    def claim(self, worker_id: str, limit: int, aside: int = 0) -> list[Claim]:
        """Take over running runs that no worker with a good lease has; each goes to one claimant alone.

        Of those that were set aside, only ``aside`` are taken over, and all that are to be cancelled.
        """
        ...

    def set_aside(self, run_id: str, token: int) -> None:
        """Let a run that is under this token be taken over by whoever asks for one that was set aside."""
        ...

    def release(self, run_id: str, token: int) -> None:
        """Let a run be taken over at once, if it is still under this token."""
        ...

    def release_all(self, worker_id: str) -> None:
        """Let the runs of a worker that stops be taken over at once."""
        ...

    def ask_to_cancel(self, run_id: str, how: Cancel) -> bool:
        """Leave word for a running run's worker; whether it is running."""
        ...

    def asked_to_cancel(self, worker_id: str) -> list[tuple[str, Cancel]]:
        """The running runs of a worker that are to be stopped."""
        ...

    def keep(self, run_id: str) -> None:
        """Say that the run has readers at other workers than its own."""
        ...

    def is_kept(self, run_id: str) -> bool: ...
    def note_call(self, run_id: str, tool_call_id: str) -> None:
        """Say that a tool is about to run that must not run twice."""
        ...

    def noted_calls(self, run_id: str) -> set[str]: ...
    def free_queues(self, limit: int) -> list[str]:
        """Conversations in which runs wait though none is running."""
        ...

    def queued(self, conversation_id: str | None = None) -> list[Run]:
        """The runs that wait for their turn, in the order they came; of all conversations for None."""
        ...

    def waiting(self) -> int:
        """How many runs of all conversations wait for their turn."""
        ...

    def next_queued(self, conversation_id: str) -> Run | None:
        """The run that has waited longest for its turn."""
        ...

    def get(self, run_id: str) -> Run: ...
    def update(self, run: Run) -> None: ...
    def active(self, conversation_id: str) -> Run | None: ...
    def all_active(self) -> list[Run]: ...
    def find(self, query: RunQuery) -> list[Run]: ...
