"""Workers, and which of them has a run."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.add_column("runs", sa.Column("worker_id", _TEXT))
    op.add_column("runs", sa.Column("token", sa.Integer, nullable=False, server_default="0"))
    op.add_column("runs", sa.Column("cancel", _TEXT))
    op.add_column("runs", sa.Column("kept", sa.Boolean, nullable=False, server_default=sa.false()))
    running = sa.text("status = 'running'")
    op.create_index("runs_worker", "runs", ["worker_id"], sqlite_where=running, postgresql_where=running)
    op.create_table(
        "workers",
        sa.Column("id", _TEXT, primary_key=True),
        sa.Column("lease_until", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "started_calls",
        sa.Column("run_id", _TEXT, sa.ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("tool_call_id", _TEXT, primary_key=True),
        sqlite_with_rowid=False,
    )
