"""Checks of the providers that are kept in the database: whether their credentials can be decrypted."""

import asyncio
import sqlite3
from pathlib import Path
from typing import Final

import asyncpg
import msgspec

from tertulia.cli.findings import Finding
from tertulia.domain.errors import TertuliaError
from tertulia.domain.providers import StoredProvider
from tertulia.settings import Settings
from tertulia.store.secrets import FernetSecrets

_TIMEOUT: Final = 2.0

_QUERY: Final = "SELECT body FROM providers ORDER BY name"

_decode: Final = msgspec.json.Decoder(StoredProvider).decode


def check_stored(settings: Settings) -> list[Finding]:
    """One finding for each stored provider, ``ok`` for those that can be used; its subject is the provider's name."""
    path, url = settings.database_path, settings.postgres_url
    bodies = _of_sqlite(path) if path else asyncio.run(_of_postgres(url)) if url else []
    secrets = FernetSecrets(settings.secret_keys, None if url else settings.data_dir / "secret.key")
    return [_provider(_decode(body), secrets) for body in bodies]


# Both read beside a server that may have the database open. Where that fails there is nothing to say here: an older
# schema has no such table, and whatever else is wrong is told of the database.


def _of_sqlite(path: Path) -> list[str]:
    if not path.exists():
        return []
    try:
        connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=_TIMEOUT)
        try:
            return [body for (body,) in connection.execute(_QUERY)]
        finally:
            connection.close()
    except sqlite3.Error:
        return []


async def _of_postgres(url: str) -> list[str]:
    try:
        connection = await asyncpg.connect(url, timeout=_TIMEOUT)
        try:
            return [row[0] for row in await connection.fetch(_QUERY)]
        finally:
            await connection.close()
    except (OSError, ValueError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return []


def _provider(provider: StoredProvider, secrets: FernetSecrets) -> Finding:
    try:
        secrets.unseal(provider.secret)
    except TertuliaError as error:
        return Finding("fail", provider.name, f"its credentials cannot be decrypted. {error}")
    address = f" at {provider.base_url}" if provider.base_url else ""
    return Finding("ok", provider.name, f"{provider.provider_type}{address}, its credentials can be decrypted")
