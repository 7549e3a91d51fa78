"""The queues of conversations: runs of status ``created`` in the store, in the order they came."""

from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial

import structlog
from msgspec.structs import replace

from tertulia.domain.errors import (
    ConversationBusy,
    NotFound,
    QueueFull,
    ServerBusy,
    StoreUnavailable,
    TertuliaError,
)
from tertulia.domain.events import RunStarted
from tertulia.domain.runs import ACTIVE_STATUSES, Run
from tertulia.engine.lifecycle.end_hooks import EndHooks
from tertulia.engine.lifecycle.finalize import chunk_after, last_events, with_end
from tertulia.engine.lifecycle.launcher import Launcher
from tertulia.engine.lifecycle.repeats import find_sent
from tertulia.engine.requests import SendRequest, decode_request, encode_request
from tertulia.engine.turn.context import run_to_end
from tertulia.engine.turn.outcome import Ending, failure
from tertulia.ports.event_log import EventLog
from tertulia.ports.store import Snapshot, Store, Transaction
from tertulia.ports.telemetry import RunEnded, Telemetry

_log = structlog.get_logger(__name__)


class Queues:
    """Whose turn it is in each conversation. At most ``limit`` runs wait for one."""

    def __init__(
        self, store: Store, events: EventLog, launcher: Launcher, hooks: EndHooks, telemetry: Telemetry, limit: int
    ) -> None:
        self._store = store
        self._events = events
        self._launcher = launcher
        self._hooks = hooks
        self._telemetry = telemetry
        self._limit = limit
        self._held: Counter[str] = Counter()
        self._closing = False
        hooks.subscribe(self.start_next)

    def close(self) -> None:
        """Nobody's turn comes any more."""
        self._closing = True

    @contextmanager
    def hold(self, conversation_id: str) -> Generator[None]:
        """Nobody's turn comes in the conversation meanwhile."""
        self._held[conversation_id] += 1
        try:
            yield
        finally:
            self._held[conversation_id] -= 1
            if not self._held[conversation_id]:
                del self._held[conversation_id]

    async def begin_or_wait(self, run: Run, request: SendRequest, seen: Snapshot) -> Run:
        """Begin the run now if its conversation is free, else when its turn comes; or give the earlier one it repeats.

        :raises ConversationBusy: if the request is not to wait.
        :raises QueueFull: if as many wait as may.
        """
        while True:
            try:
                return await self._launcher.begin(run, request, seen)
            except ConversationBusy:
                if request.busy == "reject":
                    raise
                waits = await self._store.write(partial(enqueue, run, request, self._limit))
            if waits is not None:
                break
            seen = await self._store.read(lambda tx: tx.snapshot(request.conversation_id))
        if waits.id == run.id:
            # The run that was in the way may have ended before this one was in the queue to be seen.
            await self.start_next(run.conversation_id)
        return waits

    async def start_next(self, conversation_id: str) -> None:
        """Begin the run whose turn it is; one that cannot begin any more ends, and the next one's turn comes."""
        while not self._closing and conversation_id not in self._held:
            waiting = await self._store.read(lambda tx: tx.runs.next_queued(conversation_id))
            if waiting is None:
                return
            try:
                request = decode_request(waiting.queued_request or b"")
                seen = await self._store.read(lambda tx: tx.snapshot(conversation_id))
                if (await self._launcher.begin(waiting, request, seen)).status in ACTIVE_STATUSES:
                    return
            except (ConversationBusy, ServerBusy):
                return  # the end of the run that came first will bring somebody here again
            except StoreUnavailable as error:
                _log.warning("queue_waits", conversation_id=conversation_id, error=str(error))
                return
            except TertuliaError as error:
                await self.end_waiting(waiting.id, failure(error))

    async def end_waiting(self, run_id: str, ending: Ending) -> bool:
        """End a run that has not begun; False if it does not wait, or its turn came just now."""
        try:
            run = await run_to_end(self._store.write(partial(end_waiting, run_id, ending)))
        except NotFound:
            return False  # its conversation was deleted
        if run is None:
            return False
        self._events.changed(run_id)
        self._telemetry(RunEnded(run))
        self._hooks.begin(run)
        return True


def enqueue(run: Run, request: SendRequest, limit: int, tx: Transaction) -> Run | None:
    """Put the run at the end of its conversation's queue; None if the conversation is free meanwhile.

    Its readers follow its log already, which begins with it.

    :raises QueueFull: if as many wait as may.
    """
    tx.conversations.get(run.conversation_id, lock=True)
    known = find_sent(request, run, tx)
    if known is not None:
        return known
    active, waiting = tx.runs.active(run.conversation_id), tx.runs.queued(run.conversation_id)
    if active is None and not waiting:
        return None
    if len(waiting) >= limit:
        raise QueueFull(limit, (active or waiting[0]).id)
    waits = replace(run, status="created", queued_request=encode_request(request))
    tx.runs.insert(waits)
    tx.events.append(run.id, chunk_after(0, [RunStarted(run.id, run.created_at.timestamp())]))
    return waits


def end_waiting(run_id: str, ending: Ending, tx: Transaction) -> Run | None:
    """End a run that waits for its turn, and tell its readers; None if it does not wait, or its turn came."""
    run = tx.runs.get(run_id)
    if run.status != "created":
        return None
    over = with_end(run, ending)
    tx.runs.update(over)
    tx.events.append(run_id, chunk_after(tx.events.last(run_id), last_events(ending)))
    return over
