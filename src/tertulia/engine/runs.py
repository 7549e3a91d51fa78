"""Runs: starting the answer to a message, following it, stopping it, and leaving nothing stuck behind."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import structlog
from msgspec.structs import replace

from tertulia.domain.agents import Agent
from tertulia.domain.blocks import Block
from tertulia.domain.clock import utc_now
from tertulia.domain.conversations import Conversation
from tertulia.domain.errors import NotFound, StoreUnavailable
from tertulia.domain.events import RunStarted
from tertulia.domain.ids import new_message_id, new_run_id
from tertulia.domain.messages import Message, Part, Role
from tertulia.domain.runs import RequestConfig, Run
from tertulia.engine.compiling import refreshed
from tertulia.engine.endings import CANCELLED, Ending, failure
from tertulia.engine.finish import end_events, end_plainly, finish
from tertulia.engine.history import Histories, History
from tertulia.engine.loop import Loop
from tertulia.engine.precedence import Choice, choose
from tertulia.engine.tool_rules import ToolRules
from tertulia.engine.traces import Trace, trace_of
from tertulia.engine.turn import Turn, uninterrupted
from tertulia.ports.catalogue import Catalogue
from tertulia.ports.event_log import EventLog, Numbered, RunLog
from tertulia.ports.provider import MemoryView
from tertulia.ports.store import Store, Transaction
from tertulia.ports.tool import Tool, ToolContext

DEFAULT_MAX_STEPS = 50

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewMessage:
    """A message that comes in."""

    role: Role
    content: tuple[Part, ...]
    otid: str | None = None
    name: str | None = None
    sender_id: str | None = None
    group_id: str | None = None
    batch_item_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SendRequest:
    """Messages for a conversation (its stored id) and how they are to be answered.

    The overrides hold for this run alone and go before the conversation's and the agent's own.
    """

    conversation_id: str
    messages: tuple[NewMessage, ...]
    background: bool = False
    max_steps: int = DEFAULT_MAX_STEPS
    config: RequestConfig = field(default_factory=RequestConfig)
    override_model: str | None = None
    override_system: str | None = None


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """What a turn begins from, as of one instant."""

    conversation: Conversation
    agent: Agent
    blocks: list[Block]
    system: Message


@dataclass(slots=True, kw_only=True)
class _Active:
    """A run that this process is answering, and what it began with. ``conversation`` is as its messages left it."""

    run: Run
    request: SendRequest
    conversation: Conversation
    snapshot: _Snapshot
    choice: Choice
    log: RunLog
    system: str
    messages: list[Message]
    started_ns: int
    task: asyncio.Task[None] | None = None
    begun: bool = False
    cancelled: bool = False

    def cancel(self) -> None:
        self.cancelled = True
        # A task cancelled before its first line would never get to clean up; it looks at the flag instead.
        if self.begun and self.task is not None:
            self.task.cancel()


class Runs:
    """All runs. A conversation runs one message at a time; different ones do not wait for each other."""

    def __init__(
        self, store: Store, events: EventLog, catalogue: Catalogue, tools: Mapping[str, Tool], histories: Histories
    ) -> None:
        self._store = store
        self._events = events
        self._catalogue = catalogue
        self._tools = tools
        self._histories = histories
        self._active: dict[str, _Active] = {}
        self._closing = False

    async def start(self, request: SendRequest) -> Run:
        """Store the messages and begin to answer them; the answer is read with ``follow``.

        :raises NotFound: if there is no such conversation.
        :raises ConversationBusy: if it is answering another message.
        :raises InvalidArgument: if its model cannot be used; nothing is stored then.
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
        running = [run_id for run_id, active in self._active.items() if which(active.run)]
        stopped = await asyncio.gather(*(self.cancel(run_id) for run_id in running))
        return [run_id for run_id, was_running in zip(running, stopped, strict=True) if was_running]

    async def _start(self, request: SendRequest) -> Run:
        started_ns = time.monotonic_ns()
        snapshot = await self._store.read(partial(_snapshot, request.conversation_id))
        choice = choose(self._catalogue, snapshot.agent, snapshot.conversation, request.override_model)
        run = _new_run(request, snapshot)
        messages = [_stored(message, run) for message in request.messages]
        system = refreshed(snapshot.agent, snapshot.blocks, snapshot.conversation, snapshot.system)
        conversation = await self._store.write(partial(_begin, run, snapshot.agent, messages, system))
        log = self._events.open(run.id)
        log.append(RunStarted(run.id, run.created_at.timestamp()))
        text = request.override_system if request.override_system is not None else (system or snapshot.system).text
        active = _Active(
            run=run,
            request=request,
            conversation=conversation,
            snapshot=snapshot,
            choice=choice,
            log=log,
            system=text,
            messages=messages,
            started_ns=started_ns,
        )
        self._active[run.id] = active
        active.task = asyncio.create_task(self._drive(active), name=run.id)
        return run

    async def _drive(self, active: _Active) -> None:
        """Answer, and bring the run to its end however the answering went."""
        turn = self._turn(active)
        loop = Loop(turn)
        ending = await self._ending(active, turn, loop)
        try:
            await uninterrupted(finish(turn, ending, loop.open_step))
            self._histories.keep(turn.history)
        except Exception as error:  # noqa: BLE001 becomes the failure that the run's readers are told
            await self._end_plainly(turn, failure(error))
        finally:
            turn.log.close()
            del self._active[turn.run.id]

    async def _end_plainly(self, turn: Turn, ending: Ending) -> None:
        """End a run whose end could not be stored as it should be: its conversation may be gone, or the database."""
        for event in end_events(turn, ending):
            turn.log.append(event)
        try:
            await self._store.write(partial(end_plainly, turn.run, ending))
        except (NotFound, StoreUnavailable) as error:
            # Deleted, or found unfinished and ended when the server starts next.
            _log.warning("run_end_not_stored", run_id=turn.run.id, error=str(error))

    async def _ending(self, active: _Active, turn: Turn, loop: Loop) -> Ending:
        try:
            active.begun = True
            if active.cancelled:
                return CANCELLED
            turn.history = await self._histories.of(replace(active.conversation, head=turn.history.head))
            turn.history.append(active.messages, active.conversation.head)
            return await loop.run()
        except asyncio.CancelledError:
            return CANCELLED
        except Exception as error:  # noqa: BLE001 becomes the run's typed failure, which its readers are told
            return failure(error)

    def _turn(self, active: _Active) -> Turn:
        run, snapshot, choice = active.run, active.snapshot, active.choice
        conversation = active.conversation
        return Turn(
            run=run,
            agent=snapshot.agent,
            conversation=conversation,
            system=active.system,
            memory=tuple(MemoryView(block.label, block.value, block.description) for block in snapshot.blocks),
            provider=choice.provider,
            card=choice.card,
            settings=choice.settings,
            context_window=choice.context_window,
            max_steps=active.request.max_steps,
            tools={tool.spec.name: tool for id_ in snapshot.agent.tool_ids if (tool := self._tools.get(id_))},
            rules=ToolRules(snapshot.agent.tool_rules),
            tool_context=ToolContext(
                self._store,
                run.agent_id,
                run.conversation_id,
                run.id,
                {block.id: block.version for block in snapshot.blocks},
            ),
            history=History(
                conversation.id, conversation.epoch, conversation.context_from, conversation.head - len(active.messages)
            ),
            store=self._store,
            log=active.log,
            started_ns=active.started_ns,
        )


def _snapshot(conversation_id: str, tx: Transaction) -> _Snapshot:
    conversation = tx.conversations.get(conversation_id)
    agent = tx.agents.get(conversation.agent_id)
    blocks = tx.blocks.of_agents([agent.id])[agent.id]
    return _Snapshot(conversation, agent, blocks, tx.messages.system(conversation_id))


def _begin(run: Run, agent: Agent, messages: list[Message], system: Message | None, tx: Transaction) -> Conversation:
    tx.runs.insert(run)
    if system is not None:
        tx.messages.set_system(run.conversation_id, system)
    head = tx.messages.append(run.conversation_id, messages)
    if agent.message_buffer_autoclear:
        tx.conversations.set_context(run.conversation_id, head - len(messages))
    tx.conversations.touch(run.conversation_id, last_message_at=run.created_at)
    return tx.conversations.get(run.conversation_id)


def _new_run(request: SendRequest, snapshot: _Snapshot) -> Run:
    return Run(
        id=new_run_id(),
        agent_id=snapshot.agent.id,
        conversation_id=request.conversation_id,
        status="running",
        created_at=utc_now(),
        background=request.background,
        request_config=request.config,
        input_otids=tuple(message.otid for message in request.messages if message.otid),
    )


def _stored(message: NewMessage, run: Run) -> Message:
    return Message(
        id=new_message_id(),
        agent_id=run.agent_id,
        conversation_id=run.conversation_id,
        role=message.role,
        content=message.content,
        created_at=utc_now(),
        run_id=run.id,
        otid=message.otid,
        name=message.name,
        sender_id=message.sender_id,
        group_id=message.group_id,
        batch_item_id=message.batch_item_id,
    )
