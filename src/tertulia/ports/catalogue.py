"""The catalogue of models: which provider answers for a handle."""

from typing import Protocol

from tertulia.domain.models import EmbeddingCard, ModelCard, ModelSettings
from tertulia.ports.provider import Provider


class Catalogue(Protocol):
    @property
    def default_model(self) -> str | None:
        """The handle an agent gets that names none."""
        ...

    def resolve(self, handle: str) -> tuple[Provider, ModelCard]:
        """The provider of a handle and what is known of the model; asks nobody.

        :raises InvalidArgument: if the handle is not ``provider/model``, no such provider is configured (the message
            says what to set), or its adapter does not exist yet.
        """
        ...

    def card(self, handle: str) -> ModelCard:
        """What is known of a handle's model, also where this release cannot send to it yet; asks nobody.

        :raises InvalidArgument: if the handle is not ``provider/model`` or no such provider is known or configured.
        """
        ...

    def fits(self, handle: str, settings: ModelSettings) -> bool:
        """Whether the settings are of the handle's provider type.

        :raises InvalidArgument: if the handle is not ``provider/model``.
        """
        ...

    def settings_type(self, handle: str) -> str:
        """The ``provider_type`` of the settings that the handle's model takes; of those, if several, the usual one.

        :raises InvalidArgument: if the handle is not ``provider/model``.
        """
        ...

    def check_settings(self, handle: str, settings: ModelSettings) -> None:
        """Say whether the handle's model takes the settings.

        :raises InvalidArgument: if they are of another provider type, or one cannot be expressed to the provider.
        """
        ...

    def embedding(self, handle: str) -> EmbeddingCard | None:
        """What is known of a handle's embedding model; None if nothing is, or its provider is not configured."""
        ...

    async def models(self) -> list[ModelCard]: ...
    async def embeddings(self) -> list[EmbeddingCard]: ...
    async def close(self) -> None: ...
