"""Which schema this version reads and writes, known without loading Alembic."""

from pathlib import Path
from typing import Final

_VERSIONS: Final = Path(__file__).parent / "migrations" / "versions"

SCHEMA_REVISION: Final = max(path.name.partition("_")[0] for path in _VERSIONS.glob("[0-9]*.py"))
"""The newest migration. A database that has it is opened without loading Alembic."""

COPYING: Final = "copying"
"""What stands in the revision's place in a database that is being copied into, so that no server opens it."""
