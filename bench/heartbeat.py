"""How long anyone else waits: `GET /v1/health` every 20 ms from a process of its own, while something goes on.

    python -m bench.heartbeat PORT --seconds 10
    python -m bench.heartbeat PORT -- python load.py      # for as long as the command runs

Prints one JSON object of milliseconds. From code, use `beating`.
"""

import argparse
import dataclasses
import json
import math
import select
import socket
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, cast

INTERVAL_S = 0.02
_PATIENCE_S = 60.0
_REQUEST = b"GET /v1/health HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"
_OK = b"HTTP/1.1 200"


@dataclass(frozen=True, slots=True)
class Waits:
    """Milliseconds from when a request was due to its reply; `failures` are those that got no 200."""

    beats: int
    failures: int
    median: float
    p99: float
    max: float

    @classmethod
    def of(cls, seconds: Sequence[float], failures: int) -> "Waits":
        if not seconds:
            return cls(0, failures, 0.0, 0.0, 0.0)
        ranked = sorted(seconds)
        places = (len(ranked) // 2, min(len(ranked) - 1, math.ceil(len(ranked) * 0.99) - 1), -1)
        median, p99, most = (round(ranked[place] * 1000, 2) for place in places)
        return cls(len(ranked), failures, median, p99, most)


@dataclass(slots=True)
class Pulse:
    """What `beating` found; there once its block is left."""

    found: Waits | None = field(default=None)

    @property
    def waits(self) -> Waits:
        if self.found is None:
            message = "the heartbeat is still going on"
            raise RuntimeError(message)
        return self.found


@contextmanager
def beating(port: int) -> Generator[Pulse]:
    """Ask the server on this port of loopback again and again until the block is left."""
    command = [sys.executable, "-m", "bench.heartbeat", str(port), "--until-told"]
    root = Path(__file__).resolve().parent.parent
    pulse = Pulse()
    with subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        began, told = cast("IO[bytes]", process.stdout), cast("IO[bytes]", process.stdin)
        _ = began.readline()  # nothing that starts now can be missed
        try:
            yield pulse
        finally:
            told.close()
            said = began.read()
    pulse.found = Waits(**cast("dict[str, int]", json.loads(said)))


def beat(port: int, until: "Ending", interval: float = INTERVAL_S) -> Waits:
    """Ask until told to stop: every `interval` seconds, or at once after a reply that took longer."""
    waits: list[float] = []
    failures = 0
    connection: socket.socket | None = None
    due = time.perf_counter()
    while not until.reached(due):
        try:
            connection = connection or socket.create_connection(("127.0.0.1", port), _PATIENCE_S)
            kept = _ask(connection)
        except OSError:
            kept = None
        now = time.perf_counter()
        if kept is None:
            failures += 1
        else:
            waits.append(now - due)
        if not kept and connection is not None:
            connection.close()
            connection = None
        due = max(due + interval, now)
    if connection is not None:
        connection.close()
    return Waits.of(waits, failures)


def _ask(connection: socket.socket) -> bool | None:
    """Whether the connection can be used again; None if the reply is no 200."""
    connection.sendall(_REQUEST)
    reply = b""
    while b"\r\n\r\n" not in reply:
        more = connection.recv(4096)
        if not more:
            return None
        reply += more
    head, _, body = reply.partition(b"\r\n\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    left = int(fields.get(b"content-length", b"0")) - len(body)
    while left > 0:
        more = connection.recv(4096)
        if not more:
            return None
        left -= len(more)
    return fields.get(b"connection") != b"close" if head.startswith(_OK) else None


class Ending:
    """When to stop: after some seconds, when a command has ended, or when standard input is closed."""

    def __init__(self, seconds: float | None, command: "subprocess.Popen[bytes] | None", *, told: bool) -> None:
        self._at = None if seconds is None else time.perf_counter() + seconds
        self._command = command
        self._told = told

    def reached(self, due: float) -> bool:
        """Wait until the next request is due, or say that there is to be none."""
        left = max(0.0, due - time.perf_counter())
        if self._told:
            if select.select([sys.stdin], [], [], left)[0]:
                return True
        elif left:
            time.sleep(left)
        if self._command is not None and self._command.poll() is not None:
            return True
        return self._at is not None and time.perf_counter() >= self._at


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.heartbeat", description=__doc__)
    _ = parser.add_argument("port", type=int)
    _ = parser.add_argument("--seconds", type=float, help="how long (10, or as long as the command runs)")
    _ = parser.add_argument("--until-told", action="store_true", help="until standard input is closed")
    _ = parser.add_argument("command", nargs="*", help="what to run meanwhile")
    given = parser.parse_args()
    port, told = cast("int", given.port), cast("bool", given.until_told)
    seconds, command = cast("float | None", given.seconds), cast("list[str]", given.command)
    if told:
        print("began", flush=True)
    child = subprocess.Popen(command, stdout=sys.stderr) if command else None
    if seconds is None and not (told or command):
        seconds = 10.0
    waits = beat(port, Ending(seconds, child, told=told))
    if child is not None and child.poll() is None:
        child.terminate()
    print(json.dumps(dataclasses.asdict(waits)))
    return child.wait() if child is not None else 0


if __name__ == "__main__":
    sys.exit(main())
