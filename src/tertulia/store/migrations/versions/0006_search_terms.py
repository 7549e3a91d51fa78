"""A search index that knows writing without spaces. What is stored already is indexed while the server runs."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        _postgres()
    else:
        _sqlite()


def _postgres() -> None:
    """Messages from ``upto`` to ``until`` have the terms of before, which for English are mostly those of now."""
    op.create_table(
        "search_index",
        sa.Column("upto", sa.BigInteger, nullable=False),
        sa.Column("until", sa.BigInteger, nullable=False),
    )
    op.execute("INSERT INTO search_index (upto, until) SELECT 0, coalesce(max(seq), 0) FROM messages")


def _sqlite() -> None:
    """The server fills the index, from the first message on, as it always does with what is not in it yet.

    The terms of a text come with spaces between, which is all that the tokenizer has to know.
    """
    op.execute("DROP TRIGGER messages_fts_delete")
    op.execute("DROP TABLE messages_fts")
    op.execute(
        "CREATE VIRTUAL TABLE messages_fts USING fts5(text, content='', detail=none, columnsize=0, tokenize='ascii')"
    )
    op.execute("UPDATE search_index SET upto = 0")
    op.execute(
        "CREATE TRIGGER messages_fts_delete AFTER DELETE ON messages "
        "WHEN old.text <> '' AND old.seq <= (SELECT upto FROM search_index) BEGIN "
        "INSERT INTO messages_fts(messages_fts, rowid, text) VALUES ('delete', old.seq, index_terms(old.text)); END"
    )
