"""Tools that users made."""

from alembic import op

from tertulia.store.sql.plain import new_plain_table

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    new_plain_table("tools", "name", unique="name").create(op.get_bind())
