"""How a failure of a provider is told, whatever its dialect: the kinds, their sentences, and whom they are about."""

from dataclasses import dataclass
from typing import Final

from tertulia.domain.errors import (
    ContextTooLong,
    ProviderAuthenticationError,
    ProviderBadRequest,
    ProviderConnectionLost,
    ProviderContentFiltered,
    ProviderFailed,
    ProviderMalformedReply,
    ProviderModelNotFound,
    ProviderOverloaded,
    ProviderPermissionError,
    ProviderQuotaUsedUp,
    ProviderRateLimited,
    ProviderTimeout,
)


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom a failure is about. ``key_hint`` says where the key of this provider is set."""

    name: str
    endpoint: str
    key_hint: str
    model: str = ""


REDIRECTIONS: Final = range(300, 400)
"""HTTP statuses."""

# ``detail`` is what the provider said itself, ``wait`` the seconds it asks to wait.


def wrong_key(subject: Subject, detail: str, *, what: str = "API key") -> ProviderAuthenticationError:
    return ProviderAuthenticationError(f"{subject.name} did not accept the {what}. {subject.key_hint}", detail=detail)


def not_allowed(subject: Subject, detail: str, *, what: str = "API key") -> ProviderPermissionError:
    use = f"the model '{subject.model}'" if subject.model else "its models"
    return ProviderPermissionError(_with(f"The {what} for {subject.name} may not use {use}", detail), detail=detail)


def quota_used_up(subject: Subject, detail: str, wait: float | None = None) -> ProviderQuotaUsedUp:
    return ProviderQuotaUsedUp(
        f"The quota or credit of the {subject.name} account is used up: check its plan and billing.",
        detail=detail,
        retry_after=wait,
    )


def rate_limited(subject: Subject, detail: str, wait: float | None = None) -> ProviderRateLimited:
    return ProviderRateLimited(
        f"{subject.name} got too many requests. Wait a little and try again.", detail=detail, retry_after=wait
    )


def overloaded(subject: Subject, detail: str, wait: float | None = None) -> ProviderOverloaded:
    return ProviderOverloaded(
        f"{subject.name} is overloaded or not ready now. Try again in a moment.", detail=detail, retry_after=wait
    )


def timed_out(subject: Subject, detail: str, *, started: bool = False) -> ProviderTimeout:
    """``started``: part of the reply had already come."""
    what = "stopped in the middle of its reply and did not continue" if started else "did not answer"
    return ProviderTimeout(f"{subject.name} {what} in time. Try again.", detail=detail)


def no_such_model(subject: Subject, detail: str) -> ProviderModelNotFound:
    return ProviderModelNotFound(
        f"{subject.name} has no model '{subject.model}', or it is not available to this key: {detail}", detail=detail
    )


def filtered(subject: Subject, detail: str) -> ProviderContentFiltered:
    return ProviderContentFiltered(f"The content filter of {subject.name} stopped this request.", detail=detail)


def refused(subject: Subject, detail: str) -> ProviderBadRequest:
    return ProviderBadRequest(f"{subject.name} refused the request: {detail or 'no reason given'}", detail=detail)


def too_large(subject: Subject, detail: str) -> ContextTooLong:
    return ContextTooLong(f"The request is larger than {subject.name} takes.", detail=detail)


def context_too_long(
    subject: Subject, detail: str, tokens: int | None = None, window: int | None = None
) -> ContextTooLong:
    """Counts are tokens, None where nobody told them."""
    told = f" ({tokens or 'unknown'} of {window or 'unknown'} tokens)" if tokens or window else ""
    return ContextTooLong(
        f"The request does not fit the context window of '{subject.model}'{told}.",
        detail=detail,
        tokens=tokens,
        context_window=window,
    )


def check_ended(subject: Subject, *, started: bool, complete: bool) -> None:
    """Whether a stream that is over held a whole reply.

    :raises ProviderMalformedReply: if nothing came.
    :raises ProviderConnectionLost: if it ended before the reply did.
    """
    if not started:
        raise ProviderMalformedReply(f"{subject.name} sent an empty reply. Try again.")
    if not complete:
        raise ProviderConnectionLost(
            f"The connection to {subject.name} ended before the reply was finished. Try again."
        )


def moved(subject: Subject, status: int) -> ProviderBadRequest:
    """A redirection, which is not followed."""
    return ProviderBadRequest(
        f"{subject.name} redirects from {subject.endpoint} to another address (status {status}): "
        "make that its base URL.",
    )


def failed(subject: Subject, detail: str, status: int | None = None, wait: float | None = None) -> ProviderFailed:
    """``status`` is of the reply, None or 0 where the failure came within one."""
    if not status:
        return ProviderFailed(
            _with(f"{subject.name} failed while it answered", detail), detail=detail, retry_after=wait
        )
    return ProviderFailed(f"{subject.name} failed with status {status}. Try again.", detail=detail, retry_after=wait)


def _with(sentence: str, detail: str) -> str:
    return f"{sentence}: {detail}" if detail else f"{sentence}."
