"""The runs that wait for their conversation: in the store as runs of status ``created``, here with their open logs."""

from collections import Counter, deque
from collections.abc import Generator, Sequence
from contextlib import contextmanager

from tertulia.domain.events import RunStarted
from tertulia.domain.runs import Run
from tertulia.ports.event_log import EventLog, RunLog
from tertulia.ports.store import Store


class Queue:
    """First in, first out, for each conversation on its own. Readers of a waiting run follow its log already."""

    def __init__(self, store: Store, events: EventLog) -> None:
        self._store = store
        self._events = events
        self._waiting: dict[str, deque[Run]] = {}
        self._logs: dict[str, RunLog] = {}
        self._held: Counter[str] = Counter()

    def add(self, run: Run) -> None:
        """Let a stored run wait."""
        log = self._logs[run.id] = self._events.open(run.id)
        log.append(RunStarted(run.id, run.created_at.timestamp()))
        self._waiting.setdefault(run.conversation_id, deque()).append(run)

    async def load(self) -> Sequence[str]:
        """Take up what the last process left waiting; the conversations it waits for."""
        for run in await self._store.read(lambda tx: tx.runs.queued()):
            chunks = await self._store.read(lambda tx, run_id=run.id: tx.events.after(run_id, 0))
            if chunks:
                self._logs[run.id] = self._events.open(run.id, after=chunks[-1].last)
                self._waiting.setdefault(run.conversation_id, deque()).append(run)
            else:
                self.add(run)
        return list(self._waiting)

    @contextmanager
    def held(self, conversation_id: str) -> Generator[None]:
        """Nobody's turn comes meanwhile: a message that goes before those that wait is about to begin."""
        self._held[conversation_id] += 1
        try:
            yield
        finally:
            self._held[conversation_id] -= 1
            if not self._held[conversation_id]:
                del self._held[conversation_id]

    def next(self, conversation_id: str) -> Run | None:
        """The run whose turn it is."""
        if conversation_id in self._held:
            return None
        waiting = self._waiting.get(conversation_id)
        return waiting[0] if waiting else None

    def get(self, run_id: str) -> tuple[Run, RunLog] | None:
        """A run that waits, with its log."""
        run = next((run for run in self.runs() if run.id == run_id), None)
        return None if run is None else (run, self._logs[run_id])

    def take(self, run_id: str) -> tuple[Run, RunLog] | None:
        """Take a run out of the queue, with its log; None if it does not wait."""
        log = self._logs.pop(run_id, None)
        if log is None:
            return None
        for conversation_id, waiting in self._waiting.items():
            run = next((run for run in waiting if run.id == run_id), None)
            if run is not None:
                waiting.remove(run)
                if not waiting:
                    del self._waiting[conversation_id]
                return run, log
        return None

    def runs(self) -> list[Run]:
        return [run for waiting in self._waiting.values() for run in waiting]

    def close(self) -> None:
        """Let readers go. What waits stays in the store for the next process."""
        for log in self._logs.values():
            log.close()
