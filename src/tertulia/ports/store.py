"""The store: nouns kept durably, read and written inside transactions.

Work is shipped to the store as a plain function of a ``Transaction``, so several nouns change together or not at all,
no transaction is ever open while a model, a tool or a client is waited for, and the same function runs on a writer
thread (SQLite) or on a connection of a pool (Postgres). Work may be run again after a failure that wrote nothing, so it
does nothing but read and write the transaction.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol, TypeVar

from tertulia.domain.agents import Agent, AgentActivity
from tertulia.domain.blocks import Block
from tertulia.domain.conversations import Conversation
from tertulia.domain.messages import Message, Role
from tertulia.domain.runs import Run, RunStatus, Step, StepTrace, StopReason

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page:
    """A slice of a list: at most ``limit`` rows going on after the row named ``after``, in the list's order.

    ``before`` names a row to stop short of: the page ends just before it. None for ``limit`` is no limit.
    An id that names no row of the list gives :class:`~tertulia.domain.errors.NotFound`.
    """

    limit: int | None = 50
    after: str | None = None
    before: str | None = None
    ascending: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentQuery:
    """``None`` does not filter. ``text`` matches in the name, without regard to case."""

    page: Page = Page()
    order_by: Literal["created_at", "updated_at", "last_run_completion"] = "created_at"
    name: str | None = None
    text: str | None = None
    tags: tuple[str, ...] = ()
    match_all_tags: bool = False
    project_id: str | None = None
    last_stop_reason: StopReason | None = None
    block_id: str | None = None
    include_hidden: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockQuery:
    """``None`` does not filter. The ``…_search`` fields match a part, without regard to case."""

    page: Page = Page()
    agent_id: str | None = None
    label: str | None = None
    name: str | None = None
    label_search: str | None = None
    description_search: str | None = None
    value_search: str | None = None
    tags: tuple[str, ...] = ()
    match_all_tags: bool = False
    project_id: str | None = None
    templates_only: bool = False
    agents_count_gt: int | None = None
    agents_count_lt: int | None = None
    agents_count_in: tuple[int, ...] = ()
    include_hidden: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationQuery:
    """Default conversations are never listed. Rows without the ordering time come last either way."""

    page: Page = Page()
    order_by: Literal["created_at", "last_run_completion", "last_message_at"] = "created_at"
    agent_id: str | None = None
    archived: bool | None = False
    summary_search: str | None = None
    include_hidden: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageQuery:
    """Stored messages in the order they were written.

    Unlike every other list, ``older_than`` and ``newer_than`` (message ids) mean age, whatever the order is. Within a
    conversation the order is that of positions, across conversations that of creation.
    """

    conversation_id: str | None = None
    agent_id: str | None = None
    run_id: str | None = None
    step_id: str | None = None
    group_id: str | None = None
    roles: tuple[Role, ...] = ()
    include_errors: bool = True
    older_than: str | None = None
    newer_than: str | None = None
    limit: int | None = 100
    ascending: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchQuery:
    """Full text: ``text`` is words in any order, all of them wanted, with no query syntax."""

    text: str
    agent_id: str | None = None
    conversation_id: str | None = None
    roles: tuple[Role, ...] = ()
    start: datetime | None = None
    end: datetime | None = None
    limit: int = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class RunQuery:
    page: Page = Page()
    agent_ids: tuple[str, ...] = ()
    conversation_id: str | None = None
    statuses: tuple[RunStatus, ...] = ()
    background: bool | None = None
    stop_reason: StopReason | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepQuery:
    page: Page = Page()
    run_id: str | None = None
    agent_id: str | None = None
    model: str | None = None
    feedback: Literal["positive", "negative"] | None = None
    has_feedback: bool | None = None
    tags: tuple[str, ...] = ()
    project_id: str | None = None
    start: datetime | None = None
    end: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TagQuery:
    page: Page = field(default_factory=lambda: Page(ascending=True))
    text: str | None = None


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

    def find(self, query: AgentQuery) -> list[Agent]: ...
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

    def get(self, conversation_id: str) -> Conversation: ...
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
    def append(self, conversation_id: str, messages: Sequence[Message]) -> int:
        """Write the messages at the conversation's head and move it; returns the new head."""
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


class Runs(Protocol):
    def insert(self, run: Run) -> None:
        """Store a running run, or one of status ``created`` at the end of the conversation's queue.

        :raises ConversationBusy: if the conversation has a running run; the database itself keeps it to one.
        """
        ...

    def queued(self, conversation_id: str | None = None) -> list[Run]:
        """The runs that wait for their turn, in the order they came; of all conversations for None."""
        ...

    def get(self, run_id: str) -> Run: ...
    def update(self, run: Run) -> None: ...
    def active(self, conversation_id: str) -> Run | None: ...
    def all_active(self) -> list[Run]: ...
    def find(self, query: RunQuery) -> list[Run]: ...


class Steps(Protocol):
    def insert(self, step: Step) -> None: ...
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
    def append(self, run_id: str, chunk: EventChunk) -> None: ...
    def after(self, run_id: str, seq: int) -> list[EventChunk]:
        """The chunks that hold events after ``seq``, in order; the first may begin before it."""
        ...

    def kept(self, run_id: str) -> bool:
        """Whether any event of the run is stored."""
        ...

    def prune(self, before: datetime, limit: int) -> int:
        """Remove the events of at most so many ended runs that began before; of how many it was."""
        ...


class Transaction(Protocol):
    """All nouns at one instant. Valid only inside the function it was passed to."""

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


class Store(Protocol):
    """Reads and writes; every method raises ``StoreUnavailable`` if the database cannot be reached or is closed."""

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
