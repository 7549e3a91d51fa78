"""What the hottest nouns do in fewer statements on Postgres, where each is a round trip."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from tertulia.domain.errors import NotFound
from tertulia.domain.messages import Message
from tertulia.ports.store import Snapshot
from tertulia.store.sql.agents import agent_of_body
from tertulia.store.sql.blocks import block_of_row
from tertulia.store.sql.conversations import FIELDS, conversation_of_row
from tertulia.store.sql.messages import MOVE_HEAD, SqlMessages, message_columns
from tertulia.store.sql.postgres_session import Part, PostgresSession
from tertulia.store.sql.search import VECTOR
from tertulia.store.sql.tables import microseconds
from tertulia.store.sql.transaction import SqlTransaction
from tertulia.store.sql.words import index_terms

_COLUMNS: Final = (
    "id, agent_id, conversation_id, run_id, step_id, role, otid, group_id, is_err, created_at, body, words"
)
_ADD_ONE: Final = f"""
    INSERT INTO messages (log_id, position, {_COLUMNS})
    SELECT log_id, head - 1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, {VECTOR.format("?::text")} FROM moved
"""  # noqa: S608  the columns are above
_ADD_MANY: Final = f"""
    INSERT INTO messages (log_id, position, {_COLUMNS})
    SELECT moved.log_id, moved.head - ? + added.place - 1, added.id, added.agent_id, added.conversation_id,
        added.run_id, added.step_id, added.role, added.otid, added.group_id, added.is_err, added.created_at,
        added.body, {VECTOR.format("added.words")}
    FROM moved, unnest(?::text[], ?::text[], ?::text[], ?::text[], ?::text[], ?::text[], ?::text[], ?::text[],
                       ?::boolean[], ?::bigint[], ?::text[], ?::text[]) WITH ORDINALITY AS added ({_COLUMNS}, place)
"""  # noqa: S608  as above
_BODIES: Final = """
    SELECT m.body FROM conversation_segments s
    JOIN messages m ON m.log_id = s.log_id AND m.position >= s.lo AND (s.hi IS NULL OR m.position < s.hi)
    WHERE s.conversation_id = ? AND m.position >= ? AND m.position < ? ORDER BY m.position
"""
_BLOCKS_OF: Final = """
    ARRAY(SELECT b.{column} FROM block_attachments t JOIN blocks b ON b.id = t.block_id
          WHERE t.agent_id = c.agent_id ORDER BY t.place)
"""
_SNAPSHOT: Final = f"""
    SELECT a.body, m.body, {_BLOCKS_OF.format(column="body")}, {_BLOCKS_OF.format(column="value")},
        {", ".join(f"c.{field}" for field in FIELDS)}
    FROM conversations c JOIN agents a ON a.id = c.agent_id AND NOT a.deleted
    JOIN messages m ON m.log_id = c.log_id AND m.position = 0
    WHERE c.id = ?
"""  # noqa: S608  as above


class PostgresTransaction(SqlTransaction):
    def __init__(self, session: PostgresSession) -> None:
        super().__init__(session, PostgresMessages(session))
        self.postgres = session

    def snapshot(self, conversation_id: str) -> Snapshot:
        row = self.postgres.row(_SNAPSHOT, conversation_id)
        if row is None:
            raise NotFound("Conversation", conversation_id)
        agent, system, bodies, values, *fields = row
        conversation = conversation_of_row(*fields)
        if conversation.isolated_block_ids:
            blocks = self.blocks.of_conversation(conversation)
        else:
            blocks = [block_of_row(body, value) for body, value in zip(bodies, values, strict=True)]
        decoded = agent_of_body(agent)
        return Snapshot(conversation, decoded, blocks, self.messages.decoded([system])[0], self.tools_of(decoded))


class PostgresMessages(SqlMessages):
    """The head moves and the messages follow it in one statement."""

    def __init__(self, session: PostgresSession) -> None:
        super().__init__(session)
        self._postgres = session

    def append(self, conversation_id: str, messages: Sequence[Message], *, at: datetime | None = None) -> int:
        rows: list[tuple[Any, ...]] = [(*message_columns(message), index_terms(message.text)) for message in messages]
        time = None if at is None else microseconds(at)
        parts = [Part(MOVE_HEAD, (len(rows), time, conversation_id), name="moved")]
        if len(rows) == 1:
            parts.append(Part(_ADD_ONE, rows[0]))
        elif rows:
            parts.append(Part(_ADD_MANY, (len(rows), *(list(column) for column in zip(*rows, strict=True)))))
        head = self._postgres.together(parts, "(SELECT head FROM moved)")
        if head is None:
            raise NotFound("Conversation", conversation_id)
        return head

    def range(self, conversation_id: str, start: int, stop: int) -> list[Message]:
        return self.decoded(row[0] for row in self._session.rows(_BODIES, conversation_id, start, stop))
