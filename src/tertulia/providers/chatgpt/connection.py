"""The connection to the ChatGPT backend, which is OpenAI's; imported on first use, as that is."""

from tertulia.domain.errors import ProviderError
from tertulia.providers.chatgpt.errors import error_of_status
from tertulia.providers.failures import Subject
from tertulia.providers.http.connection import StatusError
from tertulia.providers.openai import connection as openai_connection


class Connection(openai_connection.Connection):
    def meaning(self, error: StatusError, subject: Subject) -> ProviderError:
        return error_of_status(error.status, openai_connection.error_in(error.body), subject, error.retry_after)
