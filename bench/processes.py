"""The two child processes of a run: the fake endpoint and the server, started, watched and stopped."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

READY_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 15.0
_POLL_S = 0.002
_HEALTH = b"GET /v1/health HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n"
_OK = b"HTTP/1.1 200"


class StartFailed(Exception):
    """A child process ended or stayed silent; the message carries the end of its log."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident memory in megabytes (10⁶ bytes): now, and the most there ever was."""

    rss_mb: float
    peak_mb: float


@dataclass(frozen=True, slots=True)
class Child:
    """A running process. Readings are None where there is no `/proc`."""

    pid: int
    port: int
    ready_ms: float

    def memory(self) -> Memory | None:
        try:
            status = Path(f"/proc/{self.pid}/status").read_text()
        except FileNotFoundError:
            return None
        fields = dict(line.split(":", 1) for line in status.splitlines())
        return Memory(rss_mb=_megabytes(fields["VmRSS"]), peak_mb=_megabytes(fields["VmHWM"]))

    def cpu_seconds(self) -> float | None:
        """Processor time of all its threads so far, in steps of 10 ms."""
        try:
            stat = Path(f"/proc/{self.pid}/stat").read_text()
        except FileNotFoundError:
            return None
        fields = stat.rpartition(")")[2].split()  # the command's name, in parentheses, may hold spaces
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _megabytes(field: str) -> float:
    return round(int(field.split(maxsplit=1)[0]) * 1024 / 1e6, 1)


@contextmanager
def fake_endpoint() -> Generator[Child]:
    started = time.perf_counter()
    command = [sys.executable, "-m", "bench.endpoint"]
    root = Path(__file__).resolve().parent.parent
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE) as process:
        try:
            line = process.stdout.readline() if process.stdout else b""
            if not line:
                raise StartFailed("the fake endpoint ended before it listened")
            port = cast("dict[str, int]", json.loads(line))["port"]
            yield Child(process.pid, port, (time.perf_counter() - started) * 1000)
        finally:
            process.terminate()


@contextmanager
def server(tertulia: Path, folder: Path, endpoint_port: int, more: Sequence[str] = ()) -> Generator[Child]:
    """Run the server on a free port with `folder/data` as its data directory, until the block is left.

    `more` are further options of `tertulia serve`.

    Raises:
        StartFailed: if it ends, or is not ready within `READY_TIMEOUT_S`.
    """
    port = free_port()
    command = [tertulia, "serve", "--host", "127.0.0.1", "--port", str(port), "--data-dir", folder / "data", *more]
    log = server_log(folder)
    with log.open("ab") as output:
        started = time.perf_counter()
        process = subprocess.Popen(
            command,
            cwd=folder,  # no `.env` of the developer's is found here
            env=_environment(endpoint_port),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            _wait_until_ready(process, port, log)
            yield Child(process.pid, port, (time.perf_counter() - started) * 1000)
        finally:
            _stop(process)


def server_log(folder: Path) -> Path:
    return folder / "server.log"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return cast("tuple[str, int]", probe.getsockname())[1]


def _environment(endpoint_port: int) -> dict[str, str]:
    """The caller's environment without its models and settings: only the fake endpoint is configured."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("TERTULIA_") and not name.endswith(("_API_KEY", "_BASE_URL", "_API_BASE", "_PROXY"))
    }
    return {**kept, "OPENAI_API_KEY": "bench", "OPENAI_BASE_URL": f"http://127.0.0.1:{endpoint_port}/v1"}


def _wait_until_ready(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + READY_TIMEOUT_S
    while not _is_healthy(port):
        if process.poll() is not None:
            raise StartFailed(f"the server ended with code {process.returncode}:\n{end_of(log)}")
        if time.monotonic() > deadline:
            raise StartFailed(f"the server was not ready after {READY_TIMEOUT_S:.0f} s:\n{end_of(log)}")
        time.sleep(_POLL_S)


def _is_healthy(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(_HEALTH)
            return connection.recv(len(_OK), socket.MSG_WAITALL) == _OK
    except OSError:
        return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        _ = process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        _ = process.wait()


def end_of(log: Path, lines: int = 40) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) if log.exists() else ""
