"""Which adapter speaks which dialect. A table; the adapters load their SDKs when they are first asked."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from tertulia.domain.provider_types import Dialect
from tertulia.providers.adapter import Adapter
from tertulia.providers.anthropic_messages import AnthropicProvider
from tertulia.providers.bedrock_converse import BedrockProvider
from tertulia.providers.chatgpt_oauth import ChatGPTProvider
from tertulia.providers.endpoint import EndpointConfig
from tertulia.providers.gemini_provider import GeminiProvider
from tertulia.providers.openai_chat import AzureProvider, OpenAIChatProvider
from tertulia.providers.openai_routing import OpenAIProvider

ADAPTERS: Final[Mapping[Dialect, type[Adapter]]] = MappingProxyType(
    {
        "anthropic": AnthropicProvider,
        "azure": AzureProvider,
        "bedrock": BedrockProvider,
        "chatgpt": ChatGPTProvider,
        "google": GeminiProvider,
        "openai": OpenAIProvider,
        "openai_chat": OpenAIChatProvider,
    }
)


def make_adapter(config: EndpointConfig) -> Adapter:
    return ADAPTERS[config.type.dialect](config)
