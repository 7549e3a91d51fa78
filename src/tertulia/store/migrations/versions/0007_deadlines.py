"""Since when a conversation may wait for answers to tool calls, so that those whose time is over can be found."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

# What was asked before is found by the runs that ended with it; whether it was answered since is seen when it is due.
_ASKED = """
    UPDATE conversations SET asked_at = (
        SELECT max(r.created_at) FROM runs r
        WHERE r.conversation_id = conversations.id AND r.stop_reason = 'requires_approval'
    )
"""


def upgrade() -> None:
    op.add_column("conversations", sa.Column("asked_at", sa.BigInteger))
    asked = sa.text("asked_at IS NOT NULL")
    op.create_index("conversations_asked", "conversations", ["asked_at"], sqlite_where=asked, postgresql_where=asked)
    op.execute(_ASKED)
