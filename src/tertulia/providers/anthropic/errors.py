"""What the failures of the Messages API mean, from status, error type and wording; does no input or output."""

import re
from dataclasses import dataclass
from typing import Any, Final, cast

from tertulia.domain.errors import (
    ContextTooLong,
    ProviderBadRequest,
    ProviderError,
)
from tertulia.providers import failures
from tertulia.providers.failures import Subject

# What a status means where the body does not say; other servers of the dialect leave the type out.
_TYPE_OF_STATUS: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    405: "not_found_error",
    408: "timeout_error",
    409: "conflict_error",
    413: "request_too_large",
    422: "invalid_request_error",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    524: "timeout_error",
    529: "overloaded_error",
}

_TOO_LONG: Final = re.compile(
    r"prompt is too long|exceeds? (?:the )?(?:context|model'?s? (?:context|token))|context (?:length|size|window|limit)"
    r"|too many (?:input )?tokens|exceeded model token limit|input is too long",
    re.IGNORECASE,
)
# The words are: prompt is too long: 209353 tokens > 199999 maximum.
_PROMPT: Final = re.compile(r"(\d[\d,_]*) tokens > (\d[\d,_]*)")
# The words are: input length and `max_tokens` exceed context limit: 178959 + 64000 > 200000, decrease input length …
_WITH_REPLY: Final = re.compile(r"(\d[\d,_]*) \+ (\d[\d,_]*) > (\d[\d,_]*)")
_FILTERED: Final = re.compile(r"content filter|usage polic|content polic|blocked by|high risk", re.IGNORECASE)
_QUOTA: Final = re.compile(
    r"credit balance|spend(?:ing)? limit|usage limits?|insufficient[ _](?:balance|credit|funds|quota)|billing",
    re.IGNORECASE,
)
_NO_SUCH_MODEL: Final = re.compile(r"^model\b|\bmodel\b.*\b(?:not found|does not exist|not available)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Report:
    """A failure as the server worded it. ``status`` is 0 where it came within a stream."""

    status: int
    type: str
    message: str
    retry_after: float | None


class ReplyTooLong(ContextTooLong):
    """The history fits; with the longest reply it was allowed, it does not. ``room`` is what is left, in tokens."""

    def __init__(self, message: str, *, detail: str, tokens: int, context_window: int) -> None:
        super().__init__(message, detail=detail, tokens=tokens, context_window=context_window)
        self.room = context_window - tokens


def error_of_status(status: int, body: object, subject: Subject, retry_after: float | None = None) -> ProviderError:
    """The failure that an HTTP error status with this body stands for. The body is decoded JSON or text."""
    if status in failures.REDIRECTIONS:
        return failures.moved(subject, status)
    fields = _error_fields(body)
    kind = str(fields.get("type") or "")
    if kind in {"", "api_error", "error"} or status in {401, 413}:
        kind = _TYPE_OF_STATUS.get(status, kind or ("invalid_request_error" if status < 500 else "api_error"))  # noqa: PLR2004  HTTP
    return _error_of(_Report(status, kind, _message(fields, body), retry_after), subject)


def error_in_reply(error: object, subject: Subject) -> ProviderError:
    """The failure that an ``error`` event stands for, which came where a reply, or the rest of it, should be."""
    fields = _error_fields(error)
    return _error_of(_Report(0, str(fields.get("type") or "api_error"), _message(fields, error), None), subject)


def _error_fields(body: object) -> dict[str, Any]:
    """The ``error`` object, which may be inside of ``{"type": "error", "error": {…}}`` or stand alone."""
    if not isinstance(body, dict):
        return {}
    fields = cast("dict[str, Any]", body)
    nested = fields.get("error")
    return cast("dict[str, Any]", nested) if isinstance(nested, dict) else fields


def _message(fields: dict[str, Any], body: object) -> str:
    message = fields.get("message") or fields.get("error") or fields.get("detail") or (body if body is not None else "")
    return str(message).strip()[:2000]


def _error_of(report: _Report, subject: Subject) -> ProviderError:
    if report.type in {"invalid_request_error", "request_too_large", "api_error"} and _TOO_LONG.search(report.message):
        return _context_error(report, subject)
    return _error_of_words(report, subject) or _error_of_type(report, subject)


def _error_of_words(report: _Report, subject: Subject) -> ProviderError | None:
    """What the wording says, where it says more than the type."""
    detail = report.message
    if report.type == "billing_error" or (
        report.type in {"invalid_request_error", "rate_limit_error", "permission_error"} and _QUOTA.search(detail)
    ):
        return failures.quota_used_up(subject, detail, report.retry_after)
    if report.type == "invalid_request_error" and _FILTERED.search(detail):
        return failures.filtered(subject, detail)
    if (
        report.type == "not_found_error"
        and subject.model
        and (_NO_SUCH_MODEL.search(detail) or subject.model in detail)
    ):
        return failures.no_such_model(subject, detail)
    return None


def _error_of_type(  # noqa: PLR0911  a table in the shape of a match
    report: _Report, subject: Subject
) -> ProviderError:
    detail = report.message
    match report.type:
        case "authentication_error":
            return failures.wrong_key(subject, detail)
        case "permission_error":
            return failures.not_allowed(subject, detail)
        case "rate_limit_error":
            return failures.rate_limited(subject, detail, report.retry_after)
        case "overloaded_error" | "conflict_error":
            return failures.overloaded(subject, detail, report.retry_after)
        case "timeout_error":
            return failures.timed_out(subject, detail)
        case "not_found_error":
            return ProviderBadRequest(
                f"There is no Messages service at {subject.endpoint}: check the base URL of {subject.name}, which ends "
                "before /v1.",
                detail=detail,
            )
        case "request_too_large":
            return failures.too_large(subject, detail)
        case "invalid_request_error":
            return failures.refused(subject, detail)
        case _:
            return failures.failed(subject, detail, report.status, report.retry_after)


def _context_error(report: _Report, subject: Subject) -> ContextTooLong:
    if found := _WITH_REPLY.search(report.message):
        tokens, reply, window = map(_number, found.groups())
        sentence = (
            f"The request does not fit the context window of '{subject.model}' ({tokens} tokens and a reply of up to "
            f"{reply}, of {window})."
        )
        return ReplyTooLong(sentence, detail=report.message, tokens=tokens, context_window=window)
    found = _PROMPT.search(report.message)
    return failures.context_too_long(subject, report.message, *(map(_number, found.groups()) if found else ()))


def _number(text: str) -> int:
    return int(re.sub(r"[,_]", "", text))
