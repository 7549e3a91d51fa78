"""The Gemini dialect on the Provider port: Google's Gemini API, and Vertex AI."""

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Final

import msgspec
from msgspec import Struct

from tertulia.domain.errors import ProviderMalformedReply
from tertulia.domain.messages import Message, Part
from tertulia.domain.models import EmbeddingCard, ModelSettings
from tertulia.ports.provider import ModelRequest, ProviderEvent
from tertulia.providers.adapter import Call
from tertulia.providers.endpoint import EndpointConfig
from tertulia.providers.failures import Subject
from tertulia.providers.gemini import settings as gemini_settings
from tertulia.providers.gemini.addresses import Place, location_of, place_of, vertex_address
from tertulia.providers.gemini.encoding import GeminiEncoder
from tertulia.providers.gemini.stream import ReplyReader
from tertulia.providers.http.sse import EventDecoder
from tertulia.providers.model_list import Listed
from tertulia.providers.setting_rules import Rules
from tertulia.providers.sse_adapter import Reader, SseAdapter

_MOST_PAGES: Final = 20
_GENERATES: Final = "generateContent"
# Models that generate and do not converse, or in other ways than by this method.
_OTHER_WORK: Final = re.compile(
    r"embed|image|tts|audio|-live|aqa|veo-|lyria|robotics|computer-use|deep-research|nano-banana", re.IGNORECASE
)


class GeminiProvider(SseAdapter):
    """One endpoint on the Provider port. ``gemini_addresses`` says what its options are."""

    connection = "tertulia.providers.gemini.sdk"
    protocol = "Gemini"
    takes_image_urls = False

    def __init__(self, config: EndpointConfig) -> None:
        if config.api_key is not None and config.api_key.lstrip().startswith("{"):
            # The JSON of an account is put on one line: line ends are no characters of a key.
            config = replace(config, api_key=" ".join(config.api_key.split()))
        if config.type.provider_type == "google_vertex" and not config.base_url:
            config = replace(config, base_url=vertex_address(location_of(config)))
        super().__init__(config)
        self._encoder = GeminiEncoder(config.type.provider_type, self.writers)

    def rules(self, model: str) -> Rules:
        del model
        return gemini_settings.RULES

    def check_settings(self, model: str, settings: ModelSettings) -> None:
        super().check_settings(model, settings)
        gemini_settings.check_ranges(settings, self.name)

    def encode(self, request: ModelRequest) -> bytes:
        if request.settings is not None:
            self.check_settings(request.model, request.settings)
        if request.parallel_tool_calls is False:
            self.check_settings(
                request.model, ModelSettings(provider_type=self.provider_type, parallel_tool_calls=False)
            )
        return self._encoder.encode(request)

    def parts_sent(self, model: str, message: Message) -> Sequence[Part]:
        del model
        return self._encoder.parts_sent(message)

    def path(self, model: str) -> str:
        return self._place.generate(model)

    def reader(self, subject: Subject) -> ReplyReader:
        return ReplyReader(subject)

    async def fetch_models(self) -> list[Listed]:
        subject = self._config.subject()
        found: list[Listed] = []
        page = ""
        for _ in range(_MOST_PAGES):
            body = await self._client.get(self._place.models(page), subject)
            try:
                decoded = _decode_page(body)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise ProviderMalformedReply(f"{subject.name} sent no list of models.", detail=str(error)) from error
            rows = decoded.publisher_models if self._place.vertex else decoded.models
            found += [row.listed() for row in rows or () if row.converses(vertex=self._place.vertex)]
            page = decoded.next_page_token or ""
            if not page:
                break
        return found

    async def embeddings(self) -> list[EmbeddingCard]:
        return []

    @cached_property
    def _place(self) -> Place:
        return place_of(self._config)

    def _rest(self, decoder: EventDecoder, reader: Reader, call: Call) -> list[ProviderEvent]:
        """Also the error in the middle of a stream that Google sends as a body of its own, in no event."""
        events = super()._rest(decoder, reader, call)
        if decoder.stray.lstrip().startswith(b"{") and not reader.complete:
            failure = self._stray_failure(decoder.stray, reader, call.subject)
            if not isinstance(failure, ProviderMalformedReply):
                raise failure
        return events


class _Model(Struct, rename="camel"):
    """One row of the list of models. Limits are tokens; Vertex tells none."""

    name: str
    display_name: str | None = None
    input_token_limit: int | None = None
    output_token_limit: int | None = None
    supported_generation_methods: list[str] | None = None

    @property
    def _own_name(self) -> str:
        """Without ``models/`` or ``publishers/google/models/``."""
        return self.name.rpartition("models/")[2] or self.name

    def converses(self, *, vertex: bool) -> bool:
        methods = self.supported_generation_methods
        if methods is not None and _GENERATES not in methods:
            return False
        return _OTHER_WORK.search(self.name) is None and (not vertex or self._own_name.startswith("gemini-"))

    def listed(self) -> Listed:
        return Listed(
            id=self._own_name,
            context_window=self.input_token_limit,
            max_completion_tokens=self.output_token_limit,
            display_name=self.display_name,
        )


class _Page(Struct, rename="camel"):
    models: list[_Model] | None = None
    publisher_models: list[_Model] | None = None
    next_page_token: str | None = None


_decode_page: Final = msgspec.json.Decoder(_Page, strict=False).decode
