"""What the failures of Bedrock mean, from the name of the exception and its wording; does no input or output.

The names are the service's own, with a capital where they come as an HTTP error and without where they come within a
stream. Those of AWS's gateway before it (signatures, tokens) are older and not in its model.
"""

import re
from dataclasses import dataclass
from typing import Final

from tertulia.domain.errors import (
    ContextTooLong,
    ProviderBadRequest,
    ProviderError,
    ProviderModelNotFound,
    ProviderQuotaUsedUp,
)
from tertulia.providers import failures
from tertulia.providers.failures import Subject

KEYS_HINT: Final = (
    "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (with AWS_SESSION_TOKEN where the keys are temporary), or "
    "AWS_PROFILE, or AWS_BEARER_TOKEN_BEDROCK to a Bedrock API key."
)

_AUTHENTICATION: Final = "authentication"
_PERMISSION: Final = "permission"
_RATE: Final = "rate"
_QUOTA: Final = "quota"
_OVERLOADED: Final = "overloaded"
_TIMEOUT: Final = "timeout"
_FAILED: Final = "failed"
_NOT_FOUND: Final = "not found"
_REFUSED: Final = "refused"

# By the name in lower case, without the word exception at its end.
_KINDS: Final = {
    "accessdenied": _PERMISSION,
    "optinrequired": _PERMISSION,
    "unrecognizedclient": _AUTHENTICATION,
    "invalidclienttokenid": _AUTHENTICATION,
    "expiredtoken": _AUTHENTICATION,
    "requestexpired": _AUTHENTICATION,
    "invalidsignature": _AUTHENTICATION,
    "signaturedoesnotmatch": _AUTHENTICATION,
    "incompletesignature": _AUTHENTICATION,
    "missingauthenticationtoken": _AUTHENTICATION,
    "notauthorized": _AUTHENTICATION,
    "unauthorized": _AUTHENTICATION,
    "throttling": _RATE,
    "throttled": _RATE,
    "toomanyrequests": _RATE,
    "requestlimitexceeded": _RATE,
    "servicequotaexceeded": _QUOTA,
    "modelnotready": _OVERLOADED,
    "serviceunavailable": _OVERLOADED,
    "slowdown": _OVERLOADED,
    "modeltimeout": _TIMEOUT,
    "requesttimeout": _TIMEOUT,
    "modelerror": _FAILED,
    "modelstreamerror": _FAILED,
    "internalserver": _FAILED,
    "internalfailure": _FAILED,
    "resourcenotfound": _NOT_FOUND,
    "validation": _REFUSED,
    "conflict": _REFUSED,
}
_KIND_OF_STATUS: Final = {
    401: _AUTHENTICATION,
    403: _PERMISSION,
    408: _TIMEOUT,
    429: _RATE,
    503: _OVERLOADED,
    504: _TIMEOUT,
    529: _OVERLOADED,
}

_NO_KEY: Final = re.compile(
    r"security token|api key is (?:not )?valid|authentication failed|bearer token|token (?:has |is )?expired",
    re.IGNORECASE,
)
_DAILY: Final = re.compile(r"per day|daily|quota", re.IGNORECASE)
_TOO_LONG: Final = re.compile(
    r"(?:input|prompt) is too long|input length and `?max_tokens`? exceed|too many (?:input|total|text) (?:tokens|text)"
    r"|input tokens? exceed|exceeds? (?:the )?(?:model'?s? )?(?:maximum )?(?:number of )?"
    r"(?:input |context |allowed )?(?:tokens|context|length)|maximum (?:context|input|prompt) length"
    r"|context (?:length|window|size|limit)|reduce the length of the (?:messages|prompt)",
    re.IGNORECASE,
)
# The words are: prompt is too long: 903884 tokens > 200000 maximum.
_PROMPT: Final = re.compile(r"(\d+) tokens > (\d+)")
# The words are: input length and `max_tokens` exceed context limit: 178959 + 64000 > 200000, decrease input length …
_WITH_REPLY: Final = re.compile(r"(\d+) \+ \d+ > (\d+)")
_WINDOW: Final = re.compile(r"maximum (?:context|input|prompt) length (?:is|of) (\d+)")
_NO_SUCH_MODEL: Final = re.compile(
    r"model identifier is invalid|on-demand throughput isn.t supported|inference profile that contains this model"
    r"|could not resolve the foundation model|end of its life|model not found|invocation of model id",
    re.IGNORECASE,
)
_FILTERED: Final = re.compile(r"content filter|guardrail|usage polic|content polic|blocked by", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A failure as the service words it. ``status`` is 0 where it came within a stream; ``retry_after`` is seconds."""

    code: str
    message: str
    status: int = 0
    retry_after: float | None = None


def error_of(report: Report, subject: Subject) -> ProviderError:
    """The failure that the report stands for."""
    kind = _kind(report)
    detail = report.message or report.code
    if kind in {_REFUSED, _FAILED} and _TOO_LONG.search(report.message):
        return _too_long(detail, subject)
    if kind in {_REFUSED, _NOT_FOUND} and _NO_SUCH_MODEL.search(report.message):
        kind = _NOT_FOUND
    elif kind == _REFUSED and _FILTERED.search(report.message):
        return failures.filtered(subject, detail)
    elif kind == _PERMISSION and _NO_KEY.search(report.message):
        kind = _AUTHENTICATION
    elif kind == _RATE and _DAILY.search(report.message):
        kind = _QUOTA
    return _error_of_kind(kind, report, detail, subject)


def needs_whole_reply(error: ProviderError) -> bool:
    """Whether the model was asked to stream what it can only say whole: some do not stream where tools are offered."""
    return isinstance(error, ProviderBadRequest) and _NO_STREAM.search(error.detail) is not None


_NO_STREAM: Final = re.compile(r"support (?:tool use in )?streaming", re.IGNORECASE)


def _kind(report: Report) -> str:
    name = report.code.rpartition("#")[2].lower().removesuffix("exception")
    found = _KINDS.get(name) or _KIND_OF_STATUS.get(report.status)
    if found is not None:
        return found
    return _REFUSED if 400 <= report.status < 500 else _FAILED  # noqa: PLR2004  HTTP


def _error_of_kind(  # noqa: PLR0911  a table in the shape of a match
    kind: str, report: Report, detail: str, subject: Subject
) -> ProviderError:
    name, wait = subject.name, report.retry_after
    match kind:
        case "authentication":
            return failures.wrong_key(subject, detail, what="credentials")
        case "permission":
            return failures.not_allowed(subject, detail, what="credentials")
        case "rate":
            return failures.rate_limited(subject, detail, wait)
        case "quota":
            sentence = f"The quota of the {name} account is used up: {detail}"
            return ProviderQuotaUsedUp(sentence, detail=detail, retry_after=wait)
        case "overloaded":
            return failures.overloaded(subject, detail, wait)
        case "timeout":
            return failures.timed_out(subject, detail)
        case "not found":
            return ProviderModelNotFound(
                f"{name} has no model '{subject.model}' for this account and region: {detail}", detail=detail
            )
        case "refused" if report.status in {404, 405}:
            return ProviderBadRequest(
                f"There is no Bedrock service at {subject.endpoint}: check the base URL of {name}.", detail=detail
            )
        case "refused":
            return failures.refused(subject, detail)
        case _:
            return failures.failed(subject, detail, report.status, wait)


def _too_long(detail: str, subject: Subject) -> ContextTooLong:
    if found := _PROMPT.search(detail) or _WITH_REPLY.search(detail):
        return failures.context_too_long(subject, detail, int(found[1]), int(found[2]))
    found = _WINDOW.search(detail)
    return failures.context_too_long(subject, detail, window=int(found[1]) if found else None)
