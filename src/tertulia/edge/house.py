"""All connections of a server: how many there may be, and which of them have run out of time."""

import asyncio
from typing import Final, Protocol

from tertulia.edge.limits import Limits

_OVERFLOW: Final = 256
"""So many connections over the limit are told why they are not served; the rest are only closed."""


class Guest(Protocol):
    """A connection, as the house sees it."""

    def expire(self, now: float) -> None:
        """End whatever has run out of time."""
        ...

    def close(self) -> None: ...


class House:
    """Knows its guests; those that ask for nothing are the first to go when others want to come."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._guests: set[Guest] = set()
        self._idle: dict[Guest, None] = {}
        self._round: asyncio.TimerHandle | None = None
        shortest = min(limits.request_seconds, limits.idle_seconds, limits.reader_seconds, limits.linger_seconds)
        self._every = min(1.0, shortest / 4)

    def enter(self, guest: Guest) -> bool:
        """Whether there is room, which may have been made."""
        self._guests.add(guest)
        if self._round is None:
            self._watch()
        if len(self._guests) <= self.limits.max_connections:
            return True
        longest_idle = next(iter(self._idle), None)
        if longest_idle is not None:
            self.busy(longest_idle)
            longest_idle.close()
            return True
        return False

    @property
    def count(self) -> int:
        """How many connections are open, idle ones among them."""
        return len(self._guests)

    @property
    def overrun(self) -> bool:
        """Whether there are so many that not even a refusal is to be had."""
        return len(self._guests) > self.limits.max_connections + _OVERFLOW

    def leave(self, guest: Guest) -> None:
        self._guests.discard(guest)
        self._idle.pop(guest, None)

    def idle(self, guest: Guest) -> None:
        self._idle[guest] = None

    def busy(self, guest: Guest) -> None:
        self._idle.pop(guest, None)

    def _watch(self) -> None:
        """Look through all of them now and then: timers of each would cost every request more."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        for guest in tuple(self._guests):
            guest.expire(now)
        self._round = loop.call_later(self._every, self._watch) if self._guests else None
