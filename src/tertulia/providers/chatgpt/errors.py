"""What the failures of the ChatGPT backend mean that OpenAI's API does not have; does no input or output."""

import re
from typing import Any, Final, cast

from tertulia.domain.errors import (
    ProviderAuthenticationError,
    ProviderError,
    ProviderModelNotFound,
)
from tertulia.providers.failures import Subject
from tertulia.providers.openai import errors as chat_errors
from tertulia.providers.openai.responses_errors import error_of_plan

_NO_SUCH_MODEL: Final = re.compile(r"model is not supported|requires a newer version", re.IGNORECASE)


def error_of_status(status: int, body: Any, subject: Subject, retry_after: float | None = None) -> ProviderError:
    """The failure that an HTTP error status with this body stands for. The body is decoded JSON or text."""
    fields = _fields(body)
    detail = str(fields.get("message") or fields.get("detail") or fields)[:2000]
    if (limited := error_of_plan(fields, subject)) is not None:
        return limited
    if _NO_SUCH_MODEL.search(detail):
        return ProviderModelNotFound(
            f"The ChatGPT account behind '{subject.name}' has no model '{subject.model}': {detail}", detail=detail
        )
    if status == 401:  # noqa: PLR2004  HTTP
        return ProviderAuthenticationError(
            f"ChatGPT did not accept the sign-in behind '{subject.name}'. Sign in again: tertulia login chatgpt.",
            detail=detail,
        )
    return chat_errors.error_of_status(status, body, subject, retry_after)


def _fields(body: Any) -> dict[str, Any]:
    """The error itself, with or without the object around it."""
    if not isinstance(body, dict):
        return {"message": body}
    fields = cast("dict[str, Any]", body)
    nested = fields.get("error")
    return cast("dict[str, Any]", nested) if isinstance(nested, dict) else fields
