"""What goes wrong below the official SDKs, and when they had better not try again; knows no dialect.

It imports the HTTP client, so only the modules that import an SDK import it.
"""

from collections.abc import Callable
from typing import Final, TypeAlias
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx2

from tertulia.domain.errors import (
    ProviderConnectionLost,
    ProviderError,
    ProviderMalformedReply,
    ProviderTimeout,
    ProviderUnreachable,
)
from tertulia.providers.chat_errors import Subject

_MAX_RETRY_AFTER: Final = 5.0  # seconds; a server that asks for a longer pause is better reported than waited for
_TOO_MANY_REQUESTS: Final = 429

_Unreachable: TypeAlias = (
    httpx2.ConnectTimeout | httpx2.ConnectError | httpx2.UnsupportedProtocol | httpx2.ProxyError | httpx2.InvalidURL
)


def needs_proxy(base_url: str) -> bool:
    """Whether the environment names a proxy for the address."""
    parts = urlsplit(base_url)
    return bool({parts.scheme, "all"} & set(getproxies())) and not proxy_bypass(parts.hostname or "")


def retry_after(response: httpx2.Response) -> float | None:
    """Seconds, from the header in either of its forms."""
    for name, divisor in (("retry-after-ms", 1000), ("retry-after", 1)):
        try:
            return max(0.0, float(response.headers[name]) / divisor)
        except (KeyError, ValueError):
            continue
    return None


class PointlessRetries:
    """A response hook that tells an SDK not to wait for what will not come in time. The SDKs obey its header.

    ``is_quota_used_up`` says of the body of a 429 whether waiting will not help.
    """

    def __init__(self, is_quota_used_up: Callable[[bytes], bool]) -> None:
        self._is_quota_used_up = is_quota_used_up

    async def __call__(self, response: httpx2.Response) -> None:
        if response.is_success:
            return
        wait = retry_after(response)
        waits_too_long = wait is not None and wait > _MAX_RETRY_AFTER
        limited = response.status_code == _TOO_MANY_REQUESTS
        if waits_too_long or (limited and self._is_quota_used_up(await response.aread())):
            response.headers["x-should-retry"] = "false"


def failure_below(error: Exception, subject: Subject, *, started: bool) -> ProviderError:
    """What an error of the connection means, with or without the SDK's own around it.

    ``started``: part of the reply had already come.
    """
    cause = error if isinstance(error, httpx2.HTTPError | httpx2.StreamError) else error.__cause__ or error
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
