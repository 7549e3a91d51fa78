"""The connection to one endpoint of OpenAI's dialects: its key, and what its errors mean.

It imports the HTTP client, so it is imported on first use and by nobody else.
"""

from collections.abc import Mapping
from typing import Any, Final, cast
from urllib.parse import urlsplit

from tertulia.domain.errors import ProviderError
from tertulia.providers.endpoint import EndpointConfig
from tertulia.providers.failures import Subject
from tertulia.providers.http.connection import NO_KEY, HttpConnection, StatusError
from tertulia.providers.openai.errors import error_of_status

_HOST: Final = "api.openai.com"
_CHARGED: Final = (("organization", "OpenAI-Organization"), ("project", "OpenAI-Project"))


class Connection(HttpConnection):
    def __init__(self, config: EndpointConfig) -> None:
        super().__init__(config, _headers(config))

    def meaning(self, error: StatusError, subject: Subject) -> ProviderError:
        return error_of_status(error.status, error_in(error.body), subject, error.retry_after)


def error_in(body: object) -> object:
    """What of an error's body is about the error."""
    return cast("dict[str, Any]", body).get("error", cast("object", body)) if isinstance(body, dict) else body


def _headers(config: EndpointConfig) -> Mapping[str, str]:
    if config.type.dialect == "azure" and config.api_key is not None:
        return {"api-key": config.api_key}  # Azure takes tokens alone in the usual one
    headers = {"Authorization": f"Bearer {config.api_key or NO_KEY}"}
    if urlsplit(config.base_url).hostname == _HOST:  # they must not reach anybody else
        headers |= {header: config.options[option] for option, header in _CHARGED if option in config.options}
    return headers
