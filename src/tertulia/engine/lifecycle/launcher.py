"""Launching runs: from a request, from what another worker left, or for a compaction, to a task that answers."""

import asyncio
from collections.abc import Sequence
from functools import partial

import structlog
from msgspec.structs import replace

from tertulia.domain.agents import CompactionSettings
from tertulia.domain.errors import LeaseLost, NotFound, ServerBusy, StoreUnavailable
from tertulia.domain.events import MessageAdded, RunStarted
from tertulia.domain.messages import Message
from tertulia.domain.runs import Run, meaning_of
from tertulia.engine.lifecycle.compaction_run import METADATA, Compacting, begin_compaction
from tertulia.engine.lifecycle.executor import Active, Executor
from tertulia.engine.lifecycle.finalize import chunk_after, with_end
from tertulia.engine.lifecycle.prepare import Turns, new_run, prepare
from tertulia.engine.lifecycle.quarantine import Quarantine
from tertulia.engine.lifecycle.recovery import (
    Left,
    begin_again,
    cause_of_death,
    cut_off,
    end_lost,
    end_unable,
    is_suspect,
    may_go_on,
    read_left,
    request_of,
    restore,
    set_aside,
    takeover_events,
)
from tertulia.engine.lifecycle.settings import RunSettings
from tertulia.engine.lifecycle.start import Begun, begin
from tertulia.engine.requests import SendRequest
from tertulia.engine.turn.compaction import Compactor
from tertulia.engine.turn.history import Histories
from tertulia.engine.turn.loop import Loop
from tertulia.engine.turn.outcome import CRASHED, Ending, deadly, failure
from tertulia.ports.catalogue import Catalogue
from tertulia.ports.event_log import EventLog, RunLog
from tertulia.ports.runs import Claim
from tertulia.ports.store import Snapshot, Store, Transaction
from tertulia.ports.telemetry import RunEnded, RunTakenOver

_log = structlog.get_logger(__name__)


class Launcher:
    """Every run of this process begins here, under its lease."""

    def __init__(
        self,
        store: Store,
        events: EventLog,
        catalogue: Catalogue,
        turns: Turns,
        histories: Histories,
        executor: Executor,
        settings: RunSettings,
    ) -> None:
        self._telemetry = turns.telemetry
        self._store = store
        self._events = events
        self._catalogue = catalogue
        self._turns = turns
        self._images = histories.images
        self._lease = executor.lease
        self._executor = executor
        self._settings = settings
        self._compactor = Compactor(catalogue, settings.compaction_threshold)
        self.quarantine = Quarantine()

    @property
    def room(self) -> int:
        """How many more runs this process may answer."""
        return max(0, self._settings.max_runs - len(self._executor.active))

    async def begin(self, run: Run, request: SendRequest, seen: Snapshot) -> Run:
        """Begin to answer the request; or the run that answers it already.

        :raises ServerBusy: if there is no room. What else it raises, :func:`begin` says.
        """
        if not self.room:
            raise ServerBusy(self._settings.max_runs)
        prepared = prepare(self._catalogue, request, seen, compile_anew=True)
        deadline = self._settings.approval_deadline
        begun = await self._store.write(
            partial(begin, run, request, seen.agent, prepared.compiled, deadline, self._lease.worker_id)
        )
        if isinstance(begun, Run):
            return begun
        returns = [message for message in begun.messages if message.role == "tool"]  # what answers to calls came to
        turn = self._turns.turn(request, begun, seen, prepared, log=self._open_log(begun, returns))
        turn.faults("after_answer_stored")
        active = Active(turn, begun, Loop(turn, self._compactor, self._images))
        self._executor.launch(active, apart=run.status == "created")
        return begun.run

    async def compact(
        self, conversation_id: str, asked: CompactionSettings | None
    ) -> tuple[Compacting, asyncio.Task[None]]:
        """Begin to compact a conversation; what comes of it is there when the task is done."""
        seen = await self._store.read(lambda tx: tx.snapshot(conversation_id))
        request = SendRequest(conversation_id=conversation_id)
        run = replace(new_run(request, seen), metadata=dict(METADATA))
        prepared = prepare(self._catalogue, request, seen, compile_anew=False)
        begun = await self._store.write(partial(begin_compaction, run, self._lease.worker_id))
        turn = self._turns.turn(request, begun, seen, prepared, log=self._open_log(begun))
        turn.faults("during_compaction")
        compacting = Compacting(turn, self._compactor, self._images, asked)
        return compacting, self._executor.launch(Active(turn, begun, compacting))

    async def go_on(self, claim: Claim) -> None:
        """Go on with a run that was taken over; one that cannot be is ended."""
        run = claim.run
        self._telemetry(RunTakenOver(run.id))
        _log.warning("run_taken_over", run_id=run.id, conversation_id=run.conversation_id, attempts=claim.attempts)
        try:
            if may_go_on(claim):
                await self._go_on(claim)
            else:
                await self._end_lost(claim, CRASHED)
        except (NotFound, LeaseLost) as error:
            _log.info("run_gone", run_id=run.id, reason=str(error))
        except StoreUnavailable as error:
            self._lease.drop(run.id, claim.token, error)
        except Exception as error:  # noqa: BLE001  becomes the run's failure: a model may not be configured any more
            await self._give_up(claim, failure(error))

    async def _end_lost(self, claim: Claim, ending: Ending) -> None:
        await self._store.write(partial(end_lost, claim, ending))
        self._announce_end(claim.run, ending)

    async def _give_up(self, claim: Claim, ending: Ending) -> None:
        run = claim.run
        try:
            await self._store.write(partial(end_unable, claim, ending))
        except StoreUnavailable as error:
            self._lease.drop(run.id, claim.token, error)
        except (NotFound, LeaseLost) as error:
            _log.info("run_gone", run_id=run.id, reason=str(error))
        else:
            self._announce_end(run, ending)

    async def _go_on(self, claim: Claim) -> None:
        request = request_of(claim.run)
        left = await self._store.read(partial(read_left, claim.run))
        run = claim.run if claim.given_up else cut_off(claim.run, left)
        if deadly_work := cause_of_death(run):
            await self._end_lost(claim, deadly(deadly_work))
            return
        suspect = claim.cancel is None and is_suspect(run, left)
        if suspect and not self.quarantine.room:
            await self._store.write(partial(set_aside, run, claim.token))
            _log.warning("run_set_aside", run_id=run.id, conversation_id=run.conversation_id, cuts=run.cuts)
            return
        begun, interrupted = begin_again(run, left, self._turns.toolbox)
        prepared = prepare(self._catalogue, request, left.seen, compile_anew=False)
        log = await self._reopen_log(run, claim.token, left)
        turn = self._turns.turn(request, begun, left.seen, prepared, log=log, token=claim.token)
        turn.interrupted = tuple(interrupted)
        restore(turn, run, left)
        active = Active(turn, begun, Loop(turn, self._compactor, self._images))
        if claim.cancel is not None:
            turn.rolled_back, active.held = meaning_of(claim.cancel)
            active.cancelled = True
        task = self._executor.launch(active, apart=True)
        if suspect:
            self.quarantine.enter(run.id)
            turn.on_step = partial(self.quarantine.leave, run.id)
            task.add_done_callback(lambda _: self.quarantine.leave(run.id))

    async def _reopen_log(self, run: Run, token: int, left: Left) -> RunLog:
        """The run's log, with word of the takeover, which is stored before anybody is told.

        Were this worker to die before, the next one would give its own frames the numbers that were shown already.
        """
        told = chunk_after(left.last, takeover_events(run, left.last, left.discarded))

        def write(tx: Transaction) -> None:
            tx.runs.hold(run.id, token)
            tx.runs.update(run)
            tx.events.append(run.id, told, token)

        await self._store.write(write)
        self._events.changed(run.id)
        return self._events.open(run.id, token, told.last)

    def _announce_end(self, run: Run, ending: Ending) -> None:
        self._events.changed(run.id)
        self._telemetry(RunEnded(with_end(run, ending)))

    def _open_log(self, begun: Begun, returns: Sequence[Message] = ()) -> RunLog:
        run = begun.run
        log = self._events.open(run.id, after=begun.told)
        if not begun.told:
            log.append(RunStarted(run.id, run.created_at.timestamp()))
        for message in returns:
            log.append(MessageAdded(message))
        return log
