"""The connection to one endpoint through an official SDK of the family that ``openai`` and ``anthropic`` are of.

It imports the HTTP client, so only the modules that import an SDK import it. Tries are ours to repeat, not the SDK's.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Protocol, cast

import httpx2

from tertulia.domain.errors import ProviderError
from tertulia.providers.endpoint import EndpointConfig
from tertulia.providers.failures import Subject
from tertulia.providers.http.failures import failure_below, needs_proxy
from tertulia.providers.http.transport import AsyncioTransport


class SdkApi(Protocol):
    """What is used of an SDK's client."""

    async def post(self, path: str, **options: Any) -> Any: ...
    async def get(self, path: str, **options: Any) -> Any: ...
    async def close(self) -> None: ...


class SdkConnection(ABC):
    """An SDK client that is asked for raw replies. ``stream_type`` is the SDK's, which it insists on being told.

    ``headers`` take the place of the client's own; those that are the SDK's ``Omit`` are left out.

    ``errors`` are what a request, or reading its reply, may raise; ``failure`` says what one of them means.
    """

    errors: tuple[type[Exception], ...] = (httpx2.HTTPError, httpx2.StreamError)

    def __init__(self, client: object, stream_type: Any, headers: Mapping[str, Any] | None = None) -> None:
        # The SDKs' own signatures promise what `cast_to` decides.
        self._client = cast("SdkApi", client)
        self._stream_type = stream_type
        self._headers = headers or {}

    @abstractmethod
    def error_of_status(self, error: Exception, subject: Subject) -> ProviderError | None:
        """What the error means if it is the SDK's for a status that is none of success."""

    async def post(self, path: str, content: bytes, headers: Mapping[str, str]) -> httpx2.Response:
        """The reply to a JSON body, still unread. Its ``aclose`` closes the socket unless it was read to its end."""
        response: httpx2.Response = await self._client.post(
            path,
            cast_to=httpx2.Response,
            content=content,
            stream=True,
            stream_cls=self._stream_type,
            options={"headers": {"Accept": "text/event-stream", **self._headers, **headers}},
        )
        return response

    async def get(self, path: str, timeout: float) -> bytes:  # noqa: ASYNC109  the SDK's own, per request
        """The body of a reply to GET."""
        options = {"timeout": timeout, "headers": self._headers}
        response: httpx2.Response = await self._client.get(path, cast_to=httpx2.Response, options=options)
        return response.content

    async def close(self) -> None:
        await self._client.close()

    def failure(self, error: Exception, subject: Subject, *, started: bool = False) -> ProviderError:
        """What one of ``errors`` means. ``started``: part of the reply had already come."""
        return self.error_of_status(error, subject) or failure_below(error, subject, started=started)


def timeouts(config: EndpointConfig) -> httpx2.Timeout:
    return httpx2.Timeout(config.idle_timeout, connect=config.connect_timeout, pool=config.connect_timeout)


def http_options(config: EndpointConfig) -> dict[str, Any]:
    """The arguments for the SDK's own make of HTTP client."""
    return {
        "base_url": config.base_url,
        "timeout": timeouts(config),
        # Another host would get the prompt, and the key in any header but the one that is usual for it.
        "follow_redirects": False,
        # The SDK's own transport reads the proxies from the environment, and knows what to do with them.
        "transport": None if needs_proxy(config.base_url) else AsyncioTransport(),
    }
