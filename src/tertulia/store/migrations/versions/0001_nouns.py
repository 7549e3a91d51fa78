"""Agents, blocks, conversations, messages, runs, steps and events."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    _agents()
    _blocks()
    _conversations()
    _messages()
    _message_search()
    _runs()
    _steps()
    _frames_and_events()


def _agents() -> None:
    op.create_table(
        "agents",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("project_id", sa.Text),
        sa.Column("hidden", sa.Boolean),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.create_index("agents_created", "agents", ["created_at", "id"])
    op.create_index("agents_updated", "agents", ["updated_at", "id"])
    op.create_index("agents_name", "agents", ["name"])
    op.create_table(
        "agent_tags",
        sa.Column("agent_id", sa.Text, sa.ForeignKey("agents.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("tag", sa.Text, primary_key=True),
        sqlite_with_rowid=False,
    )
    op.create_index("agent_tags_tag", "agent_tags", ["tag"])
    op.create_table(
        "agent_activity",
        sa.Column("agent_id", sa.Text, sa.ForeignKey("agents.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("last_run_completion", sa.BigInteger),
        sa.Column("last_run_duration_ms", sa.BigInteger),
        sa.Column("last_stop_reason", sa.Text),
        sqlite_with_rowid=False,
    )


def _blocks() -> None:
    op.create_table(
        "blocks",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("label", sa.Text, nullable=False),
        sa.Column("template_name", sa.Text),
        sa.Column("description", sa.Text),
        sa.Column("project_id", sa.Text),
        sa.Column("hidden", sa.Boolean),
        sa.Column("is_template", sa.Boolean, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.create_index("blocks_created", "blocks", ["created_at", "id"])
    op.create_index("blocks_label", "blocks", ["label"])
    op.create_table(
        "block_tags",
        sa.Column("block_id", sa.Text, sa.ForeignKey("blocks.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("tag", sa.Text, primary_key=True),
        sqlite_with_rowid=False,
    )
    op.create_index("block_tags_tag", "block_tags", ["tag"])
    op.create_table(
        "block_attachments",
        sa.Column("agent_id", sa.Text, sa.ForeignKey("agents.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("block_id", sa.Text, sa.ForeignKey("blocks.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("place", sa.Integer, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("block_attachments_block", "block_attachments", ["block_id"])


def _conversations() -> None:
    op.create_table(
        "conversations",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("agent_id", sa.Text, sa.ForeignKey("agents.id", ondelete="CASCADE"), nullable=False),
        sa.Column("log_id", sa.Text, nullable=False, unique=True),
        sa.Column("head", sa.Integer, nullable=False),
        sa.Column("context_from", sa.Integer, nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("archived", sa.Boolean, nullable=False),
        sa.Column("hidden", sa.Boolean, nullable=False),
        sa.Column("summary", sa.Text),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("last_message_at", sa.BigInteger),
        sa.Column("last_run_completion", sa.BigInteger),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.create_index("conversations_agent", "conversations", ["agent_id", "created_at", "id"])
    op.create_index("conversations_created", "conversations", ["created_at", "id"])
    op.create_table(
        "conversation_segments",
        sa.Column("conversation_id", sa.Text, sa.ForeignKey("conversations.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("lo", sa.Integer, primary_key=True),
        sa.Column("hi", sa.Integer),
        sa.Column("log_id", sa.Text, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("conversation_segments_log", "conversation_segments", ["log_id"])


def _messages() -> None:
    op.create_table(
        "messages",
        sa.Column("seq", sa.Integer, primary_key=True),
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
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        # No number is given twice: the search index goes by it.
        sqlite_autoincrement=True,
    )
    op.create_index("messages_position", "messages", ["log_id", "position"], unique=True)
    op.create_index("messages_agent", "messages", ["agent_id", "seq"])
    op.create_index("messages_run", "messages", ["run_id"], sqlite_where=sa.text("run_id IS NOT NULL"))
    op.create_index("messages_otid", "messages", ["conversation_id", "otid"], sqlite_where=sa.text("otid IS NOT NULL"))


def _message_search() -> None:
    """SQLite's index of the words: of the messages up to ``search_index.upto``, the rest follows in batches.

    Texts are written once, so there is no trigger for updates.
    """
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
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("agent_id", sa.Text, nullable=False),
        sa.Column("conversation_id", sa.Text, sa.ForeignKey("conversations.id", ondelete="CASCADE"), nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("background", sa.Boolean, nullable=False),
        sa.Column("stop_reason", sa.Text),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
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
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("run_id", sa.Text, sa.ForeignKey("runs.id", ondelete="CASCADE"), nullable=False),
        sa.Column("agent_id", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("feedback", sa.Text),
        sa.Column("project_id", sa.Text),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("frame", sa.Text),
        sa.Column("trace", sa.Text),
    )
    op.create_index("steps_run", "steps", ["run_id", "created_at", "id"])
    op.create_index("steps_agent", "steps", ["agent_id", "created_at", "id"])
    op.create_index("steps_created", "steps", ["created_at", "id"])
    op.create_index("steps_frame", "steps", ["frame"], sqlite_where=sa.text("frame IS NOT NULL"))
    op.create_table(
        "step_tags",
        sa.Column("step_id", sa.Text, sa.ForeignKey("steps.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("tag", sa.Text, primary_key=True),
        sqlite_with_rowid=False,
    )
    op.create_index("step_tags_tag", "step_tags", ["tag"])


def _frames_and_events() -> None:
    op.create_table(
        "frames",
        sa.Column("digest", sa.Text, primary_key=True),
        sa.Column("data", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "event_chunks",
        sa.Column("run_id", sa.Text, sa.ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("first_seq", sa.Integer, primary_key=True),
        sa.Column("last_seq", sa.Integer, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
    )
