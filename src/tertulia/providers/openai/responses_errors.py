"""What the failures of the Responses API mean that come within a reply; does no input or output.

Those that come in place of a reply have the same statuses and bodies as those of Chat Completions.
"""

import re
import time
from typing import Any, Final, cast

from tertulia.domain.errors import (
    ProviderBadRequest,
    ProviderError,
    ProviderPermissionError,
    ProviderRateLimited,
)
from tertulia.providers import failures
from tertulia.providers.failures import Subject
from tertulia.providers.openai.errors import error_in_reply

_OVERLOADED: Final = frozenset({"server_is_overloaded", "slow_down", "overloaded_error", "vector_store_timeout"})
_FILTERED: Final = re.compile(r"(?:cyber|bio|content|misalignment)\w*_policy|policy_violation|invalid_prompt")
_BAD_IMAGE: Final = re.compile(r"image")
_UNKNOWN_WAIT: Final = 3600.0  # seconds; the limits of a plan are of hours and weeks
_WAIT: Final = re.compile(r"try again in\s*(\d+(?:\.\d+)?)\s*(ms|s)", re.IGNORECASE)
_UNREADABLE: Final = re.compile(
    r"encrypted[ _]content|items are not persisted|'reasoning' was provided without its required", re.IGNORECASE
)


def error_in_response(error: object, subject: Subject) -> ProviderError:
    """The failure that the ``error`` of a response, or an event of type ``error``, stands for."""
    fields: dict[str, Any] = cast("dict[str, Any]", error) if isinstance(error, dict) else {"message": error}
    code = str(fields.get("code") or fields.get("type") or "")[:200]
    detail = str(fields.get("message") or code)[:2000]
    if (limited := error_of_plan(fields, subject)) is not None:
        return limited
    if code in _OVERLOADED:
        return failures.overloaded(subject, detail)
    if code == "rate_limit_exceeded":
        return failures.rate_limited(subject, detail, wait_in(detail))
    if _FILTERED.search(code):
        return failures.filtered(subject, detail)
    if _BAD_IMAGE.search(code):
        return ProviderBadRequest(f"{subject.name} cannot use an image of this conversation: {detail}", detail=detail)
    return error_in_reply(fields, subject)


def error_of_plan(fields: dict[str, Any], subject: Subject) -> ProviderError | None:
    """What the plan of a ChatGPT account does not allow, if the error is about that."""
    words = {fields.get("type"), fields.get("code")}
    detail = str(fields.get("message") or fields)
    if "usage_limit_reached" in words:
        wait = _seconds_until_reset(fields)
        return ProviderRateLimited(
            f"The limit of the ChatGPT plan behind '{subject.name}' is reached{_when(wait)}.",
            detail=detail,
            retry_after=wait if wait is not None else _UNKNOWN_WAIT,
        )
    if "usage_not_included" in words:
        return ProviderPermissionError(
            f"The ChatGPT plan behind '{subject.name}' does not include this use. Upgrade it, or use another provider.",
            detail=detail,
        )
    return None


def wait_in(message: str) -> float | None:
    """Seconds to wait, where the words of a failure say so."""
    found = _WAIT.search(message)
    if found is None:
        return None
    return float(found[1]) / (1000 if found[2].lower() == "ms" else 1)


def is_of_reasoning(error: ProviderError) -> bool:
    """Whether the failure is about reasoning that was sent back: what another account encrypted cannot be read."""
    return _UNREADABLE.search(error.detail) is not None


def _seconds_until_reset(fields: dict[str, Any]) -> float | None:
    within, at = fields.get("resets_in_seconds"), fields.get("resets_at")
    if isinstance(within, int | float):
        return max(0.0, float(within))
    return max(0.0, at - time.time()) if isinstance(at, int | float) else None


def _when(wait: float | None) -> str:
    if wait is None:
        return ""
    hours, minutes = divmod(-(-int(wait) // 60), 60)
    return f"; it is reset in {hours} h {minutes} min" if hours else f"; it is reset in {minutes} min"
