"""The schema as SQLAlchemy Core metadata, for building statements. Databases are made by ``migrations`` alone.

Every noun is a JSON ``body`` (its domain struct) beside the columns that queries filter and sort by. Instants are
microseconds since the epoch: they sort, keep every digit and cost an integer.
"""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def microseconds(instant: datetime) -> int:
    return (instant - _EPOCH) // _MICROSECOND


def instant(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)


class Instant(sa.TypeDecorator[datetime]):
    """An aware datetime as microseconds since the epoch."""

    impl = sa.BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> int | None:  # noqa: ARG002  the signature is the base class's
        return None if value is None else microseconds(value)

    def process_result_value(self, value: Any | None, dialect: sa.Dialect) -> datetime | None:  # noqa: ARG002  as above
        return None if value is None else instant(value)


metadata = sa.MetaData()

RUNNING: Final = sa.text("status = 'running'")
QUEUED: Final = sa.text("status = 'created'")
OF_RUN: Final = sa.text("run_id IS NOT NULL")
GIVEN: Final = sa.text("otid IS NOT NULL")
ASKED: Final = sa.text("asked_at IS NOT NULL")
TRACED: Final = sa.text("frame IS NOT NULL")

# One that is ``deleted`` is there for nobody but its deletion, which takes what belongs to it piece by piece.
agents = sa.Table(
    "agents",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("project_id", sa.Text),
    sa.Column("hidden", sa.Boolean),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("updated_at", Instant, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("deleted", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Index("agents_created", "created_at", "id"),
    sa.Index("agents_updated", "updated_at", "id"),
    sa.Index("agents_name", "name"),
)

agent_tags = sa.Table(
    "agent_tags",
    metadata,
    sa.Column("agent_id", sa.Text, sa.ForeignKey("agents.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("tag", sa.Text, primary_key=True),
    sa.Index("agent_tags_tag", "tag"),
)

# Apart from agents: every finished run writes here, and an agent's own row is long.
agent_activity = sa.Table(
    "agent_activity",
    metadata,
    sa.Column("agent_id", sa.Text, sa.ForeignKey("agents.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("last_run_completion", Instant),
    sa.Column("last_run_duration_ms", sa.BigInteger),
    sa.Column("last_stop_reason", sa.Text),
)

# The value is a column of its own and left out of the body.
blocks = sa.Table(
    "blocks",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("label", sa.Text, nullable=False),
    sa.Column("template_name", sa.Text),
    sa.Column("description", sa.Text),
    sa.Column("project_id", sa.Text),
    sa.Column("hidden", sa.Boolean),
    sa.Column("is_template", sa.Boolean, nullable=False),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("value", sa.Text, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Index("blocks_created", "created_at", "id"),
    sa.Index("blocks_label", "label"),
)

block_tags = sa.Table(
    "block_tags",
    metadata,
    sa.Column("block_id", sa.Text, sa.ForeignKey("blocks.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("tag", sa.Text, primary_key=True),
    sa.Index("block_tags_tag", "tag"),
)

attachments = sa.Table(
    "block_attachments",
    metadata,
    sa.Column("agent_id", sa.Text, sa.ForeignKey("agents.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("block_id", sa.Text, sa.ForeignKey("blocks.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("place", sa.Integer, nullable=False),
    sa.Index("block_attachments_block", "block_id"),
)

# head, context_from and epoch move with every message and are left out of the body. log_id is the conversation's own
# log: where its position 0 is and where it appends.
conversations = sa.Table(
    "conversations",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("agent_id", sa.Text, sa.ForeignKey("agents.id", ondelete="CASCADE"), nullable=False),
    sa.Column("log_id", sa.Text, nullable=False, unique=True),
    sa.Column("head", sa.Integer, nullable=False),
    sa.Column("context_from", sa.Integer, nullable=False),
    sa.Column("epoch", sa.Integer, nullable=False),
    sa.Column("archived", sa.Boolean, nullable=False),
    sa.Column("hidden", sa.Boolean, nullable=False),
    sa.Column("summary", sa.Text),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("last_message_at", Instant),
    sa.Column("last_run_completion", Instant),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("asked_at", Instant),
    sa.Index("conversations_asked", "asked_at", sqlite_where=ASKED, postgresql_where=ASKED),
    sa.Index("conversations_agent", "agent_id", "created_at", "id"),
    sa.Index("conversations_created", "created_at", "id"),
)

# Which log holds the conversation's positions lo to hi - 1; the one open segment (hi null) is its own log's.
segments = sa.Table(
    "conversation_segments",
    metadata,
    sa.Column("conversation_id", sa.Text, sa.ForeignKey("conversations.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("lo", sa.Integer, primary_key=True),
    sa.Column("hi", sa.Integer),
    sa.Column("log_id", sa.Text, nullable=False),
    sa.Index("conversation_segments_log", "log_id"),
)

# seq is the order of writing, across conversations. No foreign keys: a message may outlive the conversation it was
# written in when a fork shares it, and this is the table that is written most. What is searched of a message is in a
# column that only the statements of ``search`` (SQLite: text) and ``words`` (Postgres: words) know.
messages = sa.Table(
    "messages",
    metadata,
    sa.Column("seq", sa.BigInteger, primary_key=True),
    sa.Column("log_id", sa.Text, nullable=False),
    sa.Column("position", sa.Integer, nullable=False),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("agent_id", sa.Text, nullable=False),
    sa.Column("conversation_id", sa.Text, nullable=False),
    sa.Column("run_id", sa.Text),
    sa.Column("step_id", sa.Text),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("otid", sa.Text),
    sa.Column("group_id", sa.Text),
    sa.Column("is_err", sa.Boolean, nullable=False),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Index("messages_position", "log_id", "position", unique=True),
    sa.Index("messages_agent", "agent_id", "seq"),
    sa.Index("messages_run", "run_id", sqlite_where=OF_RUN, postgresql_where=OF_RUN),
    sa.Index("messages_otid", "conversation_id", "otid", sqlite_where=GIVEN, postgresql_where=GIVEN),
)

runs = sa.Table(
    "runs",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("agent_id", sa.Text, nullable=False),
    sa.Column("conversation_id", sa.Text, sa.ForeignKey("conversations.id", ondelete="CASCADE"), nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("background", sa.Boolean, nullable=False),
    sa.Column("stop_reason", sa.Text),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("worker_id", sa.Text),
    sa.Column("token", sa.Integer, nullable=False, server_default="0"),
    sa.Column("cancel", sa.Text),
    sa.Column("kept", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Index("runs_worker", "worker_id", sqlite_where=RUNNING, postgresql_where=RUNNING),
    sa.Index("runs_one_running", "conversation_id", unique=True, sqlite_where=RUNNING, postgresql_where=RUNNING),
    sa.Index("runs_queued", "conversation_id", "created_at", sqlite_where=QUEUED, postgresql_where=QUEUED),
    sa.Index("runs_conversation", "conversation_id", "created_at", "id"),
    sa.Index("runs_agent", "agent_id", "created_at", "id"),
    sa.Index("runs_created", "created_at", "id"),
)

# The trace is here and not in a table of its own because every step has one: that saves four pages a commit.
steps = sa.Table(
    "steps",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("run_id", sa.Text, sa.ForeignKey("runs.id", ondelete="CASCADE"), nullable=False),
    sa.Column("agent_id", sa.Text, nullable=False),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("feedback", sa.Text),
    sa.Column("project_id", sa.Text),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("frame", sa.Text),
    sa.Column("trace", sa.Text),
    sa.Index("steps_run", "run_id", "created_at", "id"),
    sa.Index("steps_agent", "agent_id", "created_at", "id"),
    sa.Index("steps_created", "created_at", "id"),
    sa.Index("steps_frame", "frame", sqlite_where=TRACED, postgresql_where=TRACED),
)

step_tags = sa.Table(
    "step_tags",
    metadata,
    sa.Column("step_id", sa.Text, sa.ForeignKey("steps.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("tag", sa.Text, primary_key=True),
    sa.Index("step_tags_tag", "tag"),
)

# What many requests share, once per digest.
frames = sa.Table(
    "frames",
    metadata,
    sa.Column("digest", sa.Text, primary_key=True),
    sa.Column("data", sa.LargeBinary, nullable=False),
)

# lease_until is microseconds of the database's own clock: the workers' may differ.
workers = sa.Table(
    "workers",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("lease_until", sa.BigInteger, nullable=False),
)

# Calls of tools that must not run twice, from just before they run.
started_calls = sa.Table(
    "started_calls",
    metadata,
    sa.Column("run_id", sa.Text, sa.ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("tool_call_id", sa.Text, primary_key=True),
)

events = sa.Table(
    "event_chunks",
    metadata,
    sa.Column("run_id", sa.Text, sa.ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("first_seq", sa.Integer, primary_key=True),
    sa.Column("last_seq", sa.Integer, nullable=False),
    sa.Column("data", sa.LargeBinary, nullable=False),
)

providers = sa.Table(
    "providers",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    sa.Column("provider_type", sa.Text, nullable=False),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Index("providers_created", "created_at", "id"),
)


def of_living_agent(agent_id: sa.ColumnElement[str]) -> sa.ColumnElement[bool]:
    """Leaves out what belongs to an agent that is being deleted."""
    return ~sa.exists().where(agents.c.id == agent_id, agents.c.deleted)


OF_LIVING_AGENT: Final = "NOT EXISTS (SELECT 1 FROM agents a WHERE a.id = agent_id AND a.deleted)"
"""The same in SQL that is written out, for a table whose own columns are not called as those of ``agents``."""
