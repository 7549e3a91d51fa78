"""Encryption at rest: Fernet under keys from the settings, or under one that is made once and kept beside the data."""

import contextlib
import fcntl
import os
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Final

from tertulia.domain.errors import InvalidArgument, SecretUnreadable

if TYPE_CHECKING:
    from cryptography.fernet import Fernet, MultiFernet

_HOW_TO_MEND: Final = "Give the server the key that was used (TERTULIA_SECRET_KEY takes several), or store them again."


class FernetSecrets:
    """Implements ``ports.secrets.Secrets``.

    ``keys`` are from the settings, the newest first. Without any, the key is in ``key_file``, which is made when the
    first secret is stored; with some, a key in that file still opens what was stored before there were settings. None
    for ``key_file`` means that a key made here would be unknown to the other processes of the same database.
    """

    def __init__(self, keys: Sequence[str], key_file: Path | None) -> None:
        self._keys = tuple(keys)
        self._key_file = key_file

    def seal(self, plain: bytes) -> str:
        return self._sealing.encrypt(plain).decode()

    def unseal(self, sealed: str) -> bytes:
        # Imported where it is used: most servers store no secret, and it takes 30 ms and 5 MB.
        from cryptography.fernet import InvalidToken  # noqa: PLC0415

        try:
            opening = self._opening
        except InvalidArgument as error:
            raise SecretUnreadable(f"{error} {_HOW_TO_MEND}") from error
        if opening is None:
            raise SecretUnreadable(f"The key that was used is not here. {_HOW_TO_MEND}")
        try:
            return opening.decrypt(sealed.encode())
        except InvalidToken as error:
            raise SecretUnreadable(f"Another key was used, or the text is damaged. {_HOW_TO_MEND}") from error

    def outdated(self, sealed: str) -> bool:
        from cryptography.fernet import InvalidToken  # noqa: PLC0415  as above

        if not self._keys:
            return False  # the key in the file is the only one there is
        try:
            _fernet(self._keys[0]).decrypt(sealed.encode())
        except InvalidToken:
            return True
        return False

    @cached_property
    def _sealing(self) -> "Fernet":
        if self._keys:
            return _fernet(self._keys[0])
        if self._key_file is None:
            raise InvalidArgument(
                "INVALID_ARGUMENT: this server has no key to encrypt credentials with. Set TERTULIA_SECRET_KEY, the "
                "same for every server of the database, for example to the output of: openssl rand -base64 32",
            )
        return _fernet(load_key(self._key_file))

    @property
    def _opening(self) -> "MultiFernet | None":
        from cryptography.fernet import MultiFernet  # noqa: PLC0415  as above

        keys = list(self._keys)
        if self._key_file is not None and os.path.lexists(self._key_file):
            keys.append(load_key(self._key_file))
        return MultiFernet([_fernet(key) for key in keys]) if keys else None


def load_key(path: Path) -> str:
    """The key in the file; made if there is none, and the same one for all who come at once.

    :raises InvalidArgument: if the file holds something else, or can be neither read nor made.
    """
    from cryptography.fernet import Fernet  # noqa: PLC0415  as above

    try:
        key = load_text(path, lambda: Fernet.generate_key().decode())
    except OSError as error:
        raise InvalidArgument(
            f"INVALID_ARGUMENT: the key that credentials are encrypted with cannot be kept in {path} "
            f"({error.strerror}). Set TERTULIA_SECRET_KEY to it, for example to the output of: openssl rand -base64 32"
        ) from error
    try:
        _fernet(key)
    except ValueError as error:
        raise InvalidArgument(
            f"INVALID_ARGUMENT: {path} does not hold a key. Put the file back from a copy, or remove it and store "
            "the providers' credentials again.",
        ) from error
    return key


class CallbackSecret:
    """What callbacks are signed with: the API key, or a secret that is made when the first one is, and kept."""

    def __init__(self, api_key: str | None, path: Path) -> None:
        self._api_key = api_key
        self._path = path

    def __call__(self) -> bytes:
        """:raises InvalidArgument: if it can be neither read nor made."""
        return self._secret

    @cached_property
    def _secret(self) -> bytes:
        if self._api_key is not None:
            return self._api_key.encode()
        try:
            return load_text(self._path, lambda: token_hex(32)).encode()
        except OSError as error:
            raise InvalidArgument(
                "INVALID_ARGUMENT: this server cannot sign callbacks: its signing key cannot be stored in "
                f"{self._path} ({error.strerror}). Set TERTULIA_API_KEY, which signs them too, or TERTULIA_DATA_DIR to "
                "a directory that the server can write to.",
            ) from error


def load_text(path: Path, make: Callable[[], str]) -> str:
    """What is in the file; what ``make`` makes if there is nothing, and the same for all who come at once.

    :raises OSError: if it can be neither read nor made.
    """
    with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        if text := file.read().decode(errors="replace").strip():
            return text
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+b", opener=_for_owner_alone) as file:
        # Whoever has the lock first writes; a process that is killed while it writes leaves nothing or a whole key.
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        text = file.read().decode(errors="replace").strip()
        if not text:
            text = make()
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
    return text


def _for_owner_alone(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _fernet(key: str) -> "Fernet":
    from cryptography.fernet import Fernet  # noqa: PLC0415  as above

    return Fernet(key)
