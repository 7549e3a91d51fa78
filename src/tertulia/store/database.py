"""Opens the database that the settings name, whichever kind it is."""

import asyncio
from dataclasses import dataclass

from tertulia.ports.signals import NoSignals, Signals
from tertulia.ports.store import Store
from tertulia.ports.telemetry import PoolUse
from tertulia.settings import Settings
from tertulia.store.sqlite.store import open_sqlite


@dataclass(frozen=True, slots=True)
class OpenDatabase:
    """A store, and the signals between the workers that share it. The signals are started and closed by their user.

    ``pool`` is how its connections are used; None where it is a file.
    """

    store: Store
    signals: Signals
    pool: PoolUse | None = None


async def open_database(settings: Settings) -> OpenDatabase:
    """Open it, made and migrated as needed.

    :raises DataDirectoryHeld: if another server uses the SQLite file.
    :raises StoreUnavailable: if it cannot be opened.
    """
    path = settings.database_path
    if path is not None:
        return OpenDatabase(await open_sqlite(path), NoSignals())
    # A server on SQLite loads neither.
    from tertulia.store.postgres import embedded as embedded_pg  # noqa: PLC0415
    from tertulia.store.postgres.signals import PgSignals  # noqa: PLC0415
    from tertulia.store.postgres.store import open_postgres  # noqa: PLC0415

    if settings.postgres_url is not None:
        store = await open_postgres(settings.postgres_url, settings.db_pool_size)
        return OpenDatabase(store, PgSignals(settings.postgres_url), store.pool)
    server = await asyncio.to_thread(embedded_pg.start, settings.embedded_directory)
    store = await open_postgres(server.url, settings.db_pool_size, server)
    return OpenDatabase(store, PgSignals(server.url), store.pool)
