"""The connection to one endpoint of the Messages API through the official SDK: keys, retries and typed errors.

Importing the SDK takes half a second, so this module is imported on first use (``anthropic_messages``) and by nobody
else.
"""

from typing import Any, Final

import anthropic
import httpx2

from tertulia.domain.errors import ProviderError
from tertulia.providers.anthropic_errors import error_of_status, is_quota_used_up
from tertulia.providers.chat_errors import Subject
from tertulia.providers.http_failures import PointlessRetries, failure_below, needs_proxy, retry_after
from tertulia.providers.http_transport import AsyncioTransport

_API_VERSION: Final = "2023-06-01"
"""Older than the SDK's own: the newer one refuses ``temperature``, and other servers of the dialect know this one."""


class Connection:
    """An SDK client and what it needs to be asked for raw replies. Times are seconds.

    ``errors`` are what a request, or reading its reply, may raise; ``failure`` says what one of them means.
    """

    errors: Final = (anthropic.AnthropicError, httpx2.HTTPError, httpx2.StreamError)

    def __init__(
        self, base_url: str, api_key: str | None, *, connect_timeout: float, idle_timeout: float, retries: int
    ) -> None:
        timeout = httpx2.Timeout(idle_timeout, connect=connect_timeout, pool=connect_timeout)
        # The SDK insists on a key, or looks for one in the environment; servers that want none ignore it.
        key = api_key or "none"
        # The SDK sends the key as a bearer token, where some servers of the dialect read this header alone.
        headers = {"x-api-key": key, "anthropic-version": _API_VERSION}
        self._client = anthropic.AsyncAnthropic(
            api_key=key,
            base_url=base_url,
            max_retries=retries,
            timeout=timeout,
            default_headers=headers,
            open_telemetry=False,
            http_client=anthropic.DefaultAsyncHttpxClient(
                base_url=base_url,
                timeout=timeout,
                # The SDK's own transport reads the proxies from the environment, and knows what to do with them.
                transport=None if needs_proxy(base_url) else AsyncioTransport(),
                event_hooks={"response": [PointlessRetries(is_quota_used_up)]},
            ),
        )
        if self._client.base_url.host != "api.anthropic.com":
            # The SDK adds those of ANTHROPIC_CUSTOM_HEADERS; they are no business of anybody else's.
            self._client._custom_headers = headers  # noqa: SLF001  there is no other way to take them out

    async def post(self, path: str, content: bytes) -> httpx2.Response:
        """The reply to a JSON body, still unread. Its ``aclose`` closes the socket unless it was read to its end.

        :raises anthropic.AnthropicError: if there is none; retries are used up then.
        """
        response = await self._client.post(
            path,
            cast_to=httpx2.Response,
            content=content,
            stream=True,
            stream_cls=anthropic.AsyncStream[Any],
            options={"headers": {"Accept": "text/event-stream"}},
        )
        assert isinstance(response, httpx2.Response)  # noqa: S101  the SDK's types promise a stream; cast_to decides
        return response

    async def get(self, path: str, timeout: float) -> bytes:  # noqa: ASYNC109  the SDK's own, per request
        """The body of a reply to GET, tried once."""
        response = await self._client.get(path, cast_to=httpx2.Response, options={"timeout": timeout, "max_retries": 0})
        return response.content

    async def close(self) -> None:
        await self._client.close()

    @staticmethod
    def failure(error: Exception, subject: Subject, *, started: bool = False) -> ProviderError:
        """What one of ``errors`` means. ``started``: part of the reply had already come."""
        if isinstance(error, anthropic.APIStatusError):
            return error_of_status(error.status_code, error.body, subject, retry_after(error.response))
        return failure_below(error, subject, started=started)
