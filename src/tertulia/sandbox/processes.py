"""Counting what a call uses, from ``/proc``."""

import os
import resource
from pathlib import Path
from typing import Any, Final

_PAGE: Final = resource.getpagesize()
_MEGABYTE: Final = 1024 * 1024


class Processes:
    """Reads through a descriptor of ``/proc``: the path is gone in a zygote with a root of its own."""

    def __init__(self, proc: int) -> None:
        self._proc = proc
        self._own = 0
        self._own = self._memory(os.getpid())

    def close(self) -> None:
        os.close(self._proc)

    def below(self, process: int) -> list[int]:
        """All descendants."""
        found: list[int] = []
        waiting = [process]
        while waiting:
            children = self._children(waiting.pop())
            found += children
            waiting += children
        return found

    def of_user(self, user: int) -> int:
        """How many processes a user has, counted by threads as the kernel does."""
        count = 0
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                if entry.stat().st_uid == user:
                    count += len(os.listdir(entry / "task"))  # noqa: PTH208
            except OSError:
                continue
        return count

    def passed(self, child: int, limits: dict[str, Any], work: str | None) -> str | None:
        """The limit that the tree is over, if any."""
        tree = [child, *self.below(child)]
        threads = sum(len(self._tasks(process)) for process in tree)
        if threads > limits["processes"] + 2:
            return "processes"
        if sum(map(self._memory, tree)) > limits["memory_mb"] * _MEGABYTE:
            return "memory"
        if work is not None and _size(work) > limits["disk_mb"] * _MEGABYTE:
            return "disk"
        return None

    def _children(self, process: int) -> list[int]:
        found: list[int] = []
        for task in self._tasks(process):
            found += map(int, self._read(f"{process}/task/{task}/children").split())
        return found

    def _tasks(self, process: int) -> list[str]:
        try:
            descriptor = os.open(f"{process}/task", os.O_RDONLY | os.O_DIRECTORY, dir_fd=self._proc)
        except OSError:
            return []
        try:
            return os.listdir(descriptor)  # noqa: PTH208 -- a descriptor
        except OSError:
            return []
        finally:
            os.close(descriptor)

    def _memory(self, process: int) -> int:
        """Without what every process shares with the zygote it was forked from."""
        fields = self._read(f"{process}/statm").split()
        used = (int(fields[1]) - int(fields[2])) * _PAGE if fields else 0
        return max(0, used - self._own)

    def _read(self, name: str) -> bytes:
        try:
            descriptor = os.open(name, os.O_RDONLY, dir_fd=self._proc)
        except OSError:
            return b""
        try:
            return os.read(descriptor, 65536)
        except OSError:
            return b""
        finally:
            os.close(descriptor)


def _size(directory: str) -> int:
    total = 0
    for parent, _, files in os.walk(directory):
        for name in files:
            try:
                total += os.lstat(os.path.join(parent, name)).st_blocks * 512  # noqa: PTH118
            except OSError:
                continue
    return total
