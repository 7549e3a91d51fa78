"""Runs: starting the answer to a message, following it, stopping it, and leaving nothing stuck behind."""

import asyncio
import dataclasses
from collections import Counter
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import aclosing, contextmanager

import structlog

from tertulia.domain.agents import CompactionSettings
from tertulia.domain.errors import ConversationBusy, NotFound, StoreUnavailable, TertuliaError
from tertulia.domain.runs import ACTIVE_STATUSES, Cancel, Run, meaning_of
from tertulia.engine.lifecycle.compaction_run import Compacted
from tertulia.engine.lifecycle.end_hooks import EndHooks
from tertulia.engine.lifecycle.executor import Executor
from tertulia.engine.lifecycle.in_order import in_order
from tertulia.engine.lifecycle.launcher import Launcher
from tertulia.engine.lifecycle.lease import Lease
from tertulia.engine.lifecycle.prepare import Turns, new_run
from tertulia.engine.lifecycle.queue import Queues
from tertulia.engine.lifecycle.settings import RunSettings
from tertulia.engine.lifecycle.worker import Worker
from tertulia.engine.requests import SendRequest
from tertulia.engine.tools.toolbox import Toolbox
from tertulia.engine.traces import Trace, trace_of
from tertulia.engine.turn.context import run_to_end
from tertulia.engine.turn.history import Histories
from tertulia.engine.turn.outcome import ABANDONED, CANCELLED
from tertulia.ports.catalogue import Catalogue
from tertulia.ports.event_log import EventLog, Numbered
from tertulia.ports.faults import Faults, no_faults
from tertulia.ports.queries import Page, RunQuery
from tertulia.ports.signals import NoSignals, Signals
from tertulia.ports.store import Snapshot, Store
from tertulia.ports.telemetry import Telemetry, no_telemetry

_log = structlog.get_logger(__name__)


class Runs:
    """All runs. A conversation runs one message at a time; different ones do not wait for each other."""

    def __init__(  # noqa: PLR0913  all that a run meets
        self,
        store: Store,
        events: EventLog,
        catalogue: Catalogue,
        toolbox: Toolbox,
        histories: Histories,
        settings: RunSettings | None = None,
        hooks: EndHooks | None = None,
        *,
        signals: Signals | None = None,
        faults: Faults = no_faults,
        telemetry: Telemetry = no_telemetry,
    ) -> None:
        settings = settings or RunSettings()
        hooks = hooks or EndHooks()
        signals = signals or NoSignals()
        self._store = store
        self._events = events
        self._catalogue = catalogue
        self._histories = histories
        self._hooks = hooks
        self._signals = signals
        self._lease = Lease(store, settings.lease, settings.life)
        self._executor = Executor(store, histories, self._lease, hooks, telemetry)
        turns = Turns(store, toolbox, faults, telemetry)
        self._launcher = Launcher(store, events, catalogue, turns, histories, self._executor, settings)
        self._queues = Queues(store, events, self._launcher, hooks, telemetry, settings.queue_limit)
        self._worker = Worker(store, self._lease, self._executor, self._launcher, self._queues, signals)
        self._readers: Counter[str] = Counter()
        self._closing = False
        self.retired = False
        """Whether messages are better sent to another server; they are taken still."""

    async def open(self) -> None:
        """Join the workers and resume what others left; no run may start before this."""
        await self._worker.start()

    async def look(self) -> None:
        """Send a heartbeat now, and take over whatever can be taken over."""
        await self._worker.look()

    def mourn(self, life: str) -> None:
        """Take over at once what another process was answering, which is known to be dead; see ``RunSettings.life``."""
        self._worker.mourn(life)

    @property
    def worker_id(self) -> str:
        """The name of this worker, the owner of the runs answered here."""
        return self._lease.worker_id

    async def start(self, request: SendRequest) -> Run:
        """Store the messages and begin to answer them; the answer is read with ``follow``.

        A request that was sent before, by the otids of its messages or as answers to the same calls, is not answered
        twice: the run that answers it is returned. What happens when the conversation is answering another message
        the request says, or its agent.

        :raises NotFound: if there is no such conversation.
        :raises ConversationBusy: if it is answering another message and this one is not to wait or go before it.
        :raises QueueFull: if the queue is full.
        :raises ServerBusy: if this server is answering as many messages as it may.
        :raises ApprovalPending: if the conversation waits for answers to tool calls.
        :raises NothingPending: if an answer is to a call that waits for none.
        :raises InvalidArgument: if the model cannot be used; nothing is stored then.
        """
        if self._closing:
            raise StoreUnavailable("The server is shutting down. Send the message again in a moment.")
        # Carried to its end even if the caller goes away: a stored run without its task would block the conversation.
        return await run_to_end(self._send(request))

    def follow(self, run_id: str, after: int = 0) -> AsyncGenerator[Sequence[Numbered], None]:
        """The run's events after the sequence id, then those to come; see :class:`EventLog`."""
        return in_order(self._events.follow(run_id, after), run_id, after)

    @contextmanager
    def reading(self, run_id: str) -> Generator[None]:
        """A client reads the run meanwhile; a retry may be reading the run of the request it repeats."""
        self._readers[run_id] += 1
        try:
            yield
        finally:
            self._readers[run_id] -= 1
            if not self._readers[run_id]:
                del self._readers[run_id]

    async def attach(self, run: Run) -> None:
        """Say that a client is about to read the run, so that its worker does not stop it for want of readers."""
        wanted = self._store.shared and not run.background and run.status in ACTIVE_STATUSES
        if wanted and not self._executor.has(run.id):
            await self._store.write(lambda tx: tx.runs.keep(run.id))

    async def abandon(self, run: Run) -> None:
        """A client of the run went away: nobody will read it any more, unless others do or it is in the background."""
        if run.background or run.id in self._readers:
            return
        if not self._executor.has(run.id):
            await self._queues.end_waiting(run.id, ABANDONED)
        elif not (self._store.shared and await self._store.read(lambda tx: tx.runs.is_kept(run.id))):
            _log.info("client_left", run_id=run.id)
            await self._executor.abandon(run.id)

    async def cancel(self, run_id: str, *, rollback: bool = False) -> bool:
        """Stop a run and wait until its end is durable; False if it was neither running nor waiting.

        ``rollback`` takes what it added to the history back as well.
        """
        return await self._cancel(run_id, "rollback" if rollback else "cancel")

    async def cancel_conversation(self, conversation_id: str) -> list[str]:
        """Stop what the conversation is running; the ids of the runs that were."""
        return await self._cancel_all(RunQuery(conversation_id=conversation_id, statuses=ACTIVE_STATUSES))

    async def cancel_agent(self, agent_id: str) -> list[str]:
        """Stop what all conversations of the agent are running."""
        return await self._cancel_all(RunQuery(agent_ids=(agent_id,), statuses=ACTIVE_STATUSES, of_deleted=True))

    async def compact(self, conversation_id: str, asked: CompactionSettings | None = None) -> Compacted:
        """Let a summary take the place of older messages in what the model is shown; returns when it is stored.

        :raises NotFound: if there is no such conversation.
        :raises ConversationBusy: if it is answering a message.
        :raises InvalidArgument: if there is nothing to compact or a setting cannot be used.
        :raises Conflict: if it is cancelled.
        """
        if self._closing:
            raise StoreUnavailable("The server is shutting down. Ask again in a moment.")
        if self._lease.dropped:  # their conversations are not to be busy for long
            await self._worker.look()
        compacting, task = await run_to_end(self._launcher.compact(conversation_id, asked))
        await asyncio.wait([task])
        return compacting.result()

    async def trace(self, step_id: str) -> Trace | None:
        """What a step sent to its provider and got back; see :func:`trace_of`."""
        return await trace_of(self._store, self._catalogue, self._histories.images, step_id)

    @property
    def active(self) -> int:
        """How many runs are being answered here."""
        return len(self._executor.active)

    def retire(self) -> None:
        """Stop being ready: take over nothing more from other workers."""
        self.retired = True
        self._worker.stop_claiming()

    async def drain(self, grace: float) -> None:
        """Take no more messages, give what is running ``grace`` seconds to end by itself, and leave the rest."""
        self._closing = True
        self._queues.close()
        self.retire()
        await self._executor.settled(grace)
        await self.close()

    async def close(self) -> None:
        """Take no more messages; what is running is left to other workers, or to this server's next start."""
        self._closing = True
        self._queues.close()
        self._worker.stop_claiming()
        await self._executor.leave()
        await self._events.close()
        await self._worker.close()
        await self._hooks.close()

    async def _cancel_all(self, query: RunQuery) -> list[str]:
        query = dataclasses.replace(query, page=Page(limit=None, ascending=True))
        runs = await self._store.read(lambda tx: tx.runs.find(query))
        # Those that wait first: their turn must not come because what is before them ends.
        wanted = [run.id for run in sorted(runs, key=lambda run: run.status)]
        stopped = [await self._cancel(run_id, "cancel") for run_id in wanted]
        return [run_id for run_id, was_there in zip(wanted, stopped, strict=True) if was_there]

    async def _cancel(self, run_id: str, how: Cancel) -> bool:
        rollback, hold = meaning_of(how)
        if await self._executor.cancel(run_id, rollback=rollback, hold=hold):
            return True
        if await self._queues.end_waiting(run_id, CANCELLED):
            return True
        if await self._executor.cancel(run_id, rollback=rollback, hold=hold):  # its turn came just now
            return True
        return await self._cancel_elsewhere(run_id, how)

    async def _cancel_elsewhere(self, run_id: str, how: Cancel) -> bool:
        """Have another worker stop the run, and wait for its end."""
        try:
            last = await self._store.read(lambda tx: tx.events.last(run_id))
            if not await self._store.write(lambda tx: tx.runs.ask_to_cancel(run_id, how)):
                return False
        except NotFound:
            return False
        self._signals.publish("cancel", [run_id])
        if not self._closing:
            await self._worker.look()  # nobody may be answering it: it was dropped or set aside
        async with aclosing(self.follow(run_id, last)) as batches:
            async for _ in batches:
                pass
        return True

    async def _send(self, request: SendRequest) -> Run:
        if self._lease.dropped:  # their conversations are not to be busy for long
            await self._worker.look()
        seen = await self._store.read(lambda tx: tx.snapshot(request.conversation_id))
        policy = request.busy or seen.agent.busy_policy or "reject"
        request = dataclasses.replace(request, busy=policy)
        run = new_run(request, seen)
        if policy in {"interrupt", "rollback"}:
            begun = await self._push_in(run, request, seen)
        else:
            begun = await self._queues.begin_or_wait(run, request, seen)
        if begun.id == run.id:
            return begun
        if await self._executor.let_go(begun.id):
            return await self._send(request)  # it is not to be read any more, and may be resumed
        await self.attach(begun)
        return begun

    async def _push_in(self, run: Run, request: SendRequest, seen: Snapshot) -> Run:
        """Begin in place of whatever the conversation is running, and before what waits for it."""
        try:
            # Nobody else's turn comes meanwhile.
            with self._queues.hold(run.conversation_id):
                return await self._begin_in_place(run, request, seen)
        except TertuliaError:
            await self._queues.start_next(run.conversation_id)
            raise

    async def _begin_in_place(self, run: Run, request: SendRequest, seen: Snapshot) -> Run:
        how: Cancel = "rollback_for_next" if request.busy == "rollback" else "cancel_for_next"
        while True:
            try:
                return await self._launcher.begin(run, request, seen)
            except ConversationBusy as busy:
                await self._cancel(busy.run_id, how)
            seen = await self._store.read(lambda tx: tx.snapshot(request.conversation_id))
