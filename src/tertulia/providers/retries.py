"""Whether and when a request that failed before its reply began is made again; waits for nothing itself."""

import random
import time
from typing import Final

from tertulia.domain.errors import ProviderError
from tertulia.ports.provider import Retrying

MAX_RETRY_AFTER: Final = 5.0
"""Seconds; a provider that asks for a longer pause is better reported than waited for."""

_FIRST_WAIT: Final = 0.5
_MAX_WAIT: Final = 8.0


class Retries:
    """The tries of one request: ``limit`` more after the first, the last of them begun within ``budget`` seconds."""

    def __init__(self, limit: int, budget: float) -> None:
        self._limit = limit
        self._failed = 0
        self.deadline = time.monotonic() + budget

    def after(self, error: ProviderError) -> Retrying | None:
        """The pause before the next try, or None where the failure is the end of it."""
        if self._failed >= self._limit or not error.may_pass:
            return None
        wait = self._wait(error.retry_after)
        if wait is None or time.monotonic() + wait >= self.deadline:
            return None
        self._failed += 1
        return Retrying(self._failed, error, wait)

    def _wait(self, retry_after: float | None) -> float | None:
        if retry_after is not None:
            return retry_after if retry_after <= MAX_RETRY_AFTER else None
        longest = min(_FIRST_WAIT * 2**self._failed, _MAX_WAIT)
        return longest * random.uniform(0.5, 1)  # noqa: S311  it spreads requests, and guards nothing
