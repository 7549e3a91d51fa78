"""The demo's server: a real `tertulia serve` in a process of its own, on a free port, with data that goes away."""

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_READY: Final = re.compile(r"ready at (\S+)")
_STOP_TIMEOUT: Final = 15.0
_LOG_LINES_SHOWN: Final = 20


class ServerDied(Exception):
    """The server ended before it was ready; the message holds the end of its log."""


@contextmanager
def server_process() -> Generator[str]:
    """A running server's base URL; the server is stopped and its data removed on the way out.

    :raises ServerDied: if it does not become ready.
    """
    with tempfile.TemporaryDirectory(prefix="tertulia-demo-") as home:
        log = Path(home, "server.log")
        with log.open("wb") as errors, _started(home, errors.fileno()) as process:
            try:
                yield _base_url(process, log)
            finally:
                _stop(process)


def _started(home: str, errors: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tertulia", "serve", "--port", "0", "--data-dir", str(Path(home, "data"))]
    # No key, no network and no surprise: neither the caller's settings nor a `.env` file configure the demo.
    environment = {name: value for name, value in os.environ.items() if not name.upper().startswith("TERTULIA_")}
    return subprocess.Popen(
        command, cwd=home, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True
    )


def _base_url(process: subprocess.Popen[str], log: Path) -> str:
    for line in process.stdout or ():
        found = _READY.search(line)
        if found:
            return found.group(1)
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-_LOG_LINES_SHOWN:])
    message = f"the server exited before it was ready (exit code {process.wait()}):\n{tail}"
    raise ServerDied(message)


def _stop(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(_STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
