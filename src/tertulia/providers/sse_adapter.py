"""What the adapters share whose far end is asked by one POST and answers with server-sent events.

Bodies are encoded and streams decoded from bytes to bytes: the ways of official SDKs cost 112 µs a token.
"""

from abc import abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator
from typing import TYPE_CHECKING, ClassVar, Final, Protocol

import msgspec

from tertulia.domain.errors import ProviderError, ProviderMalformedReply
from tertulia.ports.provider import ModelRequest, ProviderEvent
from tertulia.providers.adapter import Adapter, Call
from tertulia.providers.endpoint import EndpointConfig
from tertulia.providers.failures import Subject
from tertulia.providers.http.client import EndpointClient, drain
from tertulia.providers.http.sse import EventDecoder, LineTooLong
from tertulia.providers.model_list import Listed, decode_models

if TYPE_CHECKING:
    import httpx2

_MAX_PLAIN_BODY: Final = 8 * 1024 * 1024


class Reader(Protocol):
    """Reads the events of one reply and keeps what the reply came to; does no input or output."""

    @property
    def started(self) -> bool:
        """Whether anything of the reply came."""
        ...

    @property
    def done(self) -> bool:
        """Whether the protocol's last event came."""
        ...

    @property
    def complete(self) -> bool:
        """Whether nothing is missing, even if the connection breaks now."""
        ...

    def read(self, data: bytes) -> list[ProviderEvent]:
        """What one event of the stream brought, or one reply that did not come as a stream.

        :raises ProviderError: if it reports a failure, or is not of this protocol.
        """
        ...

    def finish(self, request_id: str | None = None) -> list[ProviderEvent]:
        """The last events, when the stream is over.

        :raises ProviderError: if it ended before the reply did.
        """
        ...


class SseAdapter(Adapter):
    """A dialect says the path, the reader and the module of the connection.

    ``connection`` is the module whose ``Connection`` is made on first use. ``protocol`` names the dialect in messages.
    ``request_id_header`` is where replies carry their id, ``models_path`` where the models are listed.
    """

    connection: ClassVar[str]
    protocol: ClassVar[str]
    request_id_header: ClassVar[str] = "x-request-id"
    models_path: str = "/models"

    def __init__(self, config: EndpointConfig) -> None:
        super().__init__(config)
        self._client = EndpointClient(config, self.connection)

    @abstractmethod
    def path(self, model: str) -> str:
        """Where requests for the model go, after the base URL."""

    @abstractmethod
    def reader(self, subject: Subject) -> Reader:
        """What reads one reply."""

    def headers(self, request: ModelRequest) -> dict[str, str]:
        """Headers of this request, beside those of every request that the connection knows."""
        del request
        return {}

    def decode_models(self, body: bytes) -> list[Listed]:
        """The rows of the list of models.

        :raises msgspec.DecodeError: if it is something else.
        """
        return decode_models(body)

    async def attempt(self, call: Call) -> AsyncGenerator[list[ProviderEvent], None]:
        connection = await self._client.connection()
        path, headers = self.path(call.request.model), self.headers(call.request)
        response = await self._client.post(path, call.body, call.subject, call.deadline, headers)
        reader, mend = self.reader(call.subject), call.halves.mend
        try:
            # The loop of a token's way stands here and not in a generator of its own, which would cost each of them.
            if _is_whole(response):
                yield await self._whole(response, reader, call)
            else:
                decoder = EventDecoder()
                chunks = _chunks(response)
                async for chunk in chunks:
                    for data in decoder.feed(chunk):
                        if events := reader.read(mend(data)):
                            yield events
                    if reader.done:
                        await drain(chunks)
                        break
                else:
                    yield self._rest(decoder, reader, call)
        except LineTooLong as error:
            raise ProviderMalformedReply(f"{call.subject.name} sent a line without an end.") from error
        except connection.errors as error:
            if not reader.complete:
                raise connection.failure(error, call.subject, started=reader.started) from error
        finally:
            await response.aclose()
        yield reader.finish(response.headers.get(self.request_id_header))

    async def fetch_models(self) -> list[Listed]:
        subject = self._config.subject()
        body = await self._client.get(self.models_path, subject)
        try:
            return self.decode_models(body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ProviderMalformedReply(f"{subject.name} sent no list of models.", detail=str(error)) from error

    async def warm_up(self) -> None:
        """Import the connection's module and make it."""
        await self._client.connection()

    async def close(self) -> None:
        await self._client.close()

    async def _whole(self, response: "httpx2.Response", reader: Reader, call: Call) -> list[ProviderEvent]:
        """What came in place of a stream: a complete reply, or a failure in the guise of a success.

        :raises ProviderError: if it is neither, or the failure.
        """
        body = bytearray()
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > _MAX_PLAIN_BODY:
                break
        if body.lstrip().startswith(b"{") and len(body) <= _MAX_PLAIN_BODY:
            events = reader.read(call.halves.mend(bytes(body)))
            if reader.complete:
                return events
        raise self._not_the_protocol(bytes(body), call.subject)

    def _rest(self, decoder: EventDecoder, reader: Reader, call: Call) -> list[ProviderEvent]:
        """The events that the end of the stream ends.

        :raises ProviderError: if there was none in all of it.
        """
        events = [event for data in decoder.finish() for event in reader.read(call.halves.mend(data))]
        if decoder.stray and not reader.started:
            raise self._stray_failure(decoder.stray, reader, call.subject)
        return events

    def _stray_failure(self, stray: bytes, reader: Reader, subject: Subject) -> ProviderError:
        """What came in place of events: an error object without the form of one, or something else altogether."""
        if stray.startswith(b"{"):
            try:
                reader.read(stray)
            except ProviderError as error:
                return error
        return self._not_the_protocol(stray, subject)

    def _not_the_protocol(self, body: bytes, subject: Subject) -> ProviderMalformedReply:
        return ProviderMalformedReply(
            f"What {subject.name} sends from {subject.endpoint} is not a {self.protocol} stream: check its base URL.",
            detail=body[:500].decode(errors="replace"),
        )


def _chunks(response: "httpx2.Response") -> AsyncIterator[bytes]:
    # Compression is rare here, and going round the layer that undoes it saves some of the cost of every chunk.
    return response.aiter_bytes() if "content-encoding" in response.headers else response.aiter_raw()


def _is_whole(response: "httpx2.Response") -> bool:
    media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    return media_type in {"application/json", "text/html"}
