"""All nouns over one connection."""

from typing import TypeVar

from tertulia.domain.agents import Agent
from tertulia.domain.ids import is_builtin_tool_id
from tertulia.domain.tools import StoredTool
from tertulia.ports.plain import Plain, PlainNouns
from tertulia.ports.store import Snapshot
from tertulia.store.sql.agents import SqlAgents
from tertulia.store.sql.blocks import SqlBlocks
from tertulia.store.sql.conversations import SqlConversations
from tertulia.store.sql.events import SqlEvents
from tertulia.store.sql.messages import SqlMessages
from tertulia.store.sql.plain import SqlPlainNouns
from tertulia.store.sql.plain_nouns import PLAIN_NOUNS
from tertulia.store.sql.providers import SqlProviders
from tertulia.store.sql.runs import SqlRuns
from tertulia.store.sql.session import Session
from tertulia.store.sql.steps import SqlSteps
from tertulia.store.sql.workers import SqlWorkers

P = TypeVar("P", bound=Plain)


class SqlTransaction:
    """The nouns of a connection. It keeps nothing, so one serves every transaction of its connection in turn."""

    def __init__(self, session: Session, messages: SqlMessages | None = None) -> None:
        self._session = session
        self.agents = SqlAgents(session)
        self.blocks = SqlBlocks(session)
        self.conversations = SqlConversations(session)
        self.messages = messages or SqlMessages(session)
        self.runs = SqlRuns(session)
        self.steps = SqlSteps(session)
        self.events = SqlEvents(session)
        self.providers = SqlProviders(session)
        self.workers = SqlWorkers(session)

    def of(self, noun: type[P]) -> PlainNouns[P]:
        return SqlPlainNouns(self._session, PLAIN_NOUNS[noun])

    def snapshot(self, conversation_id: str) -> Snapshot:
        conversation = self.conversations.get(conversation_id)
        agent = self.agents.get(conversation.agent_id)
        blocks = self.blocks.of_conversation(conversation)
        system = self.messages.system(conversation_id)
        return Snapshot(conversation, agent, blocks, system, self.tools_of(agent))

    def tools_of(self, agent: Agent) -> list[StoredTool]:
        """Those that users made; most agents have none, and cost no query."""
        made = [id_ for id_ in agent.tool_ids if not is_builtin_tool_id(id_)]
        return self.of(StoredTool).get_many(made) if made else []
