"""The lock that keeps a database file to one process."""

import fcntl
import os
from pathlib import Path
from typing import Self

from tertulia.domain.errors import DataDirectoryHeld


class FileLock:
    """An advisory lock beside the database, held until :meth:`release` or the end of the process, however it ends.

    The file stays behind: removing it could take away the lock of a process that opened it in between.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def acquire(cls, database: Path) -> Self:
        """:raises DataDirectoryHeld: if another store, in whatever process, has it."""
        path = database.with_name(f"{database.name}.lock")
        # flock rather than lockf: it also holds between two stores of one process.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
            os.close(descriptor)
            raise DataDirectoryHeld(
                f"Another process (pid {holder}) already serves from {database.parent}. Stop it first, or use another "
                "data directory.",
                pid=holder,
            ) from error
        except OSError:  # the file system knows no locks
            os.close(descriptor)
            raise
        try:
            os.truncate(descriptor, 0)
            os.write(descriptor, f"{os.getpid()}\n".encode())
        except OSError:  # the disk is full
            os.close(descriptor)
            raise
        return cls(descriptor)

    def release(self) -> None:
        os.close(self._descriptor)
