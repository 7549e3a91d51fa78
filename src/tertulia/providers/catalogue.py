"""The catalogue of models: which configured provider answers for a handle, and what to set for one that does not."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final, TypeVar

from tertulia.domain.errors import InvalidArgument, ProviderNotConfigured
from tertulia.domain.models import PROVIDER_TYPES as SETTINGS
from tertulia.domain.models import EmbeddingCard, ModelCard, ModelSettings, split_handle
from tertulia.domain.provider_types import BY_PREFIX, COMPATIBLE
from tertulia.ports.provider import Provider
from tertulia.provider_settings import Endpoint, ProviderSettings
from tertulia.providers.adapter import Adapter
from tertulia.providers.adapters import make_adapter
from tertulia.providers.endpoint import EndpointConfig, is_openai

T = TypeVar("T")

# The retired server's handles for "whatever model this installation has".
_ANY_MODEL: Final = frozenset({"letta/auto", "letta/letta-free"})


class ProviderCatalogue:
    """Implements ``ports.catalogue.Catalogue`` over the given providers, and those that are stored at run time.

    Handles are resolved in threads, too, so the stored ones are never changed in place.
    """

    def __init__(self, providers: Sequence[Provider], default_model: str | None) -> None:
        self._providers = {provider.name: provider for provider in providers}
        self._stored: Mapping[str, Provider] = {}
        self._unusable: Mapping[str, str] = {}
        self._default_model = default_model

    @property
    def default_model(self) -> str | None:
        return self._default_model

    def resolve(self, handle: str) -> tuple[Provider, ModelCard]:
        prefix, model = self._parts(handle)
        provider = self._provider(prefix)
        if provider is None:
            if prefix in self._unusable:
                raise InvalidArgument(self._unusable[prefix])
            raise _not_configured(prefix, handle, sorted({*self._providers, *self._stored}))
        return provider, provider.card(model)

    def card(self, handle: str) -> ModelCard:
        return self.resolve(handle)[1]

    def fits(self, handle: str, settings: ModelSettings) -> bool:
        return settings.provider_type in self._settings_types(self._parts(handle)[0])

    def settings_type(self, handle: str) -> str:
        return next(kind for kind in self._settings_types(self._parts(handle)[0]) if kind in SETTINGS)

    def check_settings(self, handle: str, settings: ModelSettings) -> None:
        prefix, model = self._parts(handle)
        accepted = self._settings_types(prefix)
        if settings.provider_type not in accepted:
            raise InvalidArgument(
                f"INVALID_ARGUMENT: model_settings of provider_type '{settings.provider_type}' do not fit the model "
                f"'{handle}': use provider_type '{accepted[0]}'.",
            )
        provider = self._provider(prefix)
        if provider is not None:
            provider.check_settings(model, settings)

    def embedding(self, handle: str) -> EmbeddingCard | None:
        prefix, model = split_handle(handle) or ("", "")
        provider = self._provider(prefix)
        return provider.embedding(model) if isinstance(provider, Adapter) else None

    async def models(self) -> list[ModelCard]:
        """The default model goes first: Letta Code gives its agents the first of the list."""
        found = await asyncio.gather(*(provider.models() for provider in self._all()))
        cards = [card for of_provider in found for card in of_provider]
        return sorted(cards, key=lambda card: card.handle != self._default_model)

    async def embeddings(self) -> list[EmbeddingCard]:
        cards = await asyncio.gather(*(provider.embeddings() for provider in self._all()))
        return [card for of_provider in cards for card in of_provider]

    async def warm_up(self) -> None:
        """Load what the first request to an endpoint would otherwise wait half a second for."""
        adapters = {type(provider): provider for provider in self._all()}  # its module is loaded once
        for provider in adapters.values():
            if isinstance(provider, Adapter):
                await provider.warm_up()

    async def close(self) -> None:
        for provider in (*self._providers.values(), *self._stored.values()):
            await provider.close()

    def is_configured(self, name: str) -> bool:
        """Whether handles that begin with the name are a configured provider's."""
        return self._named(name, self._providers) is not None

    def store(self, provider: Provider) -> Provider | None:
        """Let a provider answer for the handles of its name, unless a configured one does; the one it replaces."""
        before = self._stored.get(provider.name)
        self._stored = {**self._stored, provider.name: provider}
        self._unusable = _without(provider.name, self._unusable)
        return before

    def refuse(self, name: str, reason: str) -> Provider | None:
        """Answer for the handles of the name with the reason; the provider that did so before."""
        self._unusable = {**self._unusable, name: reason}
        before = self._stored.get(name)
        self._stored = _without(name, self._stored)
        return before

    def forget(self, name: str) -> Provider | None:
        """Forget the stored provider of the name, which is returned."""
        before = self._stored.get(name)
        self._stored = _without(name, self._stored)
        self._unusable = _without(name, self._unusable)
        return before

    def stored(self, name: str) -> Provider | None:
        return self._stored.get(name)

    def _all(self) -> list[Provider]:
        stored = (provider for name, provider in self._stored.items() if not self.is_configured(name))
        return [*self._providers.values(), *stored]

    def _parts(self, handle: str) -> tuple[str, str]:
        if handle in _ANY_MODEL and self._default_model is not None:
            handle = self._default_model
        parts = split_handle(handle)
        if parts is None:
            # Word for word the retired server's, which clients show.
            raise InvalidArgument("INVALID_ARGUMENT: The model handle should be in the format provider/model-name")
        return parts

    def _settings_types(self, prefix: str) -> tuple[str, ...]:
        """The ``model_settings.provider_type`` that fit, the usual one first."""
        provider = self._provider(prefix)
        if isinstance(provider, Adapter):
            return provider.config.type.settings_types
        if provider is not None:
            return (provider.provider_type, "openai")
        row = BY_PREFIX.get(prefix, COMPATIBLE)
        return row.settings_types

    def _provider(self, prefix: str) -> Provider | None:
        return self._named(prefix, self._providers) or self._named(prefix, self._stored)

    def _named(self, prefix: str, providers: Mapping[str, Provider]) -> Provider | None:
        """The provider of that name, or of another name of the same type (``lmstudio`` for ``lmstudio_openai``)."""
        provider = providers.get(prefix)
        row = BY_PREFIX.get(prefix)
        if provider is not None or row is None:
            return provider
        provider = providers.get(row.prefixes[0])
        # `openai-proxy` was the retired server's name for models behind another OPENAI_BASE_URL, and nothing else.
        if prefix == "openai-proxy" and isinstance(provider, Adapter) and is_openai(provider.config.base_url):
            return None
        return provider


def _without(name: str, mapping: Mapping[str, T]) -> Mapping[str, T]:
    return {other: value for other, value in mapping.items() if other != name}


def build_catalogue(
    settings: ProviderSettings, default_model: str | None, *, others: Sequence[Provider] = ()
) -> ProviderCatalogue:
    """The catalogue of the configured endpoints, and of ``others`` made elsewhere, such as the local models."""
    endpoints = [make_adapter(endpoint_config(endpoint, settings)) for endpoint in settings.endpoints]
    return ProviderCatalogue((*others, *endpoints), default_model)


def endpoint_config(endpoint: Endpoint, settings: ProviderSettings) -> EndpointConfig:
    return EndpointConfig(
        name=endpoint.name,
        type=endpoint.type,
        base_url=endpoint.base_url,
        api_key=endpoint.api_key,
        options=endpoint.options,
        models=endpoint.models,
        connect_timeout=settings.connect_timeout,
        idle_timeout=settings.idle_timeout,
        retries=settings.retries,
    )


def _not_configured(prefix: str, handle: str, configured: list[str]) -> ProviderNotConfigured:
    row = BY_PREFIX.get(prefix)
    if row is None:
        return ProviderNotConfigured(
            f"INVALID_ARGUMENT: no provider '{prefix}' is configured for the model '{handle}'. "
            f"Configured are: {', '.join(configured) or 'none'}. "
            "Store a provider of that name with POST /v1/providers/, add an OpenAI-compatible endpoint in "
            "TERTULIA_ENDPOINTS, or use another model.",
        )
    how = f"sign in with `{row.login}`" if row.login else f"set {' and '.join(row.needs)} and start the server again"
    return ProviderNotConfigured(
        f"INVALID_ARGUMENT: the provider '{prefix}' of the model '{handle}' is not configured: {how}, or store it with "
        "POST /v1/providers/.",
    )
