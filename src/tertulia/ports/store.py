"""The store: nouns kept durably, read and written inside transactions.

Work is shipped to the store as a plain function of a ``Transaction``, so several nouns change together or not at all,
no transaction is ever open while a model, a tool or a client is waited for, and the same function runs on a writer
thread (SQLite) or on a connection of a pool (Postgres). Work may be run again after a failure that wrote nothing, so it
does nothing but read and write the transaction. A write that is refused may say so as late as at the next question or
the end of the work: where each statement is a trip to a server, several go together.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, TypeVar

from tertulia.domain.agents import Agent, AgentActivity
from tertulia.domain.blocks import Block
from tertulia.domain.conversations import Conversation
from tertulia.domain.messages import Message
from tertulia.domain.providers import StoredProvider
from tertulia.domain.runs import Cancel, Run, Step, StepTrace
from tertulia.ports.plain import Plain, PlainNouns
from tertulia.ports.queries import (
    AgentQuery,
    BlockQuery,
    ConversationQuery,
    MessageQuery,
    ProviderQuery,
    RunQuery,
    SearchQuery,
    StepQuery,
    TagQuery,
)

T = TypeVar("T")
P = TypeVar("P", bound=Plain)


@dataclass(frozen=True, slots=True)
class EventChunk:
    """Consecutive events of a run as the event log encoded them: sequence ids ``first`` to ``last``."""

    first: int
    last: int
    data: bytes


class Agents(Protocol):
    """Getters of every noun raise :class:`~tertulia.domain.errors.NotFound` for an id that names nothing."""

    def insert(self, agent: Agent) -> None: ...
    def get(self, agent_id: str) -> Agent: ...
    def get_many(self, agent_ids: Sequence[str]) -> list[Agent]: ...
    def update(self, agent: Agent) -> None: ...
    def delete(self, agent_id: str) -> None:
        """Remove the agent with its conversations, messages, runs and steps. Its blocks stay, detached."""
        ...

    def mark_deleted(self, agent_id: str) -> None:
        """From here on the agent, its conversations, runs and steps are there for nobody; ``delete_some`` removes them.

        :raises NotFound: if it is not there, or being deleted already.
        """
        ...

    def half_deleted(self) -> list[str]:
        """The agents that are marked and not yet removed."""
        ...

    def delete_some(self, agent_id: str, rows: int) -> bool:
        """Remove so many rows of what a marked agent has; False if nothing but the agent itself is left."""
        ...

    def find(self, query: AgentQuery) -> list[Agent]: ...
    def count(self, query: AgentQuery) -> int:
        """How many pass the filters, whatever the page."""
        ...

    def activity(self, agent_ids: Sequence[str]) -> dict[str, AgentActivity]: ...
    def set_activity(self, agent_id: str, activity: AgentActivity) -> None: ...
    def tags(self, query: TagQuery) -> list[str]: ...


class Blocks(Protocol):
    def insert(self, block: Block) -> None: ...
    def get(self, block_id: str) -> Block: ...
    def replace(self, block: Block) -> Block:
        """Store the block if its ``version`` is still the stored one; returned with the next version.

        :raises BlockClash: if somebody else changed it meanwhile; nothing is written.
        """
        ...

    def delete(self, block_id: str) -> None: ...
    def find(self, query: BlockQuery) -> list[Block]: ...
    def count(self, query: BlockQuery) -> int:
        """How many pass the filters, whatever the page."""
        ...

    def of_conversation(self, conversation: Conversation) -> list[Block]:
        """The blocks a conversation shows: its agent's, those it isolates in place of the ones of the same label.

        An isolated block that was deleted stands for nothing any more.
        """
        ...

    def of_agents(self, agent_ids: Sequence[str]) -> dict[str, list[Block]]:
        """Each agent's blocks in the order they were attached."""
        ...

    def attach(self, agent_id: str, block_id: str) -> None:
        """Attach at the end; a block that is attached already stays where it is."""
        ...

    def detach(self, agent_id: str, block_id: str) -> None: ...


class Conversations(Protocol):
    def insert(self, conversation: Conversation, system: Message) -> None:
        """Store it with the compiled system prompt as its position 0 (``head`` becomes 1)."""
        ...

    def get(self, conversation_id: str, *, lock: bool = True) -> Conversation:
        """``lock``: what is read of it from here on stays as it is until the transaction ends."""
        ...

    def update(self, conversation: Conversation) -> None:
        """Store every field but ``head``, ``context_from`` and ``epoch``, which belong to ``Messages``."""
        ...

    def touch(
        self,
        conversation_id: str,
        *,
        last_message_at: datetime | None = None,
        last_run_completion: datetime | None = None,
    ) -> None:
        """Set the given times alone; the cheap update of every message."""
        ...

    def set_context(self, conversation_id: str, context_from: int, pins: Sequence[int] = ()) -> None:
        """Show the model nothing before this position but the system prompt and the pinned positions."""
        ...

    def fork(self, source_id: str, fork: Conversation, system: Message, upto: int) -> None:
        """Store ``fork`` with the source's history below position ``upto``, shared, not copied, and its own prompt.

        The cost does not depend on the length of the history. Either may be deleted without the other noticing.
        """
        ...

    def delete(self, conversation_id: str) -> None:
        """Remove it with its runs and steps, and those of its messages that no other conversation shares."""
        ...

    def find(self, query: ConversationQuery) -> list[Conversation]: ...


class Messages(Protocol):
    def append(self, conversation_id: str, messages: Sequence[Message], *, at: datetime | None = None) -> int:
        """Write the messages at the conversation's head and move it; returns the new head.

        ``at`` becomes the conversation's ``last_message_at``.
        """
        ...

    def set_system(self, conversation_id: str, message: Message) -> None:
        """Rewrite position 0, the compiled system prompt; its id stays that of the message first stored."""
        ...

    def system(self, conversation_id: str) -> Message: ...
    def range(self, conversation_id: str, start: int, stop: int) -> list[Message]:
        """The messages at positions ``start`` to ``stop`` - 1, oldest first, through all shared segments."""
        ...

    def ids_from(self, conversation_id: str, start: int) -> list[str]:
        """The ids from position ``start`` on, oldest first, without those of summaries."""
        ...

    def get(self, message_id: str) -> Message: ...
    def find(self, query: MessageQuery) -> list[Message]: ...
    def count(self, agent_id: str) -> int:
        """How many messages an agent has in all its conversations, without system prompts."""
        ...

    def search(self, query: SearchQuery) -> list[Message]:
        """Best match first."""
        ...

    def runs_by_otid(self, conversation_id: str, otids: Sequence[str]) -> dict[str, str]:
        """The runs that messages of the conversation with these ``otid`` were sent to, by otid."""
        ...

    def position(self, conversation_id: str, message_id: str) -> int:
        """Where a message stands in a conversation; raises NotFound if it is not in it."""
        ...

    def truncate(self, conversation_id: str, head: int) -> None:
        """Take back the positions from ``head`` on, and raise the epoch. Forks that share them keep them."""
        ...

    def reset(self, conversation_id: str) -> None:
        """Leave position 0 alone of the history, and raise the epoch."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A run that a worker took over, with the fencing token of its writes from now on.

    ``attempts`` is how many workers had it, this one included. ``cancel`` is what was asked of it meanwhile.
    ``given_up`` says that the last one let go of it by itself, and did not die or hang.
    """

    run: Run
    token: int
    cancel: Cancel | None = None
    given_up: bool = False

    @property
    def attempts(self) -> int:
        return self.token


class Workers(Protocol):
    """The processes that answer messages. One whose lease is over has lost its runs to the others.

    Leases are measured by the database's clock alone.
    """

    def register(self, worker_id: str, seconds: float) -> None: ...
    def renew(self, worker_id: str, seconds: float) -> bool:
        """Whether the lease was still good, and is for so many seconds more."""
        ...

    def remove(self, worker_id: str) -> None:
        """Give up the lease; what the worker still runs is anybody's at once."""
        ...

    def live(self) -> list[str]: ...
    def forget_all(self) -> None:
        """Where there can be only one worker: whoever was here before is gone."""
        ...


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

    def claim(self, worker_id: str, limit: int) -> list[Claim]:
        """Take over running runs that no worker with a good lease has; each goes to one claimant alone."""
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


class Steps(Protocol):
    def insert(self, step: Step, trace: StepTrace | None = None) -> None: ...
    def update(self, step: Step) -> None: ...
    def get(self, step_id: str) -> Step: ...
    def find(self, query: StepQuery) -> list[Step]: ...
    def put_frame(self, digest: str, data: bytes) -> None:
        """Keep the part of a request that steps share, once per digest."""
        ...

    def frame(self, digest: str) -> bytes: ...
    def put_trace(self, trace: StepTrace) -> None: ...
    def trace(self, step_id: str) -> StepTrace | None: ...


class Events(Protocol):
    def append(self, run_id: str, chunk: EventChunk, token: int | None = None) -> None:
        """Store a chunk. One that begins with the same event takes the place of what was stored of it.

        So it can be stored again, with what came after it, where it is not known whether it was.

        :raises NotFound: if there is no such run.
        :raises LeaseLost: if the run has another fencing token than the given one.
        """
        ...

    def append_many(self, chunks: Sequence[tuple[str, int, EventChunk]]) -> set[str]:
        """Store chunks of different runs, each with its run's fencing token; of which runs they were refused."""
        ...

    def last(self, run_id: str) -> int:
        """The sequence id of the last event that is stored; 0 for none."""
        ...

    def after(self, run_id: str, seq: int, within: int | None = None, limit: int | None = None) -> list[EventChunk]:
        """The chunks that hold events after ``seq``, in order; the first may begin before it.

        With ``within`` only those that begin among the next so many events, with ``limit`` at most so many.
        """
        ...

    def kept(self, run_id: str) -> bool:
        """Whether any event of the run is stored."""
        ...

    def prune(self, before: datetime, limit: int) -> int:
        """Remove the events of at most so many ended runs that began before; of how many it was."""
        ...


class Providers(Protocol):
    """The providers that were stored at run time, with their credentials encrypted."""

    def insert(self, provider: StoredProvider) -> None:
        """:raises NameTaken: if there is one of this name."""
        ...

    def get(self, provider_id: str) -> StoredProvider: ...
    def update(self, provider: StoredProvider) -> None: ...
    def delete(self, provider_id: str) -> None: ...
    def find(self, query: ProviderQuery) -> list[StoredProvider]: ...
    def all(self) -> list[StoredProvider]:
        """Every one, by name."""
        ...


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a turn begins from, as of one instant."""

    conversation: Conversation
    agent: Agent
    blocks: list[Block]
    system: Message


class Transaction(Protocol):
    """All nouns at one instant. Valid only inside the function it was passed to."""

    def snapshot(self, conversation_id: str) -> Snapshot: ...
    def of(self, noun: type[P]) -> PlainNouns[P]:
        """The plain nouns of this kind."""
        ...

    @property
    def agents(self) -> Agents: ...
    @property
    def blocks(self) -> Blocks: ...
    @property
    def conversations(self) -> Conversations: ...
    @property
    def messages(self) -> Messages: ...
    @property
    def runs(self) -> Runs: ...
    @property
    def steps(self) -> Steps: ...
    @property
    def events(self) -> Events: ...
    @property
    def providers(self) -> Providers: ...
    @property
    def workers(self) -> Workers: ...


class Store(Protocol):
    """Reads and writes; every method raises ``StoreUnavailable`` if the database cannot be reached or is closed."""

    @property
    def shared(self) -> bool:
        """Whether other processes may use the database at the same time."""
        ...

    async def read(self, work: Callable[[Transaction], T]) -> T:
        """Run ``work`` on a consistent snapshot; it sees everything acknowledged before."""
        ...

    async def write(self, work: Callable[[Transaction], T]) -> T:
        """Run ``work`` in a transaction, durable when this returns.

        An exception of ``work`` undoes its writes, and no other's, and is raised here.
        """
        ...

    async def close(self) -> None: ...

    def describe(self) -> dict[str, Any]:
        """Engine, location without secrets and schema revision, for health and doctor."""
        ...
