"""The Letta Code CLI as a user starts it, headless, in a home and a project of its own."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from tests.support.databases import shared_directory

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from tests.support.server_process import ServerProcess

HERE = Path(__file__).parent
COMMAND = shutil.which("letta", path=str(Path(sys.executable).parent))
TIMEOUT = 60.0  # seconds until a command is called stuck


@dataclass(frozen=True, slots=True)
class LettaCode:
    """``home`` holds its settings, ``project`` is the directory it works in."""

    home: Path
    project: Path
    server: ServerProcess

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """One command, to its end."""
        assert COMMAND is not None
        return subprocess.run(
            [COMMAND, *arguments],
            cwd=self.project,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )

    def ask(self, prompt: str, *arguments: str) -> dict[str, Any]:
        """``letta -p``: what it prints about a turn that succeeded, its words in ``result``."""
        ran = self.run("-p", prompt, "--output-format", "json", *arguments)
        assert ran.returncode == 0, f"{ran.stdout}\n{ran.stderr}\n{self.server.log[-3000:]}"
        told = json.loads(ran.stdout)
        assert told["is_error"] is False, told
        return told

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """A command that goes on, as the head of a process group."""
        assert COMMAND is not None
        return subprocess.Popen(
            [COMMAND, *arguments],
            cwd=self.project,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    @contextmanager
    def app_server(self) -> Generator[AppServer]:
        """Letta Code serving other programs, and one that is connected."""
        with _ended(self.start("server", "--listen")) as server, _ended(self._driver(_listening(server))) as driver:
            yield AppServer(driver)

    def _driver(self, url: str) -> subprocess.Popen[str]:
        payload = _payload()
        return subprocess.Popen(
            [payload / "bin" / "node", HERE / "app_server.mjs", payload / "app" / "dist" / "app-server-client.js", url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    @property
    def _environment(self) -> dict[str, str]:
        return {
            "DISABLE_AUTOUPDATER": "1",
            "HOME": str(self.home),
            "LETTA_API_KEY": "unused",
            "LETTA_BASE_URL": self.server.url,
            "LETTA_CODE_TELEM": "0",
            # Its 24 MB of JavaScript are compiled once for all of these commands, not each time.
            "NODE_COMPILE_CACHE": str(shared_directory().parent / "compiled"),
            "PATH": os.environ["PATH"],
            "TMPDIR": str(self.home),
        }


class AppServer:
    """A connection to ``letta server --listen``."""

    def __init__(self, driver: subprocess.Popen[str]) -> None:
        assert driver.stdin is not None
        assert driver.stdout is not None
        self._commands: IO[str] = driver.stdin
        self._frames: Iterator[str] = driver.stdout

    def ask(self, command: str, **fields: Any) -> dict[str, Any]:
        """The reply to a command, which must succeed."""
        self._commands.write(json.dumps({"type": command, "request_id": command} | fields) + "\n")
        self._commands.flush()
        reply = next(frame for frame in self._parsed() if frame.get("request_id") == command)
        assert reply.get("success", reply.get("accepted")), reply
        return reply

    def wait_for(self, frame_type: str) -> dict[str, Any]:
        return next(frame for frame in self._parsed() if frame["type"] == frame_type)

    def _parsed(self) -> Iterator[dict[str, Any]]:
        for line in self._frames:
            assert line.startswith("{"), line
            yield json.loads(line)
        raise AssertionError("the app server hung up")


@contextmanager
def _ended(process: subprocess.Popen[str]) -> Generator[subprocess.Popen[str]]:
    with process:
        try:
            yield process
        finally:
            process.terminate()


def _listening(server: subprocess.Popen[str]) -> str:
    assert server.stdout is not None
    said = ""
    for line in server.stdout:
        said += line
        if found := re.search(r"ws://\S+", line):
            return found[0]
    raise AssertionError(f"letta server did not start:\n{said}")


def _payload() -> Path:
    """Where the package keeps its Node and its JavaScript."""
    assert COMMAND is not None
    return next(Path(COMMAND).parents[1].glob("lib/python*/site-packages/letta_code/_payload"))
