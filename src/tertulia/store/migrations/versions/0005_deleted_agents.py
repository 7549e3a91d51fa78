"""Agents that are being deleted: hidden at once, removed piece by piece."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("agents", sa.Column("deleted", sa.Boolean, nullable=False, server_default=sa.false()))
