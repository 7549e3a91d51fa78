"""The store: nouns kept durably, read and written inside transactions.

Work is shipped to the store as a plain function of a ``Transaction``, so several nouns change together or not at all,
no transaction is ever open while a model, a tool or a client is waited for, and the same function runs on a writer
thread (SQLite) or on a connection of a pool (Postgres). Work may be run again after a failure that wrote nothing, so it
does nothing but read and write the transaction. A write that is refused may say so as late as at the next question or
the end of the work: where each statement is a trip to a server, several go together.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from tertulia.domain.agents import Agent
from tertulia.domain.blocks import Block
from tertulia.domain.conversations import Conversation
from tertulia.domain.messages import Message
from tertulia.domain.tools import StoredTool
from tertulia.ports.agents import Agents
from tertulia.ports.blocks import Blocks
from tertulia.ports.conversations import Conversations
from tertulia.ports.events import Events
from tertulia.ports.messages import Messages
from tertulia.ports.plain import Plain, PlainNouns
from tertulia.ports.runs import Runs
from tertulia.ports.steps import Steps
from tertulia.ports.stored_providers import Providers
from tertulia.ports.workers import Workers

T = TypeVar("T")
P = TypeVar("P", bound=Plain)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a turn begins from, as of one instant."""

    conversation: Conversation
    agent: Agent
    blocks: list[Block]
    system: Message
    tools: list[StoredTool]
    """Those of the agent's that users made."""


class Transaction(Protocol):
    """All nouns at one instant. Valid only inside the function it was passed to."""

    def snapshot(self, conversation_id: str) -> Snapshot: ...
    def of(self, noun: type[P]) -> PlainNouns[P]:
        """The plain nouns of this kind."""
        ...

    def tools_of(self, agent: Agent) -> list[StoredTool]:
        """Those of the agent's tools that users made, in the agent's order."""
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

    async def check_writing(self, seconds: float) -> None:
        """See whether it takes writes, if there is reason to doubt it: a write was refused, or there is little room.

        :raises StoreUnavailable: saying why, if it takes none, or none within so many seconds.
        """
        ...

    async def close(self) -> None: ...

    def describe(self) -> dict[str, Any]:
        """Engine, location without secrets and schema revision, for health and doctor."""
        ...
