"""Who may use a loaded model now: so many at once, with so many tokens between them, first come first served."""

import asyncio
from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class _Waiter:
    tokens: int
    admitted: "asyncio.Future[None]"


class Admission:
    """Used by one event loop. A request asks for the most tokens it can come to hold."""

    def __init__(self, slots: int, tokens: int) -> None:
        self._all_tokens = tokens
        self._tokens = tokens
        self._slots = slots
        self._waiting: deque[_Waiter] = deque()

    async def take(self, tokens: int) -> int:
        """Wait for a slot and the tokens; how many were taken, to be given back. More than there are means all."""
        waiter = _Waiter(min(tokens, self._all_tokens), asyncio.get_running_loop().create_future())
        self._waiting.append(waiter)
        self._admit()
        try:
            await waiter.admitted
        except asyncio.CancelledError:
            if waiter in self._waiting:
                self._waiting.remove(waiter)
                self._admit()
            else:  # admitted and cancelled at the same moment
                self.give_back(waiter.tokens)
            raise
        return waiter.tokens

    def give_back(self, tokens: int) -> None:
        self._slots += 1
        self._tokens += tokens
        self._admit()

    def _admit(self) -> None:
        """The first in the queue is never overtaken, so nobody starves."""
        while self._waiting and self._slots and self._waiting[0].tokens <= self._tokens:
            waiter = self._waiting.popleft()
            self._slots -= 1
            self._tokens -= waiter.tokens
            waiter.admitted.set_result(None)
