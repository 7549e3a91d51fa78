"""The Messages dialect on the Provider port: Anthropic itself, and servers that speak like it."""

from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import Struct

from tertulia.domain.errors import ProviderError
from tertulia.domain.messages import Message, Part
from tertulia.domain.models import EmbeddingCard, ModelSettings
from tertulia.ports.provider import ModelRequest
from tertulia.providers.adapter import Call
from tertulia.providers.anthropic.encoding import MessagesEncoder
from tertulia.providers.anthropic.errors import ReplyTooLong
from tertulia.providers.anthropic.settings import HABITS, Habits, check
from tertulia.providers.anthropic.stream import ReplyReader
from tertulia.providers.endpoint import EndpointConfig
from tertulia.providers.failures import Subject
from tertulia.providers.model_list import Listed
from tertulia.providers.setting_rules import Rules
from tertulia.providers.sse_adapter import SseAdapter

_LEAST_REPLY: Final = 1024  # tokens; with less room than that, the history had better be made shorter
_UNKNOWN_REPLY: Final = 8_192
"""Tokens of a reply of a model nothing is known of; all that are still served can do it."""


class AnthropicProvider(SseAdapter):
    """One endpoint on the Provider port. Its ``base_url`` ends before ``/v1``."""

    connection = "tertulia.providers.anthropic.connection"
    protocol = "Messages"
    request_id_header = "request-id"
    models_path = "/v1/models?limit=1000"

    def __init__(self, config: EndpointConfig) -> None:
        super().__init__(config)
        self._habits = HABITS.get(config.type.provider_type, Habits())
        self._encoder = MessagesEncoder(config.type.provider_type, self.writers, self._habits)

    def rules(self, model: str) -> Rules:
        del model
        return self._habits.rules

    def check_settings(self, model: str, settings: ModelSettings) -> None:
        check(settings, self._habits, self._longest_reply(model), self.name)

    def encode(self, request: ModelRequest) -> bytes:
        longest = self._longest_reply(request.model)
        if request.settings is not None:
            check(request.settings, self._habits, longest, self.name)
        return self._encoder.encode(request, (request.settings and request.settings.max_output_tokens) or longest)

    def parts_sent(self, model: str, message: Message) -> Sequence[Part]:
        del model
        return self._encoder.parts_sent(message)

    def path(self, model: str) -> str:
        del model
        return "/v1/messages"

    def reader(self, subject: Subject) -> ReplyReader:
        return ReplyReader(subject)

    def reword(self, call: Call, error: ProviderError) -> bytes | None:
        """Where the longest reply has no room beside the history, a shorter one is asked for."""
        settings = call.request.settings
        chosen = settings is not None and settings.max_output_tokens is not None
        if not isinstance(error, ReplyTooLong) or chosen or error.room < _LEAST_REPLY:
            return None
        return self._encoder.encode(call.request, error.room)

    def decode_models(self, body: bytes) -> list[Listed]:
        return [row.listed() for row in _decode_models(body).data]

    async def embeddings(self) -> list[EmbeddingCard]:
        return []

    def _longest_reply(self, model: str) -> int:
        return self.card(model).max_output_tokens or _UNKNOWN_REPLY


class _Model(Struct):
    """One row of GET /v1/models. Counts are tokens; other servers of the dialect tell them as OpenAI's do."""

    id: str
    display_name: str | None = None
    max_input_tokens: int | None = None
    max_tokens: int | None = None
    context_length: int | None = None

    def listed(self) -> Listed:
        return Listed(
            id=self.id,
            context_window=self.max_input_tokens or self.context_length,
            max_completion_tokens=self.max_tokens,
            display_name=self.display_name,
        )


class _Models(Struct):
    data: list[_Model]


_decode_models: Final = msgspec.json.Decoder(_Models, strict=False).decode
