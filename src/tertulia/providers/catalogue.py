"""The catalogue of models: which configured provider answers for a handle, and what to set for one that does not."""

import asyncio
from collections.abc import Sequence
from typing import Final

from tertulia.domain.errors import InvalidArgument
from tertulia.domain.models import EmbeddingCard, ModelCard, ModelSettings, split_handle
from tertulia.ports.provider import Provider
from tertulia.providers.anthropic_messages import AnthropicProvider
from tertulia.providers.endpoint import EndpointConfig
from tertulia.providers.model_facts import DEFAULT_CONTEXT_WINDOW, known_windows
from tertulia.providers.openai_chat import OpenAIChatProvider
from tertulia.providers.provider_types import BY_PREFIX, COMPATIBLE, ProviderType
from tertulia.providers.quirks import is_openai
from tertulia.settings import Endpoint, ProviderSettings

# The retired server's handles for "whatever model this installation has".
_ANY_MODEL: Final = frozenset({"letta/auto", "letta/letta-free"})


class ProviderCatalogue:
    """Implements ``ports.catalogue.Catalogue`` over the given providers."""

    def __init__(self, providers: Sequence[Provider], default_model: str | None) -> None:
        self._providers = {provider.name: provider for provider in providers}
        self._default_model = default_model

    @property
    def default_model(self) -> str | None:
        return self._default_model

    def resolve(self, handle: str) -> tuple[Provider, ModelCard]:
        prefix, model = self._parts(handle)
        provider = self._provider(prefix)
        if provider is None:
            raise _not_configured(prefix, handle, sorted(self._providers))
        return provider, provider.card(model)

    def card(self, handle: str) -> ModelCard:
        prefix, model = self._parts(handle)
        row = BY_PREFIX.get(prefix)
        if self._provider(prefix) is None and row is not None and not row.configurable:
            return _card_without_adapter(row, prefix, model)
        return self.resolve(handle)[1]

    def fits(self, handle: str, settings: ModelSettings) -> bool:
        return settings.provider_type in self._settings_types(self._parts(handle)[0])

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

    async def models(self) -> list[ModelCard]:
        """The default model goes first: Letta Code gives its agents the first of the list."""
        found = await asyncio.gather(*(provider.models() for provider in self._providers.values()))
        cards = [card for of_provider in found for card in of_provider]
        return sorted(cards, key=lambda card: card.handle != self._default_model)

    async def embeddings(self) -> list[EmbeddingCard]:
        cards = await asyncio.gather(*(provider.embeddings() for provider in self._providers.values()))
        return [card for of_provider in cards for card in of_provider]

    async def warm_up(self) -> None:
        """Load what the first request to an endpoint would otherwise wait half a second for."""
        adapters = {type(provider): provider for provider in self._providers.values()}  # an SDK is loaded once
        for provider in adapters.values():
            if isinstance(provider, OpenAIChatProvider | AnthropicProvider):
                await provider.warm_up()

    async def close(self) -> None:
        for provider in self._providers.values():
            await provider.close()

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
        if isinstance(provider, OpenAIChatProvider | AnthropicProvider):
            return provider.config.type.settings_types
        if provider is not None:
            return (provider.provider_type, "openai")
        row = BY_PREFIX.get(prefix, COMPATIBLE)
        return row.settings_types

    def _provider(self, prefix: str) -> Provider | None:
        """The provider of that name, or of another name of the same type (``lmstudio`` for ``lmstudio_openai``)."""
        provider = self._providers.get(prefix)
        row = BY_PREFIX.get(prefix)
        if provider is not None or row is None:
            return provider
        provider = self._providers.get(row.prefixes[0])
        # `openai-proxy` was the retired server's name for models behind another OPENAI_BASE_URL, and nothing else.
        if (
            prefix == "openai-proxy"
            and isinstance(provider, OpenAIChatProvider)
            and is_openai(provider.config.base_url)
        ):
            return None
        return provider


def build_catalogue(
    settings: ProviderSettings, default_model: str | None, *, others: Sequence[Provider] = ()
) -> ProviderCatalogue:
    """The catalogue of the configured endpoints, and of ``others`` made elsewhere, such as the local models."""
    endpoints = [_adapter(endpoint_config(endpoint, settings)) for endpoint in settings.endpoints]
    return ProviderCatalogue((*others, *endpoints), default_model)


def _adapter(config: EndpointConfig) -> Provider:
    return AnthropicProvider(config) if config.type.dialect == "anthropic" else OpenAIChatProvider(config)


def endpoint_config(endpoint: Endpoint, settings: ProviderSettings) -> EndpointConfig:
    row = COMPATIBLE if endpoint.kind == "compatible" else BY_PREFIX[endpoint.name]
    return EndpointConfig(
        name=endpoint.name,
        type=row,
        base_url=endpoint.base_url,
        api_key=endpoint.api_key,
        models=endpoint.models,
        connect_timeout=settings.connect_timeout,
        idle_timeout=settings.idle_timeout,
        retries=settings.retries,
    )


def _card_without_adapter(row: ProviderType, prefix: str, model: str) -> ModelCard:
    """What can be said of a model that no adapter of this release speaks to."""
    window, reply = known_windows(model) or (DEFAULT_CONTEXT_WINDOW, None)
    return ModelCard(
        handle=f"{prefix}/{model}",
        name=model,
        provider_name=prefix,
        provider_type=row.provider_type,
        endpoint_type=row.endpoint_type,
        endpoint=row.base_url,
        context_window=window,
        max_output_tokens=reply,
        display_name=model,
    )


def _not_configured(prefix: str, handle: str, configured: list[str]) -> InvalidArgument:
    row = BY_PREFIX.get(prefix)
    if row is None:
        return InvalidArgument(
            f"INVALID_ARGUMENT: no provider '{prefix}' is configured for the model '{handle}'. "
            f"Configured are: {', '.join(configured) or 'none'}. "
            "Add an OpenAI-compatible endpoint of that name in TERTULIA_ENDPOINTS, or use another model.",
        )
    if row.configurable:
        return InvalidArgument(
            f"INVALID_ARGUMENT: the provider '{prefix}' of the model '{handle}' is not configured: "
            f"set {row.variables[0]} and start the server again.",
        )
    hint = (
        " It speaks OpenAI Chat Completions, so it can be configured under a name of its own in TERTULIA_ENDPOINTS."
        if row.dialect == "openai_chat"
        else ""
    )
    return InvalidArgument(
        f"INVALID_ARGUMENT: this release has no adapter for the provider '{prefix}' of the model '{handle}'.{hint}",
    )
