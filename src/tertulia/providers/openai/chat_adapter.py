"""The OpenAI Chat Completions dialect on the Provider port: OpenAI itself and everything that speaks like it."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Final
from urllib.parse import quote, urlsplit

from tertulia.domain.errors import ProviderBadRequest, ProviderError
from tertulia.domain.messages import Message, Part
from tertulia.ports.provider import ModelRequest
from tertulia.providers import setting_rules
from tertulia.providers.adapter import Call
from tertulia.providers.endpoint import EndpointConfig
from tertulia.providers.failures import Subject
from tertulia.providers.openai.chat_encoding import ChatEncoder
from tertulia.providers.openai.chat_quirks import quirks_of
from tertulia.providers.openai.chat_settings import OPENAI
from tertulia.providers.openai.chat_stream import ReplyReader
from tertulia.providers.setting_rules import Rules
from tertulia.providers.sse_adapter import SseAdapter

# OpenAI's reasoning models refuse `max_tokens` wherever they are served from.
_OPENAI_MODEL: Final = re.compile(r"(?:.*/)?(?:o\d|gpt-5)")
_MAY_BE_UNKNOWN: Final = ("stream_options", "prompt_cache_key", "max_completion_tokens")
"""What imitators may not know. ``max_tokens`` takes the place of the last."""

_AZURE_VERSION: Final = "2024-10-21"
_AZURE_LISTING: Final = "/openai/deployments?api-version=2023-03-15-preview"
"""The last version that lists deployments to who has a key alone."""


class OpenAIChatProvider(SseAdapter):
    """One endpoint on the Provider port."""

    connection = "tertulia.providers.openai.connection"
    protocol = "Chat Completions"
    gives_logprobs = True

    def __init__(self, config: EndpointConfig) -> None:
        super().__init__(config)
        self._quirks = quirks_of(config.type, config.base_url)
        self._encoder = ChatEncoder(config.type.provider_type, self.writers, self._quirks)
        self._unknown: tuple[str, ...] = ()

    def rules(self, model: str) -> Rules:
        if self._quirks.imitates and _OPENAI_MODEL.match(model):
            return {**self._quirks.rules, "max_output_tokens": OPENAI["max_output_tokens"]}
        return self._quirks.rules

    def encode(self, request: ModelRequest) -> bytes:
        rules = self.rules(request.model)
        if request.settings is not None:
            setting_rules.check(request.settings, rules, self.name)
        return self._encoder.encode(request, rules, without=self._unknown)

    def parts_sent(self, model: str, message: Message) -> Sequence[Part]:
        del model
        return self._encoder.parts_sent(message)

    def path(self, model: str) -> str:
        del model
        return "/chat/completions"

    def reader(self, subject: Subject) -> ReplyReader:
        return ReplyReader(subject, keeps_details=self._quirks.reasoning_back == "details")

    def reword(self, call: Call, error: ProviderError) -> bytes | None:
        """A server that turns out not to know a parameter of ours is asked without, and from then on."""
        if not isinstance(error, ProviderBadRequest):
            return None
        named = tuple(name for name in _MAY_BE_UNKNOWN if name in error.detail and name not in self._unknown)
        if not named or not any(name.encode() in call.body for name in named):
            return None
        self._unknown += named
        return self.encode(call.request)


class AzureProvider(OpenAIChatProvider):
    """One resource of Azure OpenAI; its models are deployments.

    ``base_url`` is the resource's address, or ends in ``/openai/v1`` for the API that needs no version.
    """

    def __init__(self, config: EndpointConfig) -> None:
        super().__init__(replace(config, base_url=config.base_url.removesuffix("/openai")))
        self._is_versionless = urlsplit(config.base_url).path.endswith("/v1")
        self.models_path = "/models" if self._is_versionless else _AZURE_LISTING

    def path(self, model: str) -> str:
        if self._is_versionless:
            return super().path(model)
        version = self._config.options.get("api_version") or _AZURE_VERSION
        return f"/openai/deployments/{quote(model, safe='')}/chat/completions?api-version={quote(version, safe='')}"
