"""Servers forked from a process that has loaded them: loading takes a second, and a run of the tests starts a hundred.

As a module of its own this is that process. Each line that it is sent is a server to start, as `python -m` would: with
these arguments, this environment, in this directory, its output in this file. The reply is the id of its process.
"""

import atexit
import gc
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Final

REPOSITORY: Final = Path(__file__).parents[2]
POSSIBLE: Final = sys.platform == "linux"
"""Elsewhere a process cannot be waited for that another one has started."""
LOADED: Final = (
    "tertulia.app",
    "tertulia.cli.listening",
    "tertulia.cli.serve",
    "tertulia.store.migrate",
    "tertulia.store.postgres.signals",
    "tertulia.store.postgres.store",
    "uvicorn.lifespan.on",
    "uvloop",
)


class ForkedProcess:
    """What `subprocess.Popen` is for a process that somebody else started."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        try:
            self._handle: int | None = os.pidfd_open(pid)
        except ProcessLookupError:  # it has ended already
            self._handle = None

    def poll(self) -> int | None:
        """None while it runs. How it ended is not known."""
        return 0 if self._ended_within(0) else None

    def wait(self, timeout: float) -> int:
        if not self._ended_within(timeout):
            raise subprocess.TimeoutExpired("the forked server", timeout)
        return 0

    def send_signal(self, number: signal.Signals) -> None:
        if self._handle is not None and self.poll() is None:
            signal.pidfd_send_signal(self._handle, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def _ended_within(self, seconds: float) -> bool:
        if self._handle is None:
            return True
        waiting = select.poll()
        waiting.register(self._handle, select.POLLIN)
        if not waiting.poll(seconds * 1000):
            return False
        os.close(self._handle)
        self._handle = None
        return True


def fork(module: str, arguments: list[str], environment: dict[str, str], directory: Path, log: Path) -> ForkedProcess:
    order = {
        "module": module,
        "arguments": arguments,
        "environment": environment,
        "directory": str(directory),
        "log": str(log),
    }
    return _origin().fork(order)


class _Origin:
    """The process that has everything loaded, as the tests see it."""

    def __init__(self) -> None:
        self._socket, its_end = socket.socketpair()
        with its_end:
            command = [sys.executable, "-m", __name__, str(its_end.fileno())]
            self._process = subprocess.Popen(command, pass_fds=[its_end.fileno()], cwd=REPOSITORY)
        self._lines = self._socket.makefile("rwb")
        self._one_at_a_time = threading.Lock()
        atexit.register(self.close)

    def fork(self, order: dict[str, Any]) -> ForkedProcess:
        with self._one_at_a_time:
            self._lines.write(json.dumps(order).encode() + b"\n")
            self._lines.flush()
            return ForkedProcess(int(self._lines.readline()))

    def close(self) -> None:
        self._lines.close()
        self._socket.close()
        self._process.wait()


_beginning: Final = threading.Lock()


def _origin() -> _Origin:
    with _beginning:
        return _begun()


@cache
def _begun() -> _Origin:
    return _Origin()


def _next_server(connection: socket.socket) -> dict[str, Any] | None:
    """What to be: returns in every forked process, and with None in the one that has everything loaded, at its end."""
    with connection, connection.makefile("rwb") as lines:
        for line in lines:  # until the tests have ended
            child = os.fork()
            if child == 0:
                return json.loads(line)
            lines.write(b"%d\n" % child)
            lines.flush()
    return None


def _become(order: dict[str, Any]) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    output = os.open(order["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    os.environ.clear()
    os.environ.update(order["environment"])
    os.chdir(order["directory"])
    sys.argv = [order["module"], *order["arguments"]]
    runpy.run_module(order["module"], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody here waits for them
    for name in LOADED:
        import_module(name)
    gc.freeze()
    if (wanted := _next_server(socket.socket(fileno=int(sys.argv[1])))) is not None:
        _become(wanted)
