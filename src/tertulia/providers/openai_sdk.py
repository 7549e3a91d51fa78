"""The connection to one endpoint through the official SDK, which does authentication, retries and typed errors.

Importing the SDK takes 0.4 s and 19 MB, so this module is imported on first use (``openai_chat``) and by nobody else.
"""

from typing import Any, Final

import httpx2
import openai

from tertulia.domain.errors import ProviderError
from tertulia.providers.chat_errors import Subject, error_of_status, is_quota_used_up
from tertulia.providers.http_failures import PointlessRetries, failure_below, needs_proxy, retry_after
from tertulia.providers.http_transport import AsyncioTransport


class Connection:
    """An SDK client and what it needs to be asked for raw replies. Times are seconds.

    ``errors`` are what a request, or reading its reply, may raise; ``failure`` says what one of them means.
    """

    errors: Final = (openai.OpenAIError, httpx2.HTTPError, httpx2.StreamError)

    def __init__(
        self, base_url: str, api_key: str | None, *, connect_timeout: float, idle_timeout: float, retries: int
    ) -> None:
        timeout = httpx2.Timeout(idle_timeout, connect=connect_timeout, pool=connect_timeout)
        self._client = openai.AsyncOpenAI(
            # The SDK insists on a key; servers that want none ignore it.
            api_key=api_key or "none",
            base_url=base_url,
            max_retries=retries,
            timeout=timeout,
            http_client=openai.DefaultAsyncHttpxClient(
                base_url=base_url,
                timeout=timeout,
                # The SDK's own transport reads the proxies from the environment, and knows what to do with them.
                transport=None if needs_proxy(base_url) else AsyncioTransport(),
                event_hooks={"response": [PointlessRetries(is_quota_used_up)]},
            ),
        )
        if self._client.base_url.host != "api.openai.com":
            # The SDK reads these from the environment; they are no business of anybody else's.
            self._client.organization = None
            self._client.project = None

    async def post(self, path: str, content: bytes) -> httpx2.Response:
        """The reply to a JSON body, still unread. Its ``aclose`` closes the socket unless it was read to its end.

        :raises openai.OpenAIError: if there is none; retries are used up then.
        """
        response = await self._client.post(
            path,
            cast_to=httpx2.Response,
            content=content,
            stream=True,
            stream_cls=openai.AsyncStream[Any],
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
        if isinstance(error, openai.APIStatusError):
            return error_of_status(error.status_code, error.body, subject, retry_after(error.response))
        return failure_below(error, subject, started=started)
