"""Which schema this version reads and writes, known without loading Alembic."""

from typing import Final

SCHEMA_REVISION: Final = "0003"
"""The newest migration. A database that has it is opened without loading Alembic."""

COPYING: Final = "copying"
"""What stands in the revision's place in a database that is being copied into, so that no server opens it."""
