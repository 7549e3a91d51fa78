"""Secrets: what is encrypted before it is stored, so that the database alone gives nothing away."""

from typing import Protocol


class Secrets(Protocol):
    def seal(self, plain: bytes) -> str:
        """Encrypt, under the newest key.

        :raises InvalidArgument: if there is no key and none can be made.
        """
        ...

    def unseal(self, sealed: str) -> bytes:
        """What was encrypted.

        :raises SecretUnreadable: if that was under a key that is not there, or the text was damaged.
        """
        ...

    def outdated(self, sealed: str) -> bool:
        """Whether it is encrypted under another key than the newest, or cannot be read."""
        ...
