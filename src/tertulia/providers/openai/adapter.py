"""OpenAI on the Provider port: Responses for the models that reason, Chat Completions for all others.

Servers that imitate OpenAI under its name may have no Responses. The first answer that says so is remembered, and the
models that reason are then asked over Chat Completions, too. OpenAI itself is never taken for such a server.
"""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from typing import Final
from urllib.parse import urlsplit

from tertulia.domain.errors import ProviderError
from tertulia.domain.messages import Message, Part
from tertulia.domain.models import ModelCard, ModelSettings
from tertulia.ports.provider import ModelRequest, ProviderEvent
from tertulia.providers.adapter import Adapter, Call
from tertulia.providers.endpoint import EndpointConfig
from tertulia.providers.model_list import Listed
from tertulia.providers.openai.chat_adapter import OpenAIChatProvider
from tertulia.providers.openai.errors import NoSuchService
from tertulia.providers.openai.responses_adapter import ResponsesProvider
from tertulia.providers.openai.responses_encoding import HEAD
from tertulia.providers.openai.responses_models import speaks_responses
from tertulia.providers.setting_rules import Rules

_OPENAI: Final = ".api.openai.com"


class OpenAIProvider(Adapter):
    """One endpoint on the Provider port. Each dialect makes its connection when it is first asked."""

    def __init__(self, config: EndpointConfig) -> None:
        super().__init__(config)
        self._chat = OpenAIChatProvider(config)
        self._responses = ResponsesProvider(config)
        self._has_responses = True
        self._is_openai = f".{urlsplit(config.base_url).hostname or ''}".endswith(_OPENAI)

    def rules(self, model: str) -> Rules:
        return self._of(model).rules(model)

    def check_settings(self, model: str, settings: ModelSettings) -> None:
        self._of(model).check_settings(model, settings)

    def encode(self, request: ModelRequest) -> bytes:
        return self._of(request.model).encode(request)

    def parts_sent(self, model: str, message: Message) -> Sequence[Part]:
        return self._of(model).parts_sent(model, message)

    def attempt(self, call: Call) -> AsyncGenerator[list[ProviderEvent], None]:
        return self._that_wrote(call.body).attempt(call)

    def reword(self, call: Call, error: ProviderError) -> bytes | None:
        other = self._that_wrote(call.body).reword(call, error)
        if other is not None or not self._lacks_responses(call, error):
            return other
        self._has_responses = False
        return self._chat.encode(call.request)

    async def fetch_models(self) -> list[Listed]:
        return await self._chat.fetch_models()

    def card(self, model: str) -> ModelCard:
        return self._with_logprobs(super().card(model))

    async def models(self) -> list[ModelCard]:
        return [self._with_logprobs(card) for card in await super().models()]

    async def warm_up(self) -> None:
        await self._chat.warm_up()
        await self._responses.warm_up()

    async def close(self) -> None:
        await self._chat.close()
        await self._responses.close()

    def _of(self, model: str) -> ResponsesProvider | OpenAIChatProvider:
        return self._responses if self._has_responses and speaks_responses(model) else self._chat

    def _that_wrote(self, body: bytes) -> ResponsesProvider | OpenAIChatProvider:
        """The choice may change between a body and its being sent, or sent again; a body stays what it is."""
        return self._responses if body.startswith(HEAD) else self._chat

    def _lacks_responses(self, call: Call, error: ProviderError) -> bool:
        asked = self._that_wrote(call.body) is self._responses
        return asked and isinstance(error, NoSuchService) and not self._is_openai

    def _with_logprobs(self, card: ModelCard) -> ModelCard:
        return replace(card, gives_logprobs=not speaks_responses(card.name))
