"""A worker's side of the connection to the process that supervises it: the inherited socket, and a line back and forth.

The supervisor hears once whether the worker is ready, and the worker hears of its supervisor's end by the connection's.
"""

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import Callable
from typing import Final

VARIABLE: Final = "_TERTULIA_WORKER"
"""Two file descriptors and a number with commas between: the listening socket, the connection to the supervisor, and
which of its workers this is."""


class Parent:
    """The process that started this one as a worker."""

    def __init__(self, listener: socket.socket, connection: socket.socket, place: int) -> None:
        self.listener = listener
        self.place = place
        self._connection = connection

    @classmethod
    def of_this_process(cls) -> "Parent | None":
        """None if this process was started by a user and not as a worker."""
        told = os.environ.pop(VARIABLE, None)
        if told is None:
            return None
        listener, connection, place = (int(number) for number in told.split(","))
        return cls(socket.socket(fileno=listener), socket.socket(fileno=connection), place)

    def tell_ready(self) -> None:
        self._tell(None)

    def tell_failure(self, reason: str) -> None:
        """Say that this worker cannot start, for a reason that the user can mend."""
        self._tell(reason)

    def when_gone(self, do: Callable[[], None]) -> None:
        """Call it once the parent has died, from the running event loop."""
        loop = asyncio.get_running_loop()

        def gone() -> None:
            loop.remove_reader(self._connection)
            do()

        loop.add_reader(self._connection, gone)

    def _tell(self, failure: str | None) -> None:
        with contextlib.suppress(OSError):  # it died; that is noticed elsewhere
            self._connection.sendall(json.dumps({"failure": failure}).encode() + b"\n")
