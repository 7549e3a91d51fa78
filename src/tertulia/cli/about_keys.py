"""What to do about the encrypted credentials of the providers in a database that was copied."""

from collections.abc import Collection
from pathlib import Path
from typing import Final

from tertulia.domain.errors import InvalidArgument
from tertulia.domain.providers import StoredProvider
from tertulia.settings import Settings
from tertulia.store.secrets import FernetSecrets

KEY_FILE: Final = "secret.key"


def about_keys(stored: Collection[StoredProvider], come_from: Settings, go_to: Settings) -> list[str]:
    """Sentences that say which key the servers of the copy need, and whose credentials no key at hand opens."""
    key_file = _key_file(come_from)
    given = _opened(stored, FernetSecrets(come_from.secret_keys, None))
    kept = _opened(stored, FernetSecrets((), key_file)) - given
    lost = {provider.name for provider in stored} - given - kept
    sentences: list[str] = []
    if given:
        sentences.append(
            f"TERTULIA_SECRET_KEY decrypts the credentials of {_listed(given)}: start the servers with the same value."
        )
    if kept:
        what = "contents of that file"
        added = f", a comma and the {what} added" if come_from.secret_keys else f" set to the {what}"
        beside = "" if go_to.postgres_url else f", or with a copy of it in {go_to.data_dir}"
        sentences.append(
            f"The key in {key_file} decrypts the credentials of {_listed(kept)}: start the servers with "
            f"TERTULIA_SECRET_KEY{added}{beside}."
        )
    if lost:
        sentences.append(
            f"The credentials of {_listed(lost)} cannot be decrypted with any key at hand, neither "
            "TERTULIA_SECRET_KEY nor "
            f"{key_file}. Start the servers with the key that was used, or store them again."
        )
    return sentences


def _key_file(settings: Settings) -> Path:
    """Beside the database, which may be in another place than the data directory, if it is there."""
    database = settings.database_path
    beside = database.with_name(KEY_FILE) if database else None
    return beside if beside and beside.exists() else settings.data_dir / KEY_FILE


def _opened(stored: Collection[StoredProvider], secrets: FernetSecrets) -> set[str]:
    return {provider.name for provider in stored if _opens(secrets, provider)}


def _opens(secrets: FernetSecrets, provider: StoredProvider) -> bool:
    try:
        secrets.unseal(provider.secret)
    except InvalidArgument:
        return False
    return True


def _listed(names: Collection[str]) -> str:
    count = len(names)
    return f"{count} stored {'provider' if count == 1 else 'providers'} ({', '.join(sorted(names))})"
