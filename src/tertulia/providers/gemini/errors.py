"""What the failures of Google's model APIs mean, from status, details and wording; does no input or output."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, cast

from tertulia.domain.errors import (
    ContextTooLong,
    ProviderBadRequest,
    ProviderError,
    ProviderPermissionError,
)
from tertulia.providers import failures
from tertulia.providers.failures import Subject

# What an HTTP status means where the body does not say.
_OF_STATUS: Final = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    408: "DEADLINE_EXCEEDED",
    409: "ABORTED",
    413: "TOO_LARGE",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
    529: "UNAVAILABLE",
}

_BAD_KEY: Final = re.compile(
    r"API key (?:not valid|not found|expired)|API_KEY_INVALID|invalid API key|reported as leaked|ACCESS_TOKEN_\w+"
    r"|CREDENTIALS_MISSING|unregistered callers",
    re.IGNORECASE,
)
# The words are: The input token count (1200293) exceeds the maximum number of tokens allowed (1048576).
# Or: The input token count is 1300000 but model only supports up to 1048576.
_TOO_LONG: Final = re.compile(
    r"input token count|exceeds the maximum number of tokens|payload size exceeds|request (?:is )?too large"
    r"|(?:input|prompt|context) (?:is )?too long",
    re.IGNORECASE,
)
_COUNTS: Final = re.compile(r"token count (?:is )?\(?(\d+)\)?.*?(\d{3,})", re.IGNORECASE | re.DOTALL)
_NO_CREDIT: Final = re.compile(
    r"BILLING_DISABLED|billing (?:account|to be enabled)|requires billing|credits? (?:are|is) depleted"
    r"|(?:insufficient|prepaid|prepayment) credit",
    re.IGNORECASE,
)
_OF_A_DAY: Final = re.compile(r"per_?day|daily", re.IGNORECASE)
_NONE_AT_ALL: Final = re.compile(r"\blimit: 0\b")
_WRONG_PLACE: Final = re.compile(r"location is not supported", re.IGNORECASE)
_NO_SUCH_MODEL: Final = re.compile(r"\bmodels?\b", re.IGNORECASE)
# The words are: Please retry in 20.04466179s.
_RETRY_IN: Final = re.compile(r"retry in ([\d.]+)(ms|s)\b")


@dataclass(frozen=True, slots=True)
class _Report:
    """A failure as Google worded it. ``code`` is the HTTP status, 0 where nobody tells; ``words`` hold the details."""

    code: int
    status: str
    message: str
    words: str
    retry_after: float | None
    of_a_day: bool


def error_of_status(status: int, body: object, subject: Subject, retry_after: float | None = None) -> ProviderError:
    """The failure that an HTTP error status with this body stands for. The body is decoded JSON or text."""
    return _error_of(_report(status, body, retry_after), subject)


def error_in_reply(error: object, subject: Subject) -> ProviderError:
    """The failure that an ``error`` object stands for that came where a reply, or the rest of it, should be."""
    return _error_of(_report(0, error, None), subject)


def _report(code: int, body: object, retry_after: float | None) -> _Report:
    """Finds the error in the shapes it comes in: ``{"error": {…}}``, a list of one, bare, or plain text."""
    if isinstance(body, list) and body:
        body = cast("list[object]", body)[0]
    fields = cast("dict[str, Any]", body) if isinstance(body, dict) else {}
    inner = fields.get("error")
    if isinstance(inner, dict):
        fields = cast("dict[str, Any]", inner)
    told = fields.get("code")
    code = code or (told if isinstance(told, int) else 0)
    # Where the body says nothing, the SDK puts the words of the status line in the place of the status.
    status = str(fields.get("status") or "")
    if not status.isupper():
        status = _OF_STATUS.get(code, "INVALID_ARGUMENT" if 400 <= code < 500 else "INTERNAL")  # noqa: PLR2004  HTTP
    text = body if isinstance(body, str) else ""
    message = str(fields.get("message") or (inner if isinstance(inner, str) else text)).strip()[:2000]
    details = list(_details(fields))
    words = " ".join((message, *(str(detail.get("reason") or "") for detail in details)))
    return _Report(
        code=code,
        status=status,
        message=message or status,
        words=words,
        retry_after=_told_pause(details, message) or retry_after,
        of_a_day=any(_OF_A_DAY.search(quota) for detail in details for quota in _quotas(detail)),
    )


def _details(fields: dict[str, Any]) -> Iterator[dict[str, Any]]:
    details = fields.get("details")
    for detail in cast("list[object]", details) if isinstance(details, list) else ():
        if isinstance(detail, dict):
            yield cast("dict[str, Any]", detail)


def _quotas(detail: dict[str, Any]) -> Iterator[str]:
    """The names of the quotas that a QuotaFailure says were exceeded."""
    violations = detail.get("violations")
    for violation in cast("list[object]", violations) if isinstance(violations, list) else ():
        if isinstance(violation, dict):
            named = cast("dict[str, Any]", violation)
            yield f"{named.get('quotaId') or ''} {named.get('quotaMetric') or ''}"


def _told_pause(details: list[dict[str, Any]], message: str) -> float | None:
    """Seconds: a RetryInfo's ``retryDelay``, such as ``"34.07s"``, or what the message says."""
    for detail in details:
        delay = str(detail.get("retryDelay") or "")
        if delay.endswith("s") and delay[:-1].replace(".", "", 1).isdecimal():
            return float(delay[:-1])
    if (found := _RETRY_IN.search(message)) and found[1].replace(".", "", 1).isdecimal():
        return float(found[1]) / (1000 if found[2] == "ms" else 1)
    return None


def _error_of(report: _Report, subject: Subject) -> ProviderError:
    return _error_of_words(report, subject) or _error_of_name(report, subject)


def _error_of_words(report: _Report, subject: Subject) -> ProviderError | None:
    """What wording and details say, where they say more than the status."""
    name, detail = subject.name, report.message
    if report.status in {"INVALID_ARGUMENT", "PERMISSION_DENIED", "UNAUTHENTICATED"} and _BAD_KEY.search(report.words):
        return failures.wrong_key(subject, detail, what="credentials")
    if report.status in {"INVALID_ARGUMENT", "OUT_OF_RANGE", "TOO_LARGE"} and _TOO_LONG.search(detail):
        return _context_error(report, subject)
    if report.status == "FAILED_PRECONDITION" and _WRONG_PLACE.search(detail):
        return ProviderPermissionError(f"{name} does not serve the region this server is in.", detail=detail)
    used_up = report.status == "RESOURCE_EXHAUSTED" and (report.of_a_day or _NONE_AT_ALL.search(detail))
    if used_up or _NO_CREDIT.search(report.words):
        return failures.quota_used_up(subject, detail, report.retry_after)
    if report.status == "NOT_FOUND" and subject.model and _NO_SUCH_MODEL.search(detail):
        return failures.no_such_model(subject, detail)
    return None


def _error_of_name(  # noqa: PLR0911  a table in the shape of a match
    report: _Report, subject: Subject
) -> ProviderError:
    detail = report.message
    match report.status:
        case "UNAUTHENTICATED":
            return failures.wrong_key(subject, detail, what="credentials")
        case "PERMISSION_DENIED":
            return failures.not_allowed(subject, detail, what="credentials")
        case "RESOURCE_EXHAUSTED":
            return failures.rate_limited(subject, detail, report.retry_after)
        case "UNAVAILABLE" | "ABORTED":
            return failures.overloaded(subject, detail, report.retry_after)
        case "DEADLINE_EXCEEDED" | "CANCELLED":
            return failures.timed_out(subject, detail)
        case "NOT_FOUND":
            return ProviderBadRequest(
                f"There is no Gemini service at {subject.endpoint}: check the base URL of {subject.name}.",
                detail=detail,
            )
        case "TOO_LARGE":
            return failures.too_large(subject, detail)
        case "INVALID_ARGUMENT" | "FAILED_PRECONDITION" | "OUT_OF_RANGE" | "UNIMPLEMENTED" | "ALREADY_EXISTS":
            return failures.refused(subject, detail)
        case _ if report.code in failures.REDIRECTIONS:
            return failures.moved(subject, report.code)
        case _:
            return failures.failed(subject, detail, report.code, report.retry_after)


def _context_error(report: _Report, subject: Subject) -> ContextTooLong:
    found = _COUNTS.search(report.message)
    counts = (int(found[1]), int(found[2])) if found else ()
    return failures.context_too_long(subject, report.message, *counts)
