"""A worker's side of the connection to the process that supervises it: the inherited socket, and a line back and forth.

The supervisor hears once whether the worker is ready. The worker hears which others have died, and of its supervisor's
end by the connection's.
"""

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import Callable
from typing import Final

VARIABLE: Final = "_TERTULIA_WORKER"
"""Two file descriptors, a number and a name with commas between: the listening socket, the connection to the
supervisor, which of its workers this is, and which life of it."""
_MOST_BYTES: Final = 65_536


class Parent:
    """The process that started this one as a worker."""

    def __init__(self, listener: socket.socket, connection: socket.socket, place: int, life: str) -> None:
        self.listener = listener
        self.place = place
        self.life = life
        self._connection = connection

    @classmethod
    def of_this_process(cls) -> "Parent | None":
        """None if this process was started by a user and not as a worker."""
        told = os.environ.pop(VARIABLE, None)
        if told is None:
            return None
        listener, connection, place, life = told.split(",")
        return cls(socket.socket(fileno=int(listener)), socket.socket(fileno=int(connection)), int(place), life)

    def tell_ready(self) -> None:
        self._tell(None)

    def tell_failure(self, reason: str) -> None:
        """Say that this worker cannot start, for a reason that the user can mend."""
        self._tell(reason)

    def listen(self, when_gone: Callable[[], None], when_dead: Callable[[str], None]) -> None:
        """Call ``when_gone`` once the parent has died, and ``when_dead`` with the life of each worker that has."""
        loop = asyncio.get_running_loop()
        rest = b""

        def hear() -> None:
            nonlocal rest
            try:
                said = self._connection.recv(_MOST_BYTES)
            except ConnectionResetError:
                said = b""
            if not said:
                loop.remove_reader(self._connection)
                when_gone()
                return
            *lines, rest = (rest + said).split(b"\n")
            for line in lines:
                when_dead(line.decode())

        loop.add_reader(self._connection, hear)

    def _tell(self, failure: str | None) -> None:
        with contextlib.suppress(OSError):  # it died; that is noticed elsewhere
            self._connection.sendall(json.dumps({"failure": failure}).encode() + b"\n")
