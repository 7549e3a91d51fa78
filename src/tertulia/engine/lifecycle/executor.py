"""The runs that this process is answering: each a task, from its beginning to a durable end or to another worker."""

import asyncio
from contextvars import Context
from dataclasses import dataclass
from functools import partial

import structlog
from msgspec.structs import replace
from structlog.contextvars import bind_contextvars

from tertulia.domain.errors import LeaseLost, NotFound, StoreUnavailable
from tertulia.engine.lifecycle.compaction_run import Compacting
from tertulia.engine.lifecycle.end_hooks import EndHooks
from tertulia.engine.lifecycle.finalize import end_plainly, finish, last_events, with_end
from tertulia.engine.lifecycle.lease import Lease
from tertulia.engine.lifecycle.start import Begun
from tertulia.engine.turn.context import Turn, run_to_end
from tertulia.engine.turn.history import Histories
from tertulia.engine.turn.loop import Loop
from tertulia.engine.turn.outcome import ABANDONED, CANCELLED, Ending, failure
from tertulia.ports.store import Store
from tertulia.ports.telemetry import RunBegan, RunEnded, RunLeft, Telemetry, no_telemetry

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Active:
    """A run that this process is answering.

    ``held`` says that whoever stopped it begins the next run of its conversation, ``abandoned`` that it was stopped
    because nobody waits for it. One that is ``left`` ends here
    without a word: another worker resumes it, or this server when it next starts. One that is ``lost`` is another
    worker's already.
    """

    turn: Turn
    begun: Begun
    loop: Loop | Compacting
    task: asyncio.Task[None] | None = None
    running: bool = False
    cancelled: bool = False
    held: bool = False
    abandoned: bool = False
    left: bool = False
    lost: bool = False

    def cancel(self) -> None:
        self.cancelled = True
        # A task cancelled before its first line would never get to clean up; it looks at the flag instead.
        if self.running and self.task is not None:
            self.task.cancel()


class Executor:
    """All of them, under the ``lease``. The ``hooks`` are told of each run whose end is stored."""

    def __init__(
        self,
        store: Store,
        histories: Histories,
        lease: Lease,
        hooks: EndHooks,
        telemetry: Telemetry = no_telemetry,
    ) -> None:
        self._store = store
        self._telemetry = telemetry
        self._histories = histories
        self.lease = lease
        self._hooks = hooks
        self.active: dict[str, Active] = {}

    def launch(self, active: Active, *, apart: bool = False) -> asyncio.Task[None]:
        """Begin to answer. ``apart``: nothing that was noted for log lines of whoever is here belongs to the run."""
        run_id = active.turn.run.id
        self.active[run_id] = active
        context = Context() if apart else None
        active.task = asyncio.create_task(self._drive(active), name=run_id, context=context)
        return active.task

    def has(self, run_id: str) -> bool:
        return run_id in self.active

    async def cancel(self, run_id: str, *, rollback: bool = False, hold: bool = False) -> bool:
        """Stop a run and wait until its end is durable; False if it is not answered here.

        ``rollback`` takes what it added to the history back. ``hold``: the caller begins the next run.
        """
        active = self.active.get(run_id)
        if active is None or active.task is None:
            return False
        active.turn.rolled_back |= rollback
        active.held |= hold
        active.cancel()
        await asyncio.wait([active.task])
        return True

    async def abandon(self, run_id: str) -> None:
        """Stop a run that nobody waits for any more; a cancel that was asked for before is one still."""
        active = self.active.get(run_id)
        if active is not None:
            active.abandoned |= not active.cancelled
            await self.cancel(run_id)

    async def let_go(self, run_id: str) -> bool:
        """Whether the run is being stopped because nobody waits for it; if so, it is over when this returns."""
        active = self.active.get(run_id)
        if active is None or not active.abandoned or active.task is None:
            return False
        await asyncio.wait([active.task])
        return True

    async def settled(self, grace: float) -> None:
        """Give what is running ``grace`` seconds to end by itself."""
        tasks = [active.task for active in self.active.values() if active.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=grace)

    async def leave(self, *, lost: bool = False) -> None:
        """Let go of all runs as they stand, for whoever has them next. ``lost``: others have them already."""
        tasks: list[asyncio.Task[None]] = []
        for active in list(self.active.values()):
            active.left = True
            if lost:
                active.lost = True
                active.turn.log.lose()
            active.cancel()
            if active.task is not None:
                tasks.append(active.task)
        if tasks:
            await asyncio.wait(tasks)

    async def _drive(self, active: Active) -> None:
        """Answer, and bring the run to its end however the answering went."""
        turn = active.turn
        run, stored = turn.run, False
        bind_contextvars(
            run_id=run.id,
            conversation_id=run.conversation_id,
            agent_id=run.agent_id,
            worker_id=self.lease.worker_id,
        )
        self._telemetry(
            RunBegan(
                run=run,
                agent_name=turn.agent.name,
                model=turn.choice.card.handle,
                traceparent=turn.traceparent,
                resumed=turn.token > 1,
            )
        )
        try:
            ending = await self._ending(active)
            stored = ending is not None and await self._end(active, ending)
        finally:
            turn.log.close()
            del self.active[run.id]
            if not stored:
                self._telemetry(RunLeft(run.id, active.lost))
        if stored:
            await self._hooks.on_end(run, free=not active.held)

    async def _ending(self, active: Active) -> Ending | None:
        """How the answering went; None if the run is left to others."""
        turn, begun = active.turn, active.begun
        try:
            active.running = True
            if not active.cancelled:
                turn.history = await self._histories.of(replace(begun.conversation, head=begun.first))
                turn.history.append(begun.messages, begun.conversation.head)
                return await active.loop.run()
        except asyncio.CancelledError:
            pass
        except LeaseLost:
            self._lose(active)
            return None
        except StoreUnavailable as error:
            self._drop(turn, error)
            return None
        except Exception as error:  # noqa: BLE001 becomes the run's typed failure, which its readers are told
            return failure(error)
        finally:
            active.running = False  # a cancel that comes now has nothing left to stop, and waits for the end
        if active.left:
            return None
        return ABANDONED if active.abandoned else CANCELLED

    async def _end(self, active: Active, ending: Ending) -> bool:
        """Store the run's end; False if this process cannot."""
        turn = active.turn
        try:
            over = await run_to_end(finish(turn, ending, active.loop.open_step))
        except LeaseLost:
            self._lose(active)
            return False
        except StoreUnavailable as error:
            self._drop(turn, error)
            return False
        except Exception as error:  # noqa: BLE001 becomes the failure that the run's readers are told
            return await self._end_plainly(active, failure(error))
        self._telemetry(RunEnded(over))
        if not turn.rolled_back:
            self._histories.keep(turn.history)
        return True

    async def _end_plainly(self, active: Active, ending: Ending) -> bool:
        """End a run whose end could not be stored as it should be: its conversation may be gone."""
        turn = active.turn
        await turn.log.settle()
        chunk = turn.log.stage(*last_events(ending))
        try:
            await self._store.write(partial(end_plainly, turn.run, turn.token, ending, chunk))
        except NotFound:
            _log.info("run_deleted", run_id=turn.run.id)
            turn.log.stored(chunk)  # there is nothing of it to be durable, and its readers are told all the same
        except LeaseLost:
            self._lose(active)
            return False
        except StoreUnavailable as error:
            self._drop(turn, error)
            return False
        else:
            turn.log.stored(chunk)
        self._telemetry(RunEnded(with_end(turn.run, ending)))
        return True

    def _lose(self, active: Active) -> None:
        active.lost = True
        active.turn.log.lose()
        _log.warning("run_lost", run_id=active.turn.run.id, token=active.turn.token)

    def _drop(self, turn: Turn, error: Exception) -> None:
        turn.log.give_up(str(error))
        self.lease.drop(turn.run.id, turn.token, error)
