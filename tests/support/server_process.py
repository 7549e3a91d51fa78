"""A real `tertulia serve` in a process of its own, on a free loopback port.

The benchmarks start theirs anew; tests that are not about starting one have it forked.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Self

import httpx

from tests.support import forking
from tests.support.sqlite_files import with_tables

if TYPE_CHECKING:
    from pathlib import Path

READY_TIMEOUT = 30.0  # seconds; on a busy machine the imports alone can take several


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class ServerProcess:
    """Use as a context manager: it is ready when entered and gone when left. `environment` adds to this process's."""

    def __init__(self, data_dir: Path, environment: dict[str, str], *, module: str = "tertulia") -> None:
        self._data_dir = data_dir
        self._module = module
        self._environment = os.environ | {"TERTULIA_LOG_LEVEL": "warning"} | environment
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | forking.ForkedProcess | None = None
        self._log_path = data_dir.with_name(f"{data_dir.name}.log")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        """What the server wrote so far, for the message of a failing test."""
        return self._log_path.read_text(errors="replace") if self._log_path.exists() else ""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stop()

    def start(self) -> None:
        self.launch()
        self.wait_until_ready()

    def launch(self) -> None:
        """Start it, without waiting for it."""
        command = [sys.executable, "-m", self._module, "serve", "--port", str(self._port)]
        with self._log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "--data-dir", str(self._data_dir)],
                env=self._environment,
                cwd=self._data_dir.parent,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def kill(self) -> None:
        """`kill -9`: no handler runs, nothing is flushed."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(READY_TIMEOUT)

    def terminate(self) -> None:
        """Tell it to stop, without waiting for it."""
        assert self._process is not None
        self._process.terminate()

    def wait_until_dead(self) -> None:
        """Wait for the process to die by itself."""
        assert self._process is not None
        self._process.wait(READY_TIMEOUT)

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def pause(self) -> None:
        """SIGSTOP: it does nothing more until it is continued."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(READY_TIMEOUT)
        except subprocess.TimeoutExpired:
            self.kill()

    def wait_until_ready(self) -> None:
        process = self._process
        assert process is not None
        # A process says that it listens only by answering; the event is never set and paces the attempts.
        pace = threading.Event()
        with httpx.Client(transport=httpx.HTTPTransport(verify=False), timeout=5) as client:
            for _attempt in range(int(READY_TIMEOUT / 0.05)):
                assert process.poll() is None, f"the server stopped by itself:\n{self.log}"
                with contextlib.suppress(httpx.TransportError):
                    if client.get(f"{self.url}/v1/health/").is_success:
                        return
                pace.wait(0.05)
        self.kill()
        raise AssertionError(f"the server was not ready in {READY_TIMEOUT} s:\n{self.log}")


class ForkedServer(ServerProcess):
    """One whose modules are loaded and whose database is made when it starts, so that it takes a fifth of the time."""

    def launch(self) -> None:
        if not forking.POSSIBLE:
            super().launch()
            return
        if "TERTULIA_DB" not in self._environment and not self._data_dir.exists():
            self._data_dir.mkdir(mode=0o700)
            with_tables(self._data_dir / "tertulia.db").chmod(0o600)
        arguments = ["serve", "--port", str(self._port), "--data-dir", str(self._data_dir)]
        self._process = forking.fork(self._module, arguments, self._environment, self._data_dir.parent, self._log_path)
