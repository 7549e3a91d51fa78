"""Runs: starting the answer to a message, following it, stopping it, and leaving nothing stuck behind."""

import asyncio
import dataclasses
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

import structlog
from msgspec.structs import replace

from tertulia.domain.agents import CompactionSettings
from tertulia.domain.errors import ConversationBusy, NotFound, StoreUnavailable, TertuliaError
from tertulia.domain.events import MessageAdded, RunStarted
from tertulia.domain.runs import ACTIVE_STATUSES, Run
from tertulia.engine.beginning import Begun, Snapshot, begin, enqueue, snapshot
from tertulia.engine.chores import Chores
from tertulia.engine.compacting import METADATA, Compacted, Compacting, begin_compaction
from tertulia.engine.compaction import THRESHOLD, Compactor
from tertulia.engine.compiling import refreshed
from tertulia.engine.endings import CANCELLED, Ending, failure
from tertulia.engine.finish import append_chunk, end_if_queued, end_plainly, finish, last_events
from tertulia.engine.history import Histories
from tertulia.engine.loop import Loop
from tertulia.engine.precedence import choose
from tertulia.engine.preparing import check_model, new_run, prompt_of, turn_of
from tertulia.engine.queue import Queue
from tertulia.engine.recovery import end_if_unfinished
from tertulia.engine.requests import SendRequest, decode_request
from tertulia.engine.traces import Trace, trace_of
from tertulia.engine.turn import Turn, uninterrupted
from tertulia.ports.catalogue import Catalogue
from tertulia.ports.event_log import EventLog, Numbered
from tertulia.ports.store import Store
from tertulia.ports.tool import Tool


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """What is set of all runs.

    ``approval_deadline`` is how long tool calls wait for an answer before they count as denied, ``queue_limit`` how
    many runs may wait for one conversation, ``compaction_threshold`` the part of a context window from which on a
    history is compacted.
    """

    approval_deadline: timedelta = timedelta(days=7)
    queue_limit: int = 100
    compaction_threshold: float = THRESHOLD


_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Active:
    """A run that this process is answering."""

    turn: Turn
    begun: Begun
    loop: Loop | Compacting
    task: asyncio.Task[None] | None = None
    running: bool = False
    cancelled: bool = False

    def cancel(self) -> None:
        self.cancelled = True
        # A task cancelled before its first line would never get to clean up; it looks at the flag instead.
        if self.running and self.task is not None:
            self.task.cancel()


class Runs:
    """All runs. A conversation runs one message at a time; different ones do not wait for each other."""

    def __init__(
        self,
        store: Store,
        events: EventLog,
        catalogue: Catalogue,
        tools: Mapping[str, Tool],
        histories: Histories,
        settings: RunSettings | None = None,
        chores: Chores | None = None,
    ) -> None:
        self._store = store
        self._events = events
        self._catalogue = catalogue
        self._tools = tools
        self._histories = histories
        self._settings = settings or RunSettings()
        self._chores = chores or Chores()
        self._compactor = Compactor(catalogue, self._settings.compaction_threshold)
        self._queue = Queue(store, events)
        self._active: dict[str, _Active] = {}
        self._readers: Counter[str] = Counter()
        self._unstored: set[str] = set()  # runs whose end the store could not take
        self._closing = False

    async def start(self, request: SendRequest) -> Run:
        """Store the messages and begin to answer them; the answer is read with ``follow``.

        A request that was sent before, by the otids of its messages or as answers to the same calls, is not answered
        twice: the run that answers it is returned. What happens when the conversation is answering another message
        the request says, or its agent.

        :raises NotFound: if there is no such conversation.
        :raises ConversationBusy: if it is answering another message and this one is not to wait or go before it.
        :raises QueueFull: if as many messages wait as may.
        :raises ApprovalPending: if the conversation waits for answers to tool calls.
        :raises NothingPending: if an answer is to a call that waits for none.
        :raises InvalidArgument: if the model cannot be used; nothing is stored then.
        """
        if self._closing:
            raise StoreUnavailable("The server is shutting down. Send the message again in a moment.")
        # Carried to its end even if the caller goes away: a stored run without its task would block the conversation.
        return await uninterrupted(self._send(request))

    async def resume(self) -> None:
        """Go on with what waited when the last process ended."""
        for conversation_id in await self._queue.load():
            await self._start_next(conversation_id)

    def follow(self, run_id: str, after: int = 0) -> AsyncGenerator[Sequence[Numbered], None]:
        """The run's events after the sequence id, then those to come; see :class:`EventLog`."""
        return self._events.follow(run_id, after)

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

    async def abandon(self, run: Run) -> None:
        """A client of the run went away: nobody will read it any more, unless others do or it is in the background."""
        if not run.background and run.id not in self._readers:
            _log.info("client_left", run_id=run.id)
            await self.cancel(run.id)

    async def cancel(self, run_id: str, *, rollback: bool = False) -> bool:
        """Stop a run and wait until its end is durable; False if it was neither running nor waiting here.

        ``rollback`` takes what it added to the history back as well.
        """
        if self._queue.get(run_id) is not None and await self._end_waiting(run_id, CANCELLED):
            return True
        active = self._active.get(run_id)
        if active is None or active.task is None:
            return False
        active.turn.rolled_back |= rollback
        active.cancel()
        await asyncio.wait([active.task])
        return True

    async def cancel_conversation(self, conversation_id: str) -> list[str]:
        """Stop what the conversation is running; the ids of the runs that were."""
        return await self._cancel_all(lambda run: run.conversation_id == conversation_id)

    async def cancel_agent(self, agent_id: str) -> list[str]:
        """Stop what all conversations of the agent are running."""
        return await self._cancel_all(lambda run: run.agent_id == agent_id)

    async def compact(self, conversation_id: str, asked: CompactionSettings | None = None) -> Compacted:
        """Let a summary take the place of older messages in what the model is shown; returns when it is stored.

        :raises NotFound: if there is no such conversation.
        :raises ConversationBusy: if it is answering a message.
        :raises InvalidArgument: if there is nothing to compact or a setting cannot be used.
        :raises Conflict: if it is cancelled.
        """
        if self._closing:
            raise StoreUnavailable("The server is shutting down. Ask again in a moment.")
        compacting, task = await uninterrupted(self._compact(conversation_id, asked))
        await asyncio.wait([task])
        return compacting.result()

    async def trace(self, step_id: str) -> Trace | None:
        """What a step sent to its provider and got back; see :func:`trace_of`."""
        return await trace_of(self._store, self._catalogue, step_id)

    @property
    def active(self) -> int:
        """How many runs are being answered."""
        return len(self._active)

    async def drain(self, grace: float) -> None:
        """Take no more messages, give what is running ``grace`` seconds to end by itself, and cancel the rest."""
        self._closing = True
        tasks = [active.task for active in self._active.values() if active.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=grace)
        await self.close()

    async def close(self) -> None:
        """Take no more messages and cancel what is running; what waits goes on with the next process."""
        self._closing = True
        await asyncio.gather(*(self.cancel(run_id) for run_id in list(self._active)))
        self._queue.close()
        await self._chores.close()

    async def _cancel_all(self, which: Callable[[Run], bool]) -> list[str]:
        known = [*self._queue.runs(), *(active.turn.run for active in self._active.values())]
        wanted = [run.id for run in known if which(run)]
        stopped = await asyncio.gather(*(self.cancel(run_id) for run_id in wanted))
        return [run_id for run_id, was_there in zip(wanted, stopped, strict=True) if was_there]

    async def _send(self, request: SendRequest) -> Run:
        await self._store_ends()
        seen = await self._store.read(partial(snapshot, request.conversation_id))
        policy = request.busy or seen.agent.busy_policy or "reject"
        request = dataclasses.replace(request, busy=policy)
        run = new_run(request, seen)
        if policy in {"interrupt", "rollback"}:
            return await self._push_in(run, request, seen)
        while True:
            try:
                return await self._begin(run, request, seen)
            except ConversationBusy:
                if policy == "reject":
                    raise
                waits = await self._store.write(partial(enqueue, run, request, self._settings.queue_limit))
            if waits is not None:
                break
            seen = await self._store.read(partial(snapshot, request.conversation_id))
        if waits.id == run.id:
            self._queue.add(waits)
            # The run that was in the way may have ended before this one was in the queue to be seen.
            await self._start_next(run.conversation_id)
        return waits

    async def _store_ends(self) -> None:
        """Make up for ends that the store could not take when they came: their conversations are not busy."""
        for run_id in list(self._unstored):
            await end_if_unfinished(self._store, run_id)
            self._unstored.discard(run_id)

    async def _push_in(self, run: Run, request: SendRequest, seen: Snapshot) -> Run:
        """Begin in place of whatever the conversation is running, and before what waits for it."""
        while True:
            try:
                return await self._begin(run, request, seen)
            except ConversationBusy as busy:
                with self._queue.held(run.conversation_id):
                    if not await self.cancel(busy.run_id, rollback=request.busy == "rollback"):
                        await self._gone(busy.run_id)
            seen = await self._store.read(partial(snapshot, request.conversation_id))

    async def _gone(self, run_id: str) -> None:
        """Let pass a run that ended by itself just now.

        :raises ConversationBusy: if it goes on, where this process cannot stop it.
        """
        run = await self._store.read(lambda tx: tx.runs.get(run_id))
        if run.status in ACTIVE_STATUSES:
            raise ConversationBusy(run_id)

    async def _start_next(self, conversation_id: str) -> None:
        """Begin the run whose turn it is; one that cannot begin any more ends, and the next one's turn comes."""
        while not self._closing and (run := self._queue.next(conversation_id)) is not None:
            try:
                request = decode_request(run.queued_request or b"")
                seen = await self._store.read(partial(snapshot, conversation_id))
                if (await self._begin(run, request, seen)).status in ACTIVE_STATUSES:
                    return
                self._queue.take(run.id)  # cancelled just now, and ended by whoever did
            except ConversationBusy:
                return  # the end of the run that came first will bring us here again
            except TertuliaError as error:
                await self._end_waiting(run.id, failure(error))

    async def _begin(self, run: Run, request: SendRequest, seen: Snapshot) -> Run:
        started_ns = time.monotonic_ns()
        choice = choose(self._catalogue, seen.agent, seen.conversation, request.override_model)
        check_model(request, choice.card)
        system = refreshed(seen.agent, seen.blocks, seen.conversation, seen.system)
        work = partial(begin, run, request, seen.agent, system, self._settings.approval_deadline)
        begun = await self._store.write(work)
        if isinstance(begun, Run):
            return begun
        waited = self._queue.take(run.id)
        log = waited[1] if waited else self._events.open(run.id)
        if waited is None:
            log.append(RunStarted(run.id, run.created_at.timestamp()))
        for message in begun.messages:
            if message.role == "tool":  # what answers to pending calls came to
                log.append(MessageAdded(message))
        prompt = prompt_of(request, system or seen.system)
        turn = turn_of(
            self._store, self._tools, request, begun, seen, choice, system=prompt, log=log, started_ns=started_ns
        )
        self._launch(_Active(turn, begun, Loop(turn, self._compactor)))
        return begun.run

    def _launch(self, active: _Active) -> asyncio.Task[None]:
        run_id = active.turn.run.id
        self._active[run_id] = active
        active.task = asyncio.create_task(self._drive(active), name=run_id)
        return active.task

    async def _compact(
        self, conversation_id: str, asked: CompactionSettings | None
    ) -> tuple[Compacting, asyncio.Task[None]]:
        seen = await self._store.read(partial(snapshot, conversation_id))
        request = SendRequest(conversation_id=conversation_id)
        run = replace(new_run(request, seen), metadata=METADATA)
        choice = choose(self._catalogue, seen.agent, seen.conversation, None)
        begun = await self._store.write(partial(begin_compaction, run))
        log = self._events.open(run.id)
        log.append(RunStarted(run.id, run.created_at.timestamp()))
        turn = turn_of(
            self._store,
            self._tools,
            request,
            begun,
            seen,
            choice,
            system=seen.system.text,
            log=log,
            started_ns=time.monotonic_ns(),
        )
        compacting = Compacting(turn, self._compactor, asked)
        return compacting, self._launch(_Active(turn, begun, compacting))

    async def _end_waiting(self, run_id: str, ending: Ending) -> bool:
        """End a run that has not begun; False if it does not wait, or its turn came just now."""
        try:
            ended = await uninterrupted(self._store.write(partial(end_if_queued, run_id, ending)))
        except NotFound:
            ended = True  # its conversation was deleted; its readers are told all the same
        waited = self._queue.take(run_id) if ended else None
        if waited is None:
            return False
        run, log = waited
        for event in last_events(ending):
            log.append(event)
        chunk = log.stage()
        try:
            await uninterrupted(self._store.write(partial(append_chunk, run_id, chunk)))
        finally:
            log.close()
        self._chores.begin(run)
        return True

    async def _drive(self, active: _Active) -> None:
        """Answer, and bring the run to its end however the answering went."""
        turn, loop = active.turn, active.loop
        ending = await self._ending(active)
        try:
            await uninterrupted(finish(turn, ending, loop.open_step))
            if not turn.rolled_back:
                self._histories.keep(turn.history)
        except Exception as error:  # noqa: BLE001 becomes the failure that the run's readers are told
            await self._end_plainly(turn, failure(error))
        finally:
            turn.log.close()
            del self._active[turn.run.id]
        self._chores.begin(turn.run)
        await self._start_next(turn.run.conversation_id)

    async def _ending(self, active: _Active) -> Ending:
        turn, begun = active.turn, active.begun
        try:
            active.running = True
            if active.cancelled:
                return CANCELLED
            turn.history = await self._histories.of(replace(begun.conversation, head=begun.first))
            turn.history.append(begun.messages, begun.conversation.head)
            return await active.loop.run()
        except asyncio.CancelledError:
            return CANCELLED
        except Exception as error:  # noqa: BLE001 becomes the run's typed failure, which its readers are told
            return failure(error)
        finally:
            active.running = False  # a cancel that comes now has nothing left to stop, and waits for the end

    async def _end_plainly(self, turn: Turn, ending: Ending) -> None:
        """End a run whose end could not be stored as it should be: its conversation may be gone, or the database."""
        for event in last_events(ending):
            turn.log.append(event)
        try:
            await self._store.write(partial(end_plainly, turn.run, ending))
        except NotFound:
            _log.info("run_deleted", run_id=turn.run.id)
        except StoreUnavailable as error:
            # Ended before the next message begins, or when the server starts next.
            self._unstored.add(turn.run.id)
            _log.warning("run_end_not_stored", run_id=turn.run.id, error=str(error))
