"""The connection to one endpoint through the official SDK, which does authentication, retries and typed errors.

Importing the SDK takes 0.4 s and 19 MB, so this module is imported on first use (``openai_chat``) and by nobody else.
"""

from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx2
import openai

from tertulia.domain.errors import (
    ProviderConnectionLost,
    ProviderError,
    ProviderMalformedReply,
    ProviderTimeout,
    ProviderUnreachable,
)
from tertulia.providers.chat_errors import Subject, error_of_status, is_quota_used_up
from tertulia.providers.http_transport import AsyncioTransport

_MAX_RETRY_AFTER: Final = 5.0  # seconds; a server that asks for a longer pause is better reported than waited for
_TOO_MANY_REQUESTS: Final = 429

_Unreachable: TypeAlias = (
    httpx2.ConnectTimeout | httpx2.ConnectError | httpx2.UnsupportedProtocol | httpx2.ProxyError | httpx2.InvalidURL
)


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
                transport=None if _needs_proxy(base_url) else AsyncioTransport(),
                event_hooks={"response": [_refuse_pointless_retries]},
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
            return error_of_status(error.status_code, error.body, subject, _retry_after(error.response))
        cause = error.__cause__ if isinstance(error, openai.APIConnectionError) and error.__cause__ else error
        detail = f"{type(cause).__name__}: {cause}".removesuffix(": ")
        if isinstance(cause, _Unreachable):
            return ProviderUnreachable(
                f"{subject.name} cannot be reached at {subject.endpoint}. Check that it runs and that the address is "
                "right.",
                detail=detail,
            )
        if isinstance(cause, httpx2.TimeoutException):
            what = "stopped in the middle of its reply" if started else "did not answer"
            return ProviderTimeout(f"{subject.name} {what} within the time limit. Try again.", detail=detail)
        if isinstance(cause, httpx2.NetworkError | httpx2.RemoteProtocolError):
            when = "in the middle of the reply" if started else "before a reply came"
            return ProviderConnectionLost(f"The connection to {subject.name} broke {when}. Try again.", detail=detail)
        if isinstance(cause, httpx2.DecodingError | httpx2.TooManyRedirects):
            return ProviderMalformedReply(f"{subject.name} sent a reply that cannot be read.", detail=detail)
        return ProviderError(f"The request to {subject.name} failed.", detail=detail)


def _needs_proxy(base_url: str) -> bool:
    parts = urlsplit(base_url)
    return bool({parts.scheme, "all"} & set(getproxies())) and not proxy_bypass(parts.hostname or "")


async def _refuse_pointless_retries(response: httpx2.Response) -> None:
    """Response hook: tell the SDK not to wait for what will not come in time. It obeys this header."""
    if response.is_success:
        return
    wait = _retry_after(response)
    waits_too_long = wait is not None and wait > _MAX_RETRY_AFTER
    limited = response.status_code == _TOO_MANY_REQUESTS
    if waits_too_long or (limited and is_quota_used_up(await response.aread())):
        response.headers["x-should-retry"] = "false"


def _retry_after(response: httpx2.Response) -> float | None:
    """Seconds, from the header in either of its forms."""
    for name, divisor in (("retry-after-ms", 1000), ("retry-after", 1)):
        try:
            return max(0.0, float(response.headers[name]) / divisor)
        except (KeyError, ValueError):
            continue
    return None
