"""All nouns over one connection."""

from tertulia.store.sql.agents import SqlAgents
from tertulia.store.sql.blocks import SqlBlocks
from tertulia.store.sql.conversations import SqlConversations
from tertulia.store.sql.events import SqlEvents
from tertulia.store.sql.messages import SqlMessages
from tertulia.store.sql.runs import SqlRuns
from tertulia.store.sql.session import Session
from tertulia.store.sql.steps import SqlSteps


class SqlTransaction:
    """The nouns of a connection. It keeps nothing, so one serves every transaction of its connection in turn."""

    def __init__(self, session: Session) -> None:
        self.agents = SqlAgents(session)
        self.blocks = SqlBlocks(session)
        self.conversations = SqlConversations(session)
        self.messages = SqlMessages(session)
        self.runs = SqlRuns(session)
        self.steps = SqlSteps(session)
        self.events = SqlEvents(session)
