"""What the failures of Chat Completions servers mean, from status, body and wording; does no input or output."""

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


class NoSuchService(ProviderBadRequest):
    """Nothing at the address speaks this dialect."""


@dataclass(frozen=True, slots=True)
class _Report:
    """A failure as the server worded it. ``status`` is 0 where it does not say."""

    status: int
    message: str
    words: frozenset[str]
    fields: dict[str, Any]


_NUMBER: Final = r"(\d[\d,_]*)"
_CONTEXT_WORDS: Final = frozenset({"context_length_exceeded", "exceed_context_size_error", "context_window_exceeded"})
_CONTEXT_TOO_LONG: Final = re.compile(
    r"maximum (?:context|prompt|model|input) length|context (?:length|size|window)|maximum context"
    r"|reduce the length of the (?:messages|prompt)|(?:prompt|input) is too long|longer than the (?:maximum )?model"
    r"|input tokens exceed|exceeded model token limit|inputs?` tokens|inputs? must have less than"
    r"|longer than the model's context|exceeds? the (?:maximum|available) (?:number of )?(?:input )?(?:context|tokens)",
    re.IGNORECASE,
)
_WINDOW: Final = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"maximum (?:context|prompt|model|input)(?: length)?(?: of|:| is)? ?(?:only )?{_NUMBER}",
        rf"context (?:length|size|window)(?: of model)?(?: is| of| of only|:)? ?\(?{_NUMBER}",
        rf"with {_NUMBER} maximum context",
        rf"(?:configured limit of|token limit:|while limit is|must be <=|less than|> ) ?{_NUMBER}",
    )
)
_TOKENS: Final = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"(?:resulted in|you requested(?: a total of| about)?|request contains|request has|prompt contains) {_NUMBER}",
        rf"(?:input|request|prompt) \({_NUMBER} tokens\)",
        rf"prompt \(length {_NUMBER}\)",
        rf"too long: {_NUMBER}",
        rf"keep the first {_NUMBER} tokens",
        rf"(?:current length is|given:) {_NUMBER}",
    )
)
_FILTERED: Final = re.compile(
    r"content[ _](?:filter|management policy|policy)|ResponsibleAIPolicyViolation|flagged|data_inspection_failed"
    r"|invalid_prompt|moderation",
    re.IGNORECASE,
)
_NO_SUCH_MODEL: Final = re.compile(
    r"model\b.*\b(?:not found|does not exist|not exist|not a valid|not loaded)|(?:unknown|invalid|no such) model"
    r"|not a valid model",
    re.IGNORECASE | re.DOTALL,
)
_OVERLOADED: Final = re.compile(r"overloaded|no capacity|at capacity|server is busy|loading model", re.IGNORECASE)
_QUOTA: Final = re.compile(
    r"insufficient_quota|insufficient[ _](?:balance|credit|funds)|billing|quota exceeded|payment", re.IGNORECASE
)
_RATE: Final = re.compile(r"rate[ _]limit|too many requests|tokens per minute", re.IGNORECASE)


def error_of_status(status: int, body: object, subject: Subject, retry_after: float | None = None) -> ProviderError:
    """The failure that an HTTP error status with this body stands for. The body is decoded JSON or text."""
    return _error_of(_report(status, body), subject, retry_after)


def error_in_reply(error: object, subject: Subject) -> ProviderError:
    """The failure that an ``error`` object stands for that came where a reply, or the rest of it, should be."""
    report = _report(0, error)
    code = report.fields.get("code", report.fields.get("status"))
    status = int(code) if isinstance(code, int | str) and str(code).isdecimal() and len(str(code)) == 3 else 0  # noqa: PLR2004  an HTTP status has three digits
    return _error_of(_report(status, error), subject, None)


def _report(status: int, body: object) -> _Report:
    """Finds the message in the shapes it comes in: ``{"error": {…}}``, ``{"error": "…"}``, flat, or plain text."""
    fields: dict[str, Any] = {}
    message = ""
    if isinstance(body, list) and body:
        body = cast("list[object]", body)[0]
    if isinstance(body, dict):
        fields = cast("dict[str, Any]", body)
        nested = fields.get("error")
        if isinstance(nested, dict):
            fields = cast("dict[str, Any]", nested)
        elif isinstance(nested, str):
            message = nested
        message = message or next(
            (text for key in ("message", "detail", "msg", "error") if isinstance(text := fields.get(key), str)), ""
        )
        message = message or str(fields)
    elif body is not None:
        message = str(cast("object", body))
    words = frozenset(str(fields[key]).lower() for key in ("code", "type", "param") if fields.get(key) is not None)
    return _Report(status, message.strip()[:2000], words, fields)


def _error_of(report: _Report, subject: Subject, retry_after: float | None) -> ProviderError:
    everything = " ".join((*report.words, report.message))
    if report.status in {0, 400, 413, 422, 500} and (too_long := _context_error(report, subject)):
        return too_long
    error = _error_of_words(report, everything, subject, retry_after)
    return error or _error_of_number(report, subject, retry_after)


def _error_of_words(
    report: _Report, everything: str, subject: Subject, retry_after: float | None
) -> ProviderError | None:
    """What the wording says, where it says more than the status."""
    detail = report.message
    if report.status in {0, 402, 429} and _QUOTA.search(everything):
        return failures.quota_used_up(subject, detail, retry_after)
    if report.status in {0, 413, 429} and (report.status == 429 or _RATE.search(everything)):  # noqa: PLR2004  HTTP
        return failures.rate_limited(subject, detail, retry_after)
    if report.status in {0, 400, 404, 422} and (
        "model_not_found" in report.words or _NO_SUCH_MODEL.search(report.message)
    ):
        return failures.no_such_model(subject, detail)
    if report.status in {0, 400, 403} and _FILTERED.search(everything):
        return failures.filtered(subject, detail)
    if report.status in {0, 500, 503, 529} and (report.status >= 503 or _OVERLOADED.search(everything)):  # noqa: PLR2004
        return failures.overloaded(subject, detail, retry_after)
    return None


def _error_of_number(  # noqa: PLR0911  a table in the shape of a match
    report: _Report, subject: Subject, retry_after: float | None
) -> ProviderError:
    detail = report.message
    match report.status:
        case 401:
            return failures.wrong_key(subject, detail)
        case 403:
            return failures.not_allowed(subject, detail)
        case 402:
            return failures.quota_used_up(subject, detail)
        case 404 | 405:
            return NoSuchService(
                f"What answers at {subject.endpoint} has no such service: check the base URL of {subject.name}.",
                detail=detail,
            )
        case status if status in failures.REDIRECTIONS:
            return failures.moved(subject, status)
        case 408 | 504 | 524:
            return failures.timed_out(subject, detail)
        case 409 | 423 | 425:
            return failures.overloaded(subject, detail)
        case status if 400 <= status < 500:  # noqa: PLR2004  HTTP
            return failures.refused(subject, detail or f"status {status}")
        case status:
            return failures.failed(subject, detail, status, retry_after)


def _context_error(report: _Report, subject: Subject) -> ContextTooLong | None:
    if not (report.words & _CONTEXT_WORDS or _CONTEXT_TOO_LONG.search(report.message)):
        return None
    tokens = _int_field(report, "n_prompt_tokens") or _first_number(_TOKENS, report.message)
    window = _int_field(report, "n_ctx") or _first_number(_WINDOW, report.message)
    if tokens is not None and window is not None and tokens < window and "max_" in report.message:
        return None  # the history fits; it is the reply that was allowed to be too long
    return failures.context_too_long(subject, report.message, tokens, window)


def _int_field(report: _Report, name: str) -> int | None:
    value = report.fields.get(name)
    return value if isinstance(value, int) else None


def _first_number(patterns: tuple[re.Pattern[str], ...], text: str) -> int | None:
    for pattern in patterns:
        if found := pattern.search(text):
            return int(re.sub(r"[,_]", "", found.group(1)))
    return None
