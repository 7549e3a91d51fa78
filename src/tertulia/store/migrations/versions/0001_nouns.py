"""Agents, blocks, conversations, messages, runs, steps and events."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TSVECTOR

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        _prepare_postgres()
    _agents()
    _blocks()
    _conversations()
    _messages()
    _message_search()
    _runs()
    _steps()
    _frames_and_events()


def _prepare_postgres() -> None:
    """Texts sort by code point as in SQLite; lower case is that of all languages, whatever the database's locale."""
    wanted = "SELECT collname FROM pg_collation WHERE collname IN ('pg_c_utf8', 'und-x-icu') ORDER BY collname LIMIT 1"
    collation = op.get_bind().exec_driver_sql(wanted).scalar() or "default"
    op.create_table(
        "commit_marks",
        sa.Column("connection", sa.Text, primary_key=True),
        sa.Column("mark", sa.Integer, nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        postgresql_with={"fillfactor": 20},  # one small row for each connection, written anew in each transaction
    )
    op.execute(
        "CREATE FUNCTION folded(value text) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE "
        f"""RETURN lower(value COLLATE "{collation}")"""
    )


def _agents() -> None:
    op.create_table(
        "agents",
        sa.Column("id", _TEXT, primary_key=True),
        sa.Column("name", _TEXT, nullable=False),
        sa.Column("project_id", _TEXT),
        sa.Column("hidden", sa.Boolean),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.Column("body", _TEXT, nullable=False),
    )
    op.create_index("agents_created", "agents", ["created_at", "id"])
    op.create_index("agents_updated", "agents", ["updated_at", "id"])
    op.create_index("agents_name", "agents", ["name"])
    op.create_table(
        "agent_tags",
        sa.Column("agent_id", _TEXT, sa.ForeignKey("agents.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("tag", _TEXT, primary_key=True),
        sqlite_with_rowid=False,
    )
    op.create_index("agent_tags_tag", "agent_tags", ["tag"])
    op.create_table(
        "agent_activity",
        sa.Column("agent_id", _TEXT, sa.ForeignKey("agents.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("last_run_completion", sa.BigInteger),
        sa.Column("last_run_duration_ms", sa.BigInteger),
        sa.Column("last_stop_reason", _TEXT),
        sqlite_with_rowid=False,
    )


def _blocks() -> None:
    op.create_table(
        "blocks",
        sa.Column("id", _TEXT, primary_key=True),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("label", _TEXT, nullable=False),
        sa.Column("template_name", _TEXT),
        sa.Column("description", _TEXT),
        sa.Column("project_id", _TEXT),
        sa.Column("hidden", sa.Boolean),
        sa.Column("is_template", sa.Boolean, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("value", _TEXT, nullable=False),
        sa.Column("body", _TEXT, nullable=False),
    )
    op.create_index("blocks_created", "blocks", ["created_at", "id"])
    op.create_index("blocks_label", "blocks", ["label"])
    op.create_table(
        "block_tags",
        sa.Column("block_id", _TEXT, sa.ForeignKey("blocks.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("tag", _TEXT, primary_key=True),
        sqlite_with_rowid=False,
    )
    op.create_index("block_tags_tag", "block_tags", ["tag"])
    op.create_table(
        "block_attachments",
        sa.Column("agent_id", _TEXT, sa.ForeignKey("agents.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("block_id", _TEXT, sa.ForeignKey("blocks.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("place", sa.Integer, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("block_attachments_block", "block_attachments", ["block_id"])


def _conversations() -> None:
    op.create_table(
        "conversations",
        sa.Column("id", _TEXT, primary_key=True),
        sa.Column("agent_id", _TEXT, sa.ForeignKey("agents.id", ondelete="CASCADE"), nullable=False),
        sa.Column("log_id", _TEXT, nullable=False, unique=True),
        sa.Column("head", sa.Integer, nullable=False),
        sa.Column("context_from", sa.Integer, nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("archived", sa.Boolean, nullable=False),
        sa.Column("hidden", sa.Boolean, nullable=False),
        sa.Column("summary", _TEXT),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("last_message_at", sa.BigInteger),
        sa.Column("last_run_completion", sa.BigInteger),
        sa.Column("body", _TEXT, nullable=False),
    )
    op.create_index("conversations_agent", "conversations", ["agent_id", "created_at", "id"])
    op.create_index("conversations_created", "conversations", ["created_at", "id"])
    op.create_table(
        "conversation_segments",
        sa.Column("conversation_id", _TEXT, sa.ForeignKey("conversations.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("lo", sa.Integer, primary_key=True),
        sa.Column("hi", sa.Integer),
        sa.Column("log_id", _TEXT, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("conversation_segments_log", "conversation_segments", ["log_id"])


def _messages() -> None:
    op.create_table(
        "messages",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
        sa.Column("log_id", _TEXT, nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("id", _TEXT, nullable=False, unique=True),
        sa.Column("agent_id", _TEXT, nullable=False),
        sa.Column("conversation_id", _TEXT, nullable=False),
        sa.Column("run_id", _TEXT),
        sa.Column("step_id", _TEXT),
        sa.Column("role", _TEXT, nullable=False),
        sa.Column("otid", _TEXT),
        sa.Column("group_id", _TEXT),
        sa.Column("is_err", sa.Boolean, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("body", _TEXT, nullable=False),
        _searched_column(),
        # No number is given twice: the search index goes by it.
        sqlite_autoincrement=True,
    )
    op.create_index("messages_position", "messages", ["log_id", "position"], unique=True)
    op.create_index("messages_agent", "messages", ["agent_id", "seq"])
    of_run = sa.text("run_id IS NOT NULL")
    op.create_index("messages_run", "messages", ["run_id"], sqlite_where=of_run, postgresql_where=of_run)
    given = sa.text("otid IS NOT NULL")
    op.create_index(
        "messages_otid", "messages", ["conversation_id", "otid"], sqlite_where=given, postgresql_where=given
    )


def _searched_column() -> sa.Column[str]:
    if op.get_bind().dialect.name == "postgresql":
        return sa.Column("words", TSVECTOR, nullable=False)
    return sa.Column("text", _TEXT, nullable=False)


def _message_search() -> None:
    """SQLite's index of the words: of the messages up to ``search_index.upto``, the rest follows in batches.

    Texts are written once, so there is no trigger for updates.
    """
    if op.get_bind().dialect.name == "postgresql":
        op.create_index("messages_words", "messages", ["words"], postgresql_using="gin")
        return
    op.create_table("search_index", sa.Column("upto", sa.Integer, nullable=False))
    op.execute("INSERT INTO search_index (upto) VALUES (0)")
    op.execute(
        "CREATE VIRTUAL TABLE messages_fts USING fts5("
        "text, content='messages', content_rowid='seq', tokenize='unicode61 remove_diacritics 2')"
    )
    op.execute(
        "CREATE TRIGGER messages_fts_delete AFTER DELETE ON messages "
        "WHEN old.text <> '' AND old.seq <= (SELECT upto FROM search_index) BEGIN "
        "INSERT INTO messages_fts(messages_fts, rowid, text) VALUES ('delete', old.seq, old.text); END"
    )


def _runs() -> None:
    op.create_table(
        "runs",
        sa.Column("id", _TEXT, primary_key=True),
        sa.Column("agent_id", _TEXT, nullable=False),
        sa.Column("conversation_id", _TEXT, sa.ForeignKey("conversations.id", ondelete="CASCADE"), nullable=False),
        sa.Column("status", _TEXT, nullable=False),
        sa.Column("background", sa.Boolean, nullable=False),
        sa.Column("stop_reason", _TEXT),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("body", _TEXT, nullable=False),
    )
    running = sa.text("status = 'running'")
    op.create_index(
        "runs_one_running", "runs", ["conversation_id"], unique=True, sqlite_where=running, postgresql_where=running
    )
    queued = sa.text("status = 'created'")
    op.create_index(
        "runs_queued", "runs", ["conversation_id", "created_at"], sqlite_where=queued, postgresql_where=queued
    )
    op.create_index("runs_conversation", "runs", ["conversation_id", "created_at", "id"])
    op.create_index("runs_agent", "runs", ["agent_id", "created_at", "id"])
    op.create_index("runs_created", "runs", ["created_at", "id"])


def _steps() -> None:
    op.create_table(
        "steps",
        sa.Column("id", _TEXT, primary_key=True),
        sa.Column("run_id", _TEXT, sa.ForeignKey("runs.id", ondelete="CASCADE"), nullable=False),
        sa.Column("agent_id", _TEXT, nullable=False),
        sa.Column("model", _TEXT, nullable=False),
        sa.Column("feedback", _TEXT),
        sa.Column("project_id", _TEXT),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("body", _TEXT, nullable=False),
        sa.Column("frame", _TEXT),
        sa.Column("trace", _TEXT),
    )
    op.create_index("steps_run", "steps", ["run_id", "created_at", "id"])
    op.create_index("steps_agent", "steps", ["agent_id", "created_at", "id"])
    op.create_index("steps_created", "steps", ["created_at", "id"])
    traced = sa.text("frame IS NOT NULL")
    op.create_index("steps_frame", "steps", ["frame"], sqlite_where=traced, postgresql_where=traced)
    op.create_table(
        "step_tags",
        sa.Column("step_id", _TEXT, sa.ForeignKey("steps.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("tag", _TEXT, primary_key=True),
        sqlite_with_rowid=False,
    )
    op.create_index("step_tags_tag", "step_tags", ["tag"])


def _frames_and_events() -> None:
    op.create_table(
        "frames",
        sa.Column("digest", _TEXT, primary_key=True),
        sa.Column("data", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "event_chunks",
        sa.Column("run_id", _TEXT, sa.ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("first_seq", sa.Integer, primary_key=True),
        sa.Column("last_seq", sa.Integer, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
    )
