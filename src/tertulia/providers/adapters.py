"""Which adapter speaks which dialect. A table; the adapters load what they connect with when they are first asked."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from tertulia.domain.provider_types import Dialect
from tertulia.providers.adapter import Adapter
from tertulia.providers.anthropic.adapter import AnthropicProvider
from tertulia.providers.bedrock.adapter import BedrockProvider
from tertulia.providers.chatgpt.adapter import ChatGPTProvider
from tertulia.providers.endpoint import EndpointConfig
from tertulia.providers.gemini.adapter import GeminiProvider
from tertulia.providers.openai.adapter import OpenAIProvider
from tertulia.providers.openai.chat_adapter import AzureProvider, OpenAIChatProvider

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
