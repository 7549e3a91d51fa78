"""The connection to the ChatGPT backend through OpenAI's SDK; imported on first use, as ``openai_sdk`` is."""

import openai

from tertulia.domain.errors import ProviderError
from tertulia.providers.chatgpt.errors import error_of_status
from tertulia.providers.failures import Subject
from tertulia.providers.http.failures import retry_after
from tertulia.providers.openai import sdk as openai_sdk


class Connection(openai_sdk.Connection):
    def error_of_status(self, error: Exception, subject: Subject) -> ProviderError | None:
        if not isinstance(error, openai.APIStatusError):
            return None
        return error_of_status(error.status_code, error.body, subject, retry_after(error.response))
