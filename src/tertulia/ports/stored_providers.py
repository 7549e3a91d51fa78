"""Providers as the store has them."""

from typing import Protocol

from tertulia.domain.providers import StoredProvider
from tertulia.ports.queries import ProviderQuery


class Providers(Protocol):
    """The providers that were stored at run time, with their credentials encrypted."""

    def insert(self, provider: StoredProvider) -> None:
        """:raises NameTaken: if there is one of this name."""
        ...

    def get(self, provider_id: str) -> StoredProvider: ...
    def update(self, provider: StoredProvider) -> None: ...
    def delete(self, provider_id: str) -> None: ...
    def find(self, query: ProviderQuery) -> list[StoredProvider]: ...
    def all(self) -> list[StoredProvider]:
        """Every one, by name."""
        ...
