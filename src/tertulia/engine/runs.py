"""Runs: starting the answer to a message, following it, stopping it, and leaving nothing stuck behind."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

import structlog
from msgspec.structs import replace

from tertulia.domain.clock import utc_now
from tertulia.domain.errors import NotFound, StoreUnavailable
from tertulia.domain.events import MessageAdded, RunStarted
from tertulia.domain.ids import new_run_id
from tertulia.domain.runs import Run
from tertulia.engine.beginning import Begun, Snapshot, begin, snapshot
from tertulia.engine.compiling import refreshed
from tertulia.engine.endings import CANCELLED, Ending, failure
from tertulia.engine.finish import end_events, end_plainly, finish
from tertulia.engine.history import Histories, History
from tertulia.engine.loop import Loop
from tertulia.engine.precedence import Choice, choose
from tertulia.engine.requests import SendRequest
from tertulia.engine.tool_rules import ToolRules
from tertulia.engine.traces import Trace, trace_of
from tertulia.engine.turn import Turn, uninterrupted
from tertulia.ports.catalogue import Catalogue
from tertulia.ports.event_log import EventLog, Numbered, RunLog
from tertulia.ports.provider import MemoryView
from tertulia.ports.store import Store
from tertulia.ports.tool import Tool, ToolContext

APPROVAL_DEADLINE = timedelta(days=7)
"""How long tool calls wait for an answer before they count as denied."""

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Active:
    """A run that this process is answering."""

    turn: Turn
    begun: Begun
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
        approval_deadline: timedelta = APPROVAL_DEADLINE,
    ) -> None:
        self._store = store
        self._events = events
        self._catalogue = catalogue
        self._tools = tools
        self._histories = histories
        self._approval_deadline = approval_deadline
        self._active: dict[str, _Active] = {}
        self._closing = False

    async def start(self, request: SendRequest) -> Run:
        """Store the messages and begin to answer them; the answer is read with ``follow``.

        :raises NotFound: if there is no such conversation.
        A request that was sent before, by the otids of its messages or as answers to the same calls, is not answered
        twice: the run that answers it is returned.

        :raises ConversationBusy: if it is answering another message.
        :raises ApprovalPending: if it waits for answers to tool calls.
        :raises InvalidArgument: if an answer is to a call that waits for none, or
            its model cannot be used; nothing is stored then.
        """
        if self._closing:
            raise StoreUnavailable("The server is shutting down. Send the message again in a moment.")
        # Carried to its end even if the caller goes away: a stored run without its task would block the conversation.
        return await uninterrupted(self._start(request))

    def follow(self, run_id: str, after: int = 0) -> AsyncGenerator[Sequence[Numbered], None]:
        """The run's events after the sequence id, then those to come; see :class:`EventLog`."""
        return self._events.follow(run_id, after)

    async def cancel(self, run_id: str) -> bool:
        """Stop a run and wait until its end is durable; False if it was not running here."""
        active = self._active.get(run_id)
        if active is None or active.task is None:
            return False
        active.cancel()
        await asyncio.wait([active.task])
        return True

    async def cancel_conversation(self, conversation_id: str) -> list[str]:
        """Stop what the conversation is running; the ids of the runs that were."""
        return await self._cancel_all(lambda run: run.conversation_id == conversation_id)

    async def cancel_agent(self, agent_id: str) -> list[str]:
        """Stop what all conversations of the agent are running."""
        return await self._cancel_all(lambda run: run.agent_id == agent_id)

    async def trace(self, step_id: str) -> Trace | None:
        """What a step sent to its provider and got back; see :func:`trace_of`."""
        return await trace_of(self._store, self._catalogue, step_id)

    async def close(self) -> None:
        """Take no more messages and cancel what is running."""
        self._closing = True
        await asyncio.gather(*(self.cancel(run_id) for run_id in list(self._active)))

    async def _cancel_all(self, which: Callable[[Run], bool]) -> list[str]:
        running = [run_id for run_id, active in self._active.items() if which(active.turn.run)]
        stopped = await asyncio.gather(*(self.cancel(run_id) for run_id in running))
        return [run_id for run_id, was_running in zip(running, stopped, strict=True) if was_running]

    async def _start(self, request: SendRequest) -> Run:
        started_ns = time.monotonic_ns()
        seen = await self._store.read(partial(snapshot, request.conversation_id))
        choice = choose(self._catalogue, seen.agent, seen.conversation, request.override_model)
        run = _new_run(request, seen)
        system = refreshed(seen.agent, seen.blocks, seen.conversation, seen.system)
        work = partial(begin, run, request, seen.agent, system, self._approval_deadline)
        begun = await self._store.write(work)
        if isinstance(begun, Run):
            return begun
        log = self._events.open(run.id)
        log.append(RunStarted(run.id, run.created_at.timestamp()))
        prompt = (system or seen.system).text if request.override_system is None else request.override_system
        for message in begun.messages:
            if message.role == "tool":  # what answers to pending calls came to
                log.append(MessageAdded(message))
        turn = self._turn(request, begun, seen, choice, prompt, log, started_ns)
        active = self._active[run.id] = _Active(turn, begun)
        active.task = asyncio.create_task(self._drive(active), name=run.id)
        return run

    async def _drive(self, active: _Active) -> None:
        """Answer, and bring the run to its end however the answering went."""
        turn = active.turn
        loop = Loop(turn)
        ending = await self._ending(active, loop)
        try:
            await uninterrupted(finish(turn, ending, loop.open_step))
            self._histories.keep(turn.history)
        except Exception as error:  # noqa: BLE001 becomes the failure that the run's readers are told
            await self._end_plainly(turn, failure(error))
        finally:
            turn.log.close()
            del self._active[turn.run.id]

    async def _ending(self, active: _Active, loop: Loop) -> Ending:
        turn, begun = active.turn, active.begun
        try:
            active.running = True
            if active.cancelled:
                return CANCELLED
            turn.history = await self._histories.of(replace(begun.conversation, head=begun.first))
            turn.history.append(begun.messages, begun.conversation.head)
            return await loop.run()
        except asyncio.CancelledError:
            return CANCELLED
        except Exception as error:  # noqa: BLE001 becomes the run's typed failure, which its readers are told
            return failure(error)

    async def _end_plainly(self, turn: Turn, ending: Ending) -> None:
        """End a run whose end could not be stored as it should be: its conversation may be gone, or the database."""
        for event in end_events(turn, ending):
            turn.log.append(event)
        try:
            await self._store.write(partial(end_plainly, turn.run, ending))
        except (NotFound, StoreUnavailable) as error:
            # Deleted, or found unfinished and ended when the server starts next.
            _log.warning("run_end_not_stored", run_id=turn.run.id, error=str(error))

    def _turn(
        self,
        request: SendRequest,
        begun: Begun,
        seen: Snapshot,
        choice: Choice,
        system: str,
        log: RunLog,
        started_ns: int,
    ) -> Turn:
        run, conversation = begun.run, begun.conversation
        shown = {block.id: block.version for block in seen.blocks}
        return Turn(
            run=run,
            agent=seen.agent,
            conversation=conversation,
            system=system,
            memory=tuple(MemoryView(block.label, block.value, block.description) for block in seen.blocks),
            provider=choice.provider,
            card=choice.card,
            settings=choice.settings,
            context_window=choice.context_window,
            max_steps=request.max_steps,
            tools={tool.spec.name: tool for id_ in seen.agent.tool_ids if (tool := self._tools.get(id_))},
            client_tools={spec.name: spec for spec in request.client_tools},
            rules=ToolRules(seen.agent.tool_rules),
            tool_context=ToolContext(self._store, run.agent_id, run.conversation_id, run.id, shown),
            history=History(conversation.id, conversation.epoch, conversation.context_from, begun.first),
            store=self._store,
            log=log,
            started_ns=started_ns,
            approved=tuple(begun.settlement.approved),
            pending=bool(begun.settlement.pending),
        )


def _new_run(request: SendRequest, seen: Snapshot) -> Run:
    return Run(
        id=new_run_id(),
        agent_id=seen.agent.id,
        conversation_id=request.conversation_id,
        status="running",
        created_at=utc_now(),
        background=request.background,
        request_config=request.config,
        input_otids=tuple(sent.otid for sent in (*request.messages, *request.answers) if sent.otid),
    )
