"""The connection to one endpoint over HTTP: requests of JSON, and replies that are read as they come.

It imports the HTTP client, so only the modules that are loaded on first use import it.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Final

import httpx2

from tertulia import __version__
from tertulia.domain.errors import ProviderError
from tertulia.providers.endpoint import EndpointConfig
from tertulia.providers.failures import Subject
from tertulia.providers.http.failures import failure_below, needs_proxy, retry_after
from tertulia.providers.http.transport import AsyncioTransport

NO_KEY: Final = "none"
"""What is sent where no key is configured: servers that want none ignore it."""
_MOST_ERROR_BYTES: Final = 256 * 1024
_MAX_CONNECTIONS: Final = 10_000
"""Through a proxy. Each reply holds one while it streams."""


class StatusError(Exception):
    """A reply whose status is none of success. ``body`` is what it said: decoded JSON, or text."""

    def __init__(self, status: int, body: object, retry_after: float | None) -> None:
        super().__init__(f"status {status}")
        self.status = status
        self.body = body
        self.retry_after = retry_after


class HttpConnection(ABC):
    """A dialect says its headers, and what its errors mean. Tries are its user's to repeat.

    ``errors`` are what a request, or reading its reply, may raise; ``failure`` says what one of them means.
    """

    errors: ClassVar[tuple[type[Exception], ...]] = (
        StatusError,
        httpx2.HTTPError,
        httpx2.StreamError,
        httpx2.InvalidURL,
        UnicodeError,  # of a header
    )

    def __init__(self, config: EndpointConfig, headers: Mapping[str, str]) -> None:
        """``headers`` go with every request; those of the configuration take their place."""
        own = {
            "accept": "application/json",
            "content-type": "application/json",
            "user-agent": f"Tertulia/{__version__}",
        }
        sent = httpx2.Headers(own)
        for more in (headers, config.headers):
            sent.update(more)
        self._client = httpx2.AsyncClient(headers=sent, **http_options(config))
        self._token = config.token

    @abstractmethod
    def meaning(self, error: StatusError, subject: Subject) -> ProviderError:
        """What a status that is none of success means."""

    async def post(self, path: str, content: bytes, headers: Mapping[str, str]) -> httpx2.Response:
        """The reply to a JSON body, still unread. Its ``aclose`` closes the socket unless it was read to its end."""
        sent = {"accept": "text/event-stream", **headers, **await self._bearer()}
        request = self._client.build_request("POST", path, content=content, headers=sent)
        response = await self._client.send(request, stream=True)
        if not response.is_success:
            raise await _status_error(response)
        return response

    async def get(self, path: str, timeout: float) -> bytes:  # noqa: ASYNC109  the client's own, per request
        """The body of a reply to GET."""
        request = self._client.build_request("GET", path, headers=await self._bearer(), timeout=timeout)
        response = await self._client.send(request, stream=True)
        if not response.is_success:
            raise await _status_error(response)
        try:
            return await response.aread()
        finally:
            await response.aclose()

    async def close(self) -> None:
        await self._client.aclose()

    def failure(self, error: Exception, subject: Subject, *, started: bool = False) -> ProviderError:
        """What one of ``errors`` means. ``started``: part of the reply had already come."""
        if isinstance(error, StatusError):
            return self.meaning(error, subject)
        return failure_below(error, subject, started=started)

    async def _bearer(self) -> dict[str, str]:
        """The token of the moment, where tokens run out."""
        return {} if self._token is None else {"authorization": f"Bearer {await self._token()}"}


async def _status_error(response: httpx2.Response) -> StatusError:
    """The error of an unread reply, which is read and closed; of a very long one, the beginning."""
    said = bytearray()
    try:
        async for chunk in response.aiter_bytes():
            said += chunk
            if len(said) > _MOST_ERROR_BYTES:
                break
    finally:
        await response.aclose()
    text = said[:_MOST_ERROR_BYTES].decode(errors="replace").strip()
    try:
        body: object = json.loads(text)
    except (ValueError, RecursionError):
        body = text
    return StatusError(response.status_code, body, retry_after(response))


def timeouts(config: EndpointConfig) -> httpx2.Timeout:
    return httpx2.Timeout(config.idle_timeout, connect=config.connect_timeout, pool=config.connect_timeout)


def http_options(config: EndpointConfig) -> dict[str, Any]:
    """The arguments for an HTTP client."""
    return {
        "base_url": config.base_url,
        "timeout": timeouts(config),
        # Another host would get the prompt, and the key in any header but the one that is usual for it.
        "follow_redirects": False,
        # The client's own transport reads the proxies from the environment, and knows what to do with them.
        "transport": None if needs_proxy(config.base_url) else AsyncioTransport(),
        "limits": httpx2.Limits(max_connections=_MAX_CONNECTIONS, max_keepalive_connections=100),
    }
