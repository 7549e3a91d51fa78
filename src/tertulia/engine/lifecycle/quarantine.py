"""Where a worker resumes runs that may be what kills workers: one at a time, so that a death tells which it was."""

from collections.abc import Callable


class Quarantine:
    """Has room for one suspect, from when it is resumed until it got past the step that its workers died at."""

    def __init__(self) -> None:
        self._suspect: str | None = None
        self._when_free: Callable[[], None] | None = None

    @property
    def room(self) -> int:
        return 0 if self._suspect else 1

    def when_free(self, tell: Callable[[], None]) -> None:
        """Have ``tell`` called each time there is room again."""
        self._when_free = tell

    def enter(self, run_id: str) -> None:
        self._suspect = run_id

    def leave(self, run_id: str) -> None:
        """The run is over, or past that step; nothing happens if it is not here."""
        if self._suspect != run_id:
            return
        self._suspect = None
        if self._when_free is not None:
            self._when_free()
