"""Somebody who is told what happens, for tests to wait for it."""

import asyncio
from typing import TypeVar

from tertulia.ports.telemetry import Happening

H = TypeVar("H", bound=Happening)


class Told:
    def __init__(self) -> None:
        self.happenings: list[Happening] = []
        self._changed = asyncio.Event()

    def __call__(self, happening: Happening) -> None:
        self.happenings.append(happening)
        self._changed.set()

    def of(self, kind: type[H]) -> list[H]:
        return [happening for happening in self.happenings if isinstance(happening, kind)]

    async def until(self, kind: type[H], times: int = 1) -> list[H]:
        """What happened of this kind, once it has so many times."""
        while len(found := self.of(kind)) < times:
            self._changed.clear()
            await self._changed.wait()
        return found
