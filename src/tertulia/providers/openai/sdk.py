"""The connection to one endpoint through OpenAI's SDK, which does authentication and typed errors.

Importing the SDK takes 0.4 s and 19 MB, so this module is imported on first use and by nobody else.
"""

from typing import Any

import openai

from tertulia.domain.errors import ProviderError
from tertulia.providers.endpoint import EndpointConfig
from tertulia.providers.failures import Subject
from tertulia.providers.http.failures import retry_after
from tertulia.providers.http.sdk_connection import SdkConnection, http_options, timeouts
from tertulia.providers.openai.errors import error_of_status


class Connection(SdkConnection):
    errors = (openai.OpenAIError, *SdkConnection.errors)

    def __init__(self, config: EndpointConfig) -> None:
        client = openai.AsyncOpenAI(
            # The SDK insists on a key; servers that want none ignore it.
            api_key=config.token or config.api_key or "none",
            base_url=config.base_url,
            max_retries=0,
            timeout=timeouts(config),
            default_headers=dict(config.headers),
            http_client=openai.DefaultAsyncHttpxClient(**http_options(config)),
        )
        if client.base_url.host != "api.openai.com":
            # The SDK reads these from the environment; they are no business of anybody else's.
            client.organization = None
            client.project = None
        super().__init__(client, openai.AsyncStream[Any], _key_header(config))

    def error_of_status(self, error: Exception, subject: Subject) -> ProviderError | None:
        if not isinstance(error, openai.APIStatusError):
            return None
        return error_of_status(error.status_code, error.body, subject, retry_after(error.response))


def _key_header(config: EndpointConfig) -> dict[str, Any]:
    """Azure has a header of its own for keys, beside that for tokens."""
    if config.type.dialect != "azure" or config.api_key is None:
        return {}
    return {"api-key": config.api_key, "Authorization": openai.Omit()}
