"""The Messages dialect on the Provider port: Anthropic itself, and servers that speak like it.

The SDK opens the connection; the body is encoded and the stream decoded here, from bytes to bytes, as for OpenAI.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct

from tertulia.domain.errors import ProviderError, ProviderMalformedReply
from tertulia.domain.models import EmbeddingCard, ModelCard, ModelSettings
from tertulia.ports.provider import ModelRequest, ProviderEvent
from tertulia.providers.anthropic_encoding import MessagesEncoder
from tertulia.providers.anthropic_errors import ReplyTooLong
from tertulia.providers.anthropic_settings import HABITS, Habits, check
from tertulia.providers.anthropic_stream import ReplyReader
from tertulia.providers.chat_errors import Subject
from tertulia.providers.endpoint import EndpointConfig
from tertulia.providers.model_list import Listed, ModelList
from tertulia.providers.sdk_client import SdkClient, drain
from tertulia.providers.sse import EventDecoder, LineTooLong

if TYPE_CHECKING:
    import httpx2

_MESSAGES: Final = "/v1/messages"
_MODELS: Final = "/v1/models?limit=1000"
_MAX_PLAIN_BODY: Final = 8 * 1024 * 1024
_LEAST_REPLY: Final = 1024  # tokens; with less room than that, the history had better be made shorter
_UNKNOWN_REPLY: Final = 8_192
"""Tokens of a reply of a model nothing is known of; all that are still served can do it."""


class AnthropicProvider:
    """One endpoint on the Provider port. Its ``base_url`` ends before ``/v1``."""

    def __init__(self, config: EndpointConfig) -> None:
        self._config = config
        self._habits = HABITS.get(config.type.provider_type, Habits())
        writers = frozenset({config.name, *config.type.prefixes})
        self._encoder = MessagesEncoder(config.type.provider_type, writers, self._habits)
        self._model_list = ModelList(config, self._fetch_models)
        self._client = SdkClient(config, "tertulia.providers.anthropic_sdk")

    @property
    def name(self) -> str:
        return self._config.name

    @property
    def provider_type(self) -> str:
        return self._config.type.provider_type

    @property
    def config(self) -> EndpointConfig:
        return self._config

    def check_settings(self, model: str, settings: ModelSettings) -> None:
        check(settings, self._habits, self._longest_reply(model))

    def encode(self, request: ModelRequest) -> bytes:
        longest = self._longest_reply(request.model)
        if request.settings is not None:
            check(request.settings, self._habits, longest)
        return self._encoder.encode(request, (request.settings and request.settings.max_output_tokens) or longest)

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ProviderEvent, None]:
        subject = self._config.subject(request.model)
        body = self.encode(request)  # first of all: what cannot be said needs no connection
        connection = await self._client.connection()
        response = await self._open(request, body, subject)
        reader = ReplyReader(subject)
        try:
            async with aclosing(_read(response, reader, subject)) as batches:
                async for events in batches:
                    for event in events:
                        yield event
        except connection.errors as error:
            if not reader.complete:
                raise connection.failure(error, subject, started=reader.started) from error
        finally:
            await response.aclose()
        for event in reader.finish(response.headers.get("request-id")):
            yield event

    def card(self, model: str) -> ModelCard:
        return self._model_list.card(model)

    async def models(self) -> list[ModelCard]:
        return await self._model_list.models()

    async def embeddings(self) -> list[EmbeddingCard]:
        return []

    async def warm_up(self) -> None:
        """Import the SDK and make the client, which the first request would otherwise wait half a second for."""
        await self._client.connection()

    async def close(self) -> None:
        await self._client.close()

    def _longest_reply(self, model: str) -> int:
        return self.card(model).max_output_tokens or _UNKNOWN_REPLY

    async def _open(self, request: ModelRequest, body: bytes, subject: Subject) -> "httpx2.Response":
        """The reply, begun. Where the longest reply has no room beside the history, it is asked for a shorter one.

        :raises ProviderError: if there is none.
        """
        try:
            return await self._client.post(_MESSAGES, body, subject)
        except ReplyTooLong as error:
            chosen = request.settings is not None and request.settings.max_output_tokens is not None
            if chosen or error.room < _LEAST_REPLY:
                raise
            room = error.room
        return await self._client.post(_MESSAGES, self._encoder.encode(request, room), subject)

    async def _fetch_models(self) -> list[Listed]:
        subject = self._config.subject()
        body = await self._client.get(_MODELS, subject)
        try:
            return [row.listed() for row in _decode_models(body).data]
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ProviderMalformedReply(f"{subject.name} sent no list of models.", detail=str(error)) from error


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


async def _read(
    response: "httpx2.Response", reader: ReplyReader, subject: Subject
) -> AsyncGenerator[list[ProviderEvent], None]:
    """The events of each chunk that holds any.

    :raises ProviderError: if the reply reports a failure or is not the protocol.
    """
    media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type in {"application/json", "text/html"}:
        raise await _not_a_stream(response, reader, subject)
    decoder = EventDecoder()
    # Compression is rare here, and going round the layer that undoes it saves some of the cost of every chunk.
    chunks = response.aiter_bytes() if "content-encoding" in response.headers else response.aiter_raw()
    try:
        async for chunk in chunks:
            for data in decoder.feed(chunk):
                if events := reader.read(data):
                    yield events
            if reader.done:
                await drain(chunks)
                return
    except LineTooLong as error:
        raise ProviderMalformedReply(f"{subject.name} sent a line without an end.") from error
    for data in decoder.finish():
        yield reader.read(data)
    if decoder.stray and not reader.started:
        raise _not_the_protocol(decoder.stray, subject)


async def _not_a_stream(response: "httpx2.Response", reader: ReplyReader, subject: Subject) -> ProviderError:
    """What came in place of a stream: a failure in the guise of a success, or something else altogether."""
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > _MAX_PLAIN_BODY:
            break
    if body.lstrip().startswith(b"{"):
        try:
            reader.read(bytes(body))
        except ProviderError as error:
            return error
    return _not_the_protocol(bytes(body), subject)


def _not_the_protocol(body: bytes, subject: Subject) -> ProviderMalformedReply:
    return ProviderMalformedReply(
        f"What {subject.name} sends from {subject.endpoint} is not a Messages stream: check its base URL.",
        detail=body[:500].decode(errors="replace"),
    )
