"""Brings a database to the newest schema with Alembic. Slow to import, so only imported when there is work to do."""

from pathlib import Path
from typing import Final

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError

from tertulia.domain.errors import StoreUnavailable
from tertulia.store.schema import COPYING

_SCRIPTS: Final = Path(__file__).with_name("migrations")


def upgrade(connection: sa.Connection) -> None:
    """Migrate inside the transaction that is open on ``connection``.

    :raises StoreUnavailable: if the database was written by a newer version, or is not completely copied.
    """
    if MigrationContext.configure(connection).get_current_revision() == COPYING:
        raise StoreUnavailable(
            "A copy into this database is not finished. Run the same `tertulia migrate copy` again, which resumes "
            "where it stopped, or use another database."
        )
    config = _config()
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise StoreUnavailable(
            f"The database cannot be brought to this version's schema: {error}. It was probably used by a newer "
            "version of Tertulia; install that version or use another data directory."
        ) from error


def newest_revision() -> str | None:
    return ScriptDirectory.from_config(_config()).get_current_head()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
