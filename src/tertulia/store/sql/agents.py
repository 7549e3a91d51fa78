"""Agents, their tags and their activity as rows."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from tertulia.domain.agents import Agent, AgentActivity
from tertulia.domain.conversations import Conversation
from tertulia.domain.errors import NotFound
from tertulia.ports.queries import AgentQuery, TagQuery
from tertulia.store.sql import tables
from tertulia.store.sql.pages import Order, contains, fetch_page, has_tags, visible
from tertulia.store.sql.session import Session
from tertulia.store.sql.steps import delete_unused_frames, frames_of
from tertulia.store.sql.tables import (
    agent_activity,
    agent_tags,
    agents,
    attachments,
    messages,
    microseconds,
    of_living_agent,
    runs,
    steps,
)

_encode: Final = msgspec.json.Encoder().encode
agent_of_body: Final = msgspec.json.Decoder(Agent).decode
conversation_of_body: Final = msgspec.json.Decoder(Conversation).decode

_GET: Final = "SELECT body FROM agents WHERE id = ? AND NOT deleted"
_MESSAGES: Final = """
    DELETE FROM messages WHERE seq IN (SELECT seq FROM messages WHERE agent_id = ? ORDER BY seq LIMIT ?)
"""
_RUNS_AT_ONCE: Final = 50  # each with its steps and events
_SET_ACTIVITY: Final = """
    INSERT INTO agent_activity (agent_id, last_run_completion, last_run_duration_ms, last_stop_reason)
    SELECT ?, ?, ?, ? WHERE {free}
    ON CONFLICT (agent_id) DO UPDATE SET last_run_completion = excluded.last_run_completion,
        last_run_duration_ms = excluded.last_run_duration_ms, last_stop_reason = excluded.last_stop_reason
"""


def _row(agent: Agent) -> dict[str, Any]:
    return {
        "id": agent.id,
        "name": agent.name,
        "project_id": agent.project_id,
        "hidden": agent.hidden,
        "created_at": agent.created_at,
        "updated_at": agent.updated_at,
        "body": _encode(agent).decode(),
    }


class SqlAgents:
    def __init__(self, session: Session) -> None:
        self._session = session

    def insert(self, agent: Agent) -> None:
        self._session.change(sa.insert(agents), _row(agent))
        self._insert_tags(agent)

    def get(self, agent_id: str) -> Agent:
        row = self._session.row(self._session.locking(_GET, "FOR NO KEY UPDATE"), agent_id)
        if row is None:
            raise NotFound("Agent", agent_id)
        return agent_of_body(row[0])

    def get_many(self, agent_ids: Sequence[str]) -> list[Agent]:
        """Those that exist, in the order asked for."""
        statement = sa.select(agents.c.id, agents.c.body).where(agents.c.id.in_(agent_ids), ~agents.c.deleted)
        found: dict[str, str] = {row.id: row.body for row in self._session.select(statement)}
        return [agent_of_body(found[id_]) for id_ in agent_ids if id_ in found]

    def update(self, agent: Agent) -> None:
        changed = self._session.change(sa.update(agents).where(agents.c.id == agent.id), _row(agent))
        if not changed:
            raise NotFound("Agent", agent.id)
        self._session.change(sa.delete(agent_tags).where(agent_tags.c.agent_id == agent.id))
        self._insert_tags(agent)

    def delete(self, agent_id: str) -> None:
        conversations = tables.conversations
        of_agent = sa.select(conversations.c.id).where(conversations.c.agent_id == agent_id)
        named = frames_of(self._session, of_agent)
        # Conversations go with the agent by foreign key, and their runs, steps and events with them.
        if not self._session.change(sa.delete(agents).where(agents.c.id == agent_id)):
            raise NotFound("Agent", agent_id)
        self._session.change(sa.delete(messages).where(messages.c.agent_id == agent_id))
        delete_unused_frames(self._session, named)

    def mark_deleted(self, agent_id: str) -> None:
        self.get(agent_id)  # or NotFound
        self._session.run("UPDATE agents SET deleted = TRUE WHERE id = ?", agent_id)

    def half_deleted(self) -> list[str]:
        return [id_ for (id_,) in self._session.rows("SELECT id FROM agents WHERE deleted ORDER BY id")]

    def delete_some(self, agent_id: str, rows: int) -> bool:
        if self._session.run(_MESSAGES, agent_id, rows):
            return True
        return self._delete_runs(agent_id) or self._delete_conversations(agent_id, rows)

    def _delete_runs(self, agent_id: str) -> bool:
        ids = self._session.first_column(sa.select(runs.c.id).where(runs.c.agent_id == agent_id).limit(_RUNS_AT_ONCE))
        if not ids:
            return False
        of_these = steps.c.run_id.in_(ids)
        named = self._session.first_column(
            sa.select(steps.c.frame).distinct().where(of_these, steps.c.frame.is_not(None))
        )
        self._session.change(sa.delete(runs).where(runs.c.id.in_(ids)))
        delete_unused_frames(self._session, named)
        return True

    def _delete_conversations(self, agent_id: str, rows: int) -> bool:
        """All but the default one, which goes with the agent, and the blocks that are theirs alone."""
        columns = tables.conversations.c
        of_agent = sa.select(columns.id, columns.body).where(columns.agent_id == agent_id, columns.id != agent_id)
        found = [(id_, body) for id_, body in self._session.select(of_agent.limit(rows))]
        if not found:
            return False
        own = [block_id for _, body in found for block_id in conversation_of_body(body).isolated_block_ids]
        if own:
            self._session.change(sa.delete(tables.blocks).where(tables.blocks.c.id.in_(own)))
        self._session.change(sa.delete(tables.conversations).where(columns.id.in_([id_ for id_, _ in found])))
        return True

    def find(self, query: AgentQuery) -> list[Agent]:
        statement = _filter(sa.select(agents.c.body), query)
        bodies = fetch_page(self._session, statement, _ORDERS[query.order_by], query.page, "Agent")
        return [agent_of_body(body) for body in bodies]

    def count(self, query: AgentQuery) -> int:
        return self._session.first_column(_filter(sa.select(sa.func.count()), query))[0]

    def activity(self, agent_ids: Sequence[str]) -> dict[str, AgentActivity]:
        """One for each id; that of an agent that never ran is empty."""
        found = {id_: AgentActivity() for id_ in agent_ids}
        statement = sa.select(agent_activity).where(agent_activity.c.agent_id.in_(agent_ids))
        for id_, completion, duration, reason in self._session.select(statement):
            found[id_] = AgentActivity(
                last_run_completion=completion, last_run_duration_ms=duration, last_stop_reason=reason
            )
        return found

    def set_activity(self, agent_id: str, activity: AgentActivity) -> None:
        completion = activity.last_run_completion
        # All conversations of an agent end their runs here: none is to wait until another has been committed.
        self._session.crowded(
            _SET_ACTIVITY,
            agent_id,
            agent_id,
            None if completion is None else microseconds(completion),
            activity.last_run_duration_ms,
            activity.last_stop_reason,
            owner=("Agent", agent_id),
        )

    def tags(self, query: TagQuery) -> list[str]:
        """Each tag that any agent has, once, sorted by the tag itself."""
        distinct = sa.select(agent_tags.c.tag).where(of_living_agent(agent_tags.c.agent_id)).distinct().subquery()
        statement = sa.select(distinct.c.tag)
        if query.text is not None:
            statement = statement.where(contains(distinct.c.tag, query.text))
        return fetch_page(self._session, statement, Order(distinct.c.tag, distinct.c.tag), query.page, "Tag")

    def _insert_tags(self, agent: Agent) -> None:
        rows = [{"agent_id": agent.id, "tag": tag} for tag in dict.fromkeys(agent.tags)]
        if rows:
            self._session.change(sa.insert(agent_tags), rows)


_ORDERS: Final = {
    "created_at": Order(agents.c.created_at, agents.c.id),
    "updated_at": Order(agents.c.updated_at, agents.c.id),
    "last_run_completion": Order(agent_activity.c.last_run_completion, agents.c.id, nullable=True),
}


def _filter(statement: sa.Select[Any], query: AgentQuery) -> sa.Select[Any]:
    statement = statement.select_from(agents.outerjoin(agent_activity, agent_activity.c.agent_id == agents.c.id))
    statement = statement.where(~agents.c.deleted)
    if query.name is not None:
        statement = statement.where(agents.c.name == query.name)
    if query.text is not None:
        statement = statement.where(contains(agents.c.name, query.text))
    if query.tags:
        statement = statement.where(
            has_tags(agents.c.id, agent_tags.c.agent_id, agent_tags.c.tag, query.tags, every=query.match_all_tags)
        )
    if query.project_id is not None:
        statement = statement.where(agents.c.project_id == query.project_id)
    if query.last_stop_reason is not None:
        statement = statement.where(agent_activity.c.last_stop_reason == query.last_stop_reason)
    if query.block_id is not None:
        of_block = sa.select(attachments.c.agent_id).where(attachments.c.block_id == query.block_id)
        statement = statement.where(agents.c.id.in_(of_block))
    if not query.include_hidden:
        statement = statement.where(visible(agents.c.hidden))
    return statement
