"""Signals between the workers of one database: that something changed, and nothing of what.

A signal wakes whoever waits for a change; what changed is read from the store. So one that is lost costs time and
nothing else, and whoever waits looks by itself now and then.
"""

from collections.abc import Callable, Sequence
from typing import Literal, Protocol, TypeAlias

Topic: TypeAlias = Literal["events", "cancel", "providers", "workers"]
"""What the ids are: runs that have new events, runs that are to be stopped, providers that were changed, workers that
have left."""

Listener: TypeAlias = Callable[[Sequence[str] | None], None]
"""Told the ids; None when signals may have been lost and anything may have changed."""


class Signals(Protocol):
    def publish(self, topic: Topic, ids: Sequence[str]) -> None:
        """Tell the other workers, a little later and many ids at once. What was written is durable already."""
        ...

    def subscribe(self, topic: Topic, listener: Listener) -> None: ...
    async def start(self) -> None: ...
    async def close(self) -> None: ...


class NoSignals:
    """Where there is only one worker, there is nobody to tell."""

    def publish(self, topic: Topic, ids: Sequence[str]) -> None:
        pass

    def subscribe(self, topic: Topic, listener: Listener) -> None:
        pass

    async def start(self) -> None:
        pass

    async def close(self) -> None:
        pass
