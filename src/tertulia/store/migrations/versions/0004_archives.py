"""Archives, the first plain noun."""

from alembic import op

from tertulia.store.sql.plain import new_plain_table

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    new_plain_table("archives", "name").create(op.get_bind())
