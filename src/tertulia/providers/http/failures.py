"""What goes wrong below a reply; knows no dialect.

It imports the HTTP client, so only the modules that are loaded on first use import it.
"""

import time
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import TypeAlias
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx2

from tertulia.domain.errors import (
    ProviderConnectionLost,
    ProviderError,
    ProviderMalformedReply,
    ProviderUnreachable,
)
from tertulia.providers import failures
from tertulia.providers.failures import Subject

_Unreachable: TypeAlias = (
    httpx2.ConnectTimeout | httpx2.ConnectError | httpx2.UnsupportedProtocol | httpx2.ProxyError | httpx2.InvalidURL
)


def needs_proxy(base_url: str) -> bool:
    """Whether the environment names a proxy for the address."""
    parts = urlsplit(base_url)
    return bool({parts.scheme, "all"} & set(getproxies())) and not proxy_bypass(parts.hostname or "")


def retry_after(response: httpx2.Response) -> float | None:
    """Seconds, from the header in any of its forms: milliseconds, seconds, or a date."""
    for name, divisor in (("retry-after-ms", 1000), ("retry-after", 1)):
        text = response.headers.get(name, "")
        try:
            seconds = float(text) / divisor
        except ValueError:
            continue
        return max(0.0, seconds) if isfinite(seconds) else None
    try:
        then = parsedate_to_datetime(response.headers.get("retry-after", ""))
    except ValueError:
        return None
    return max(0.0, then.timestamp() - time.time())


def failure_below(error: Exception, subject: Subject, *, started: bool) -> ProviderError:
    """What an error of the connection means, with or without an SDK's own around it.

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
        return failures.timed_out(subject, detail, started=started)
    if isinstance(cause, httpx2.NetworkError | httpx2.RemoteProtocolError):
        when = "in the middle of the reply" if started else "before a reply came"
        return ProviderConnectionLost(f"The connection to {subject.name} broke {when}. Try again.", detail=detail)
    if isinstance(cause, httpx2.DecodingError | httpx2.TooManyRedirects):
        return ProviderMalformedReply(f"{subject.name} sent a reply that cannot be read.", detail=detail)
    return ProviderError(f"The request to {subject.name} failed.", detail=detail)
