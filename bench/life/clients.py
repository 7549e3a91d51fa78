"""The clients of a long life: how each is started, and what it saw.

A client is told, as arguments, the server's address, an agent's id, how many streams it is to read and how many plain
replies. It writes a line for each: its kind, status, headers and body as JSON. It ends with 1, and says why, at the
first thing that it did not expect.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

_HERE = Path(__file__).resolve().parent / "drivers"
_ROOT = _HERE.parents[2]
_SDK = _ROOT / "tests/clients/typescript/node_modules/@letta-ai/letta-client/index.mjs"


class ClientFailed(Exception):
    """It ended before it had all replies; the message is what it said of it."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply as a client saw it; ``body`` is its text, or each event of it where the client reads events."""

    kind: str
    status: int
    headers: Sequence[tuple[str, str]]
    body: Sequence[str]


@dataclass(frozen=True, slots=True)
class Client:
    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict[str, str])

    def talk(self, url: str, agent_id: str, streams: int, plain: int) -> Iterator[Reply]:
        """The replies as they come.

        :raises ClientFailed: if it ends without all of them.
        """
        command = [*self.command, url, agent_id, str(streams), str(plain)]
        left = streams + plain
        with (
            tempfile.TemporaryFile() as errors,
            subprocess.Popen(
                command, cwd=_ROOT, env=os.environ | self.environment, stdout=subprocess.PIPE, stderr=errors
            ) as process,
        ):
            try:
                for line in process.stdout or ():
                    kind, status, headers, body = cast("tuple[str, int, list[list[str]], list[str]]", json.loads(line))
                    left -= 1
                    yield Reply(kind, status, [(name, value) for name, value in headers], body)
                if process.wait() or left:
                    errors.seek(0)
                    said = errors.read().decode(errors="replace").strip()
                    message = f"{self.name} ended with {process.returncode}, {left} replies short: {said[-2000:]}"
                    raise ClientFailed(message)
            finally:
                process.kill()


def clients() -> Sequence[Client]:
    """Those that this machine can run: two of them need Node, and one of these what `make clients` installs."""
    python = [sys.executable, "-m"]
    found = [
        Client("http.client", [*python, "bench.life.drivers.http_client"]),
        Client("Python SDK", [*python, "bench.life.drivers.python_sdk"]),
    ]
    node = shutil.which("node")
    if node is not None:
        found.append(Client("fetch", [node, str(_HERE / "fetch.mjs")]))
        if _SDK.is_file():
            found.append(Client("TypeScript SDK", [node, str(_HERE / "typescript_sdk.mjs")], {"SDK": _SDK.as_uri()}))
    return found
