"""The Responses dialect on the Provider port: OpenAI's models that reason."""

from collections.abc import Sequence
from typing import ClassVar

from tertulia.domain.errors import ProviderError
from tertulia.domain.messages import Message, Part
from tertulia.domain.models import ModelSettings
from tertulia.ports.provider import ModelRequest
from tertulia.providers.adapter import Call
from tertulia.providers.endpoint import EndpointConfig
from tertulia.providers.failures import Subject
from tertulia.providers.openai import responses_settings
from tertulia.providers.openai.responses_encoding import ResponsesEncoder
from tertulia.providers.openai.responses_errors import is_of_reasoning
from tertulia.providers.openai.responses_stream import ReplyReader
from tertulia.providers.setting_rules import Rules
from tertulia.providers.sse_adapter import SseAdapter


class ResponsesProvider(SseAdapter):
    """One endpoint on the Provider port."""

    connection = "tertulia.providers.openai.connection"
    protocol = "Responses"
    setting_rules: ClassVar[Rules] = responses_settings.RULES
    instructions: ClassVar[str] = ""
    """What is sent where a request has no system prompt, to a service that insists on some."""

    def __init__(self, config: EndpointConfig) -> None:
        super().__init__(config)
        self._encoder = ResponsesEncoder(
            config.type.provider_type, self.writers, self.setting_rules, instructions=self.instructions
        )

    def rules(self, model: str) -> Rules:
        del model
        return self.setting_rules

    def check_settings(self, model: str, settings: ModelSettings) -> None:
        responses_settings.check(settings, self.rules(model), self.name)

    def encode(self, request: ModelRequest) -> bytes:
        if request.settings is not None:
            self.check_settings(request.model, request.settings)
        return self._encoder.encode(request)

    def parts_sent(self, model: str, message: Message) -> Sequence[Part]:
        del model
        return self._encoder.parts_sent(message)

    def path(self, model: str) -> str:
        del model
        return "/responses"

    def reader(self, subject: Subject) -> ReplyReader:
        return ReplyReader(subject)

    def reword(self, call: Call, error: ProviderError) -> bytes | None:
        """Reasoning that cannot be read any more, such as when the key is another account's now, is left out."""
        if not is_of_reasoning(error):
            return None
        other = self._encoder.encode(call.request, with_reasoning=False)
        return other if other != call.body else None
