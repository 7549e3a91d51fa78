"""The connection to one endpoint of the Messages API through the official SDK, which does keys and typed errors.

Importing the SDK takes half a second, so this module is imported on first use and by nobody else.
"""

from typing import Any, Final

import anthropic

from tertulia.domain.errors import ProviderError
from tertulia.providers.anthropic.errors import error_of_status
from tertulia.providers.endpoint import EndpointConfig
from tertulia.providers.failures import Subject
from tertulia.providers.http.failures import retry_after
from tertulia.providers.http.sdk_connection import SdkConnection, http_options, timeouts

_API_VERSION: Final = "2023-06-01"
"""Older than the SDK's own: the newer one refuses ``temperature``, and other servers of the dialect know this one."""


class Connection(SdkConnection):
    errors = (anthropic.AnthropicError, *SdkConnection.errors)

    def __init__(self, config: EndpointConfig) -> None:
        # The SDK insists on a key, or looks for one in the environment; servers that want none ignore it.
        key = config.api_key or "none"
        # The SDK sends the key as a bearer token, where some servers of the dialect read this header alone.
        headers = {"x-api-key": key, "anthropic-version": _API_VERSION, **config.headers}
        client = anthropic.AsyncAnthropic(
            api_key=key,
            base_url=config.base_url,
            max_retries=0,
            timeout=timeouts(config),
            default_headers=headers,
            open_telemetry=False,
            http_client=anthropic.DefaultAsyncHttpxClient(**http_options(config)),
        )
        if client.base_url.host != "api.anthropic.com":
            # The SDK adds those of ANTHROPIC_CUSTOM_HEADERS; they are no business of anybody else's.
            client._custom_headers = headers  # noqa: SLF001  there is no other way to take them out
        super().__init__(client, anthropic.AsyncStream[Any])

    def error_of_status(self, error: Exception, subject: Subject) -> ProviderError | None:
        if not isinstance(error, anthropic.APIStatusError):
            return None
        return error_of_status(error.status_code, error.body, subject, retry_after(error.response))
