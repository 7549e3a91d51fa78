"""How a run ends, and the words its readers are told."""

from dataclasses import dataclass, field

import structlog

from tertulia.domain.errors import (
    Conflict,
    InvalidArgument,
    NotFound,
    ProviderError,
    SystemPromptTooLong,
    TertuliaError,
)
from tertulia.domain.events import Failed
from tertulia.domain.runs import RunStatus, StopReason

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a run is over; ``failed`` is what went wrong, if that is why, ``abandoned`` that nobody waited any more."""

    stop_reason: StopReason
    failed: Failed | None = None
    abandoned: bool = False
    status: RunStatus = field(init=False)

    def __post_init__(self) -> None:
        status = "cancelled" if self.stop_reason == "cancelled" else "failed" if self.failed else "completed"
        object.__setattr__(self, "status", status)


CANCELLED = Ending("cancelled")
ABANDONED = Ending("cancelled", abandoned=True)
CRASHED = Ending(
    "error",
    Failed(
        "internal_error",
        "The server stopped while it was answering this message.",
        "The run was interrupted by a restart. What was finished is in the history; send the message again to "
        "continue.",
    ),
)


def deadly(what: str) -> Ending:
    """The end of a run that workers die of, always while doing the same."""
    return Ending(
        "error",
        Failed(
            "internal_error",
            f"The server died again and again while it was {what}, so this will not be tried again.",
            "What was finished is in the history, and an interrupted call has a return that says so. Send another "
            "message to continue in a different way.",
        ),
    )


def failure(error: Exception) -> Ending:
    """The ending that an error makes of a run."""
    if isinstance(error, SystemPromptTooLong):
        words = Failed(error.error_type, error.message, error.detail)
        return Ending("context_window_overflow_in_system_prompt", words)
    if isinstance(error, ProviderError):
        return Ending("llm_api_error", Failed(error.error_type, error.message, error.detail, error.retry_after))
    if isinstance(error, NotFound):
        return CANCELLED  # what it was for was deleted while it was being answered
    if isinstance(error, Conflict | InvalidArgument):
        kind = "conflict" if isinstance(error, Conflict) else "invalid_request"
        return Ending("error", Failed(kind, error.message, error.message))
    if isinstance(error, TertuliaError):
        return Ending("error", Failed("internal_error", error.message, error.message))
    _log.error("run_failed", error=repr(error), exc_info=error)
    # The log has the rest; a reply is no place for the server's internals.
    detail = f"{type(error).__name__}. The server's log has the details under this run's id."
    return Ending("error", Failed("internal_error", "The server failed while it was answering this message.", detail))
