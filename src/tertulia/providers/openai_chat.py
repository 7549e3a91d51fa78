"""The OpenAI Chat Completions dialect on the Provider port: OpenAI itself and everything that speaks like it.

The SDK opens the connection; the body is encoded and the stream decoded here, from bytes to bytes, because the SDK's
own way costs 112 µs a token.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import msgspec

from tertulia.domain.errors import ProviderBadRequest, ProviderError, ProviderMalformedReply
from tertulia.domain.models import EmbeddingCard, ModelCard, ModelSettings
from tertulia.ports.provider import ModelRequest, ProviderEvent
from tertulia.providers.chat_encoding import ChatEncoder
from tertulia.providers.chat_errors import Subject
from tertulia.providers.chat_stream import ReplyReader
from tertulia.providers.endpoint import EndpointConfig
from tertulia.providers.model_list import Listed, ModelList, decode_models
from tertulia.providers.quirks import quirks_of
from tertulia.providers.sdk_client import SdkClient, drain
from tertulia.providers.sse import EventDecoder, LineTooLong

if TYPE_CHECKING:
    import httpx2

_PATH: Final = "/chat/completions"
_MAX_PLAIN_BODY: Final = 8 * 1024 * 1024


class OpenAIChatProvider:
    """One endpoint on the Provider port."""

    def __init__(self, config: EndpointConfig) -> None:
        self._config = config
        self._encoder = ChatEncoder(config.name, quirks_of(config.base_url))
        self._model_list = ModelList(config, self._fetch_models)
        self._client = SdkClient(config, "tertulia.providers.openai_sdk")
        self._asks_for_usage = True

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
        self._encoder.encode(ModelRequest(model=model, system="", messages=(), settings=settings))

    def encode(self, request: ModelRequest) -> bytes:
        return self._encoder.encode(request, stream_usage=self._asks_for_usage)

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
        for event in reader.finish(response.headers.get("x-request-id")):
            yield event

    def card(self, model: str) -> ModelCard:
        return replace(self._model_list.card(model), gives_logprobs=True)

    async def models(self) -> list[ModelCard]:
        return [replace(card, gives_logprobs=True) for card in await self._model_list.models()]

    async def embeddings(self) -> list[EmbeddingCard]:
        return await self._model_list.embeddings()

    async def warm_up(self) -> None:
        """Import the SDK and make the client, which the first request would otherwise wait half a second for."""
        await self._client.connection()

    async def close(self) -> None:
        await self._client.close()

    async def _open(self, request: ModelRequest, body: bytes, subject: Subject) -> "httpx2.Response":
        """The reply, begun. A server that does not know ``stream_options`` is asked again without, and from then on.

        :raises ProviderError: if there is none.
        """
        try:
            return await self._client.post(_PATH, body, subject)
        except ProviderBadRequest as error:
            if not self._asks_for_usage or "stream_options" not in error.detail:
                raise
        self._asks_for_usage = False
        return await self._client.post(_PATH, self.encode(request), subject)

    async def _fetch_models(self) -> list[Listed]:
        subject = self._config.subject()
        body = await self._client.get("/models", subject)
        try:
            return decode_models(body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ProviderMalformedReply(f"{subject.name} sent no list of models.", detail=str(error)) from error


async def _read(
    response: "httpx2.Response", reader: ReplyReader, subject: Subject
) -> AsyncGenerator[list[ProviderEvent], None]:
    """The events of each chunk that holds any.

    :raises ProviderError: if the reply reports a failure or is not the protocol.
    """
    media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type in {"application/json", "text/html"}:
        body = await _plain_body(response, media_type, subject)
        events = reader.read(body)
        if not reader.complete:
            raise _not_the_protocol(body, subject)
        yield events
        return
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
        raise _stray_failure(decoder.stray, reader, subject)


async def _plain_body(response: "httpx2.Response", media_type: str, subject: Subject) -> bytes:
    """The whole reply of a server that does not stream: a complete answer, or a failure in the guise of a success.

    :raises ProviderMalformedReply: if it cannot be JSON.
    """
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > _MAX_PLAIN_BODY:
            break
    if media_type == "text/html" or not body.lstrip().startswith(b"{") or len(body) > _MAX_PLAIN_BODY:
        raise _not_the_protocol(bytes(body), subject)
    return bytes(body)


def _stray_failure(stray: bytes, reader: ReplyReader, subject: Subject) -> ProviderError:
    """What came in place of events: an error object without the form of one, or something else altogether."""
    if stray.startswith(b"{"):
        try:
            reader.read(stray)
        except ProviderError as error:
            return error
    return _not_the_protocol(stray, subject)


def _not_the_protocol(body: bytes, subject: Subject) -> ProviderMalformedReply:
    return ProviderMalformedReply(
        f"What {subject.name} sends from {subject.endpoint} is not a Chat Completions stream: check its base URL.",
        detail=body[:500].decode(errors="replace"),
    )
