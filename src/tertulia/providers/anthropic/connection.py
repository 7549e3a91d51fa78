"""The connection to one endpoint of the Messages API: its key, and what its errors mean.

It imports the HTTP client, so it is imported on first use and by nobody else.
"""

from typing import Final

from tertulia.domain.errors import ProviderError
from tertulia.providers.anthropic.errors import error_of_status
from tertulia.providers.endpoint import EndpointConfig
from tertulia.providers.failures import Subject
from tertulia.providers.http.connection import NO_KEY, HttpConnection, StatusError

_API_VERSION: Final = "2023-06-01"
"""Newer ones refuse ``temperature``, and other servers of the dialect know this one."""


class Connection(HttpConnection):
    def __init__(self, config: EndpointConfig) -> None:
        key = config.api_key or NO_KEY
        # Anthropic's own server reads either; others of the dialect read one of them alone.
        sent = {"x-api-key": key, "Authorization": f"Bearer {key}", "anthropic-version": _API_VERSION}
        super().__init__(config, sent)

    def meaning(self, error: StatusError, subject: Subject) -> ProviderError:
        return error_of_status(error.status, error.body, subject, error.retry_after)
