"""Where work is done whose length a stranger decides: apart from the server, within limits, to be ended any time."""

from typing import Any, Literal, Protocol, TypeAlias

from tertulia.domain.errors import TertuliaError

WorkName: TypeAlias = Literal["readable", "tool_schema"]
"""The pieces of work there are; ``tools/apart_child.py`` says what each is."""


class WorkFailed(TertuliaError):
    """A piece of work that was ended, or broke on what it was given. The message begins with the verb."""


class Apart(Protocol):
    async def run(self, work: WorkName, *arguments: str | bytes) -> Any:
        """What the work gives. A caller that is cancelled ends it.

        :raises WorkFailed: if it goes over a limit or breaks.
        """
        ...

    def close(self) -> None:
        """End whatever is being done, and leave nothing of it. Nothing can be run any more."""
        ...
