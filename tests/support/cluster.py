"""Several server processes on one PostgreSQL, each with tools that write and points at which it dies."""

import asyncio
import json
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import asyncpg
import httpx

from tests.support.crashes import FAULTY, MODEL, environment_of
from tests.support.following import history
from tests.support.openai_endpoint import OpenAIEndpoint
from tests.support.scripted_endpoint import TIMEOUT
from tests.support.server_process import ForkedServer, ServerProcess

LEASE = 1.0  # seconds; the shortest there is


def client() -> httpx.Client:
    """One that loads no certificates, which takes longer than most requests, and keeps no connection to the dying."""
    transport = httpx.HTTPTransport(verify=False, limits=httpx.Limits(max_keepalive_connections=0))
    return httpx.Client(transport=transport, timeout=TIMEOUT)


HTTP = client()


class Cluster:
    """Its members die and come back; :meth:`members` are those to use now, all alive."""

    def __init__(self, folder: Path, database: str, count: int, settings: dict[str, str] | None = None) -> None:
        self.endpoint = OpenAIEndpoint()
        self.database = database
        self.effects = folder / "effects"
        self._folder = folder
        self._count = count
        self._settings = settings or {}
        self._servers: list[ServerProcess] = []
        self._faults: dict[ServerProcess, Path] = {}
        self._booting: set[ServerProcess] = set()

    def __enter__(self) -> Self:
        self.endpoint.__enter__()
        common = {"TERTULIA_DB": self.database, "TERTULIA_LEASE": str(LEASE), **self._settings}
        for number in range(self._count):
            fault_file = self._folder / f"fault{number}"
            environment = environment_of(self.endpoint, self.effects, fault_file) | common
            server = ForkedServer(self._folder / f"server{number}", environment, module=FAULTY)
            self._servers.append(server)
            self._faults[server] = fault_file
        for server in list(self._servers):
            self.begin(server)
        self.settle()
        return self

    def __exit__(self, *_exc: object) -> None:
        with ThreadPoolExecutor(self._count) as pool:
            list(pool.map(ServerProcess.stop, self._servers))
        self.endpoint.__exit__()

    def members(self, count: int = 2) -> list[ServerProcess]:
        """So many that are ready, those that were ready first."""
        ready = [server for server in self._servers if server not in self._booting]
        while len(ready) < count:
            server = next(each for each in self._servers if each in self._booting)
            self._ready(server)
            ready.append(server)
        return ready[:count]

    def fault_file(self, server: ServerProcess) -> Path:
        return self._faults[server]

    def begin(self, server: ServerProcess) -> None:
        """Start one that is dead; whoever needs it waits for it."""
        server.launch()
        self._booting.add(server)
        self._servers.sort(key=lambda each: each in self._booting)

    def settle(self) -> None:
        for server in list(self._booting):
            self._ready(server)

    def renew(self) -> None:
        """Make it as new for the next test."""
        self.endpoint.reset()
        self.effects.write_text("")
        for server in list(self._servers):
            if not server.alive:
                self.begin(server)

    def _ready(self, server: ServerProcess) -> None:
        server.wait_until_ready()
        self._booting.discard(server)

    def query(self, sql: str, *arguments: object) -> list[tuple[Any, ...]]:
        return query(self.database, sql, *arguments)


class Talk:
    """One conversation, spoken to through any server."""

    def __init__(self, server: ServerProcess, **agent: Any) -> None:
        self.agent_id: str = _post(f"{server.url}/v1/agents/", {"name": "Ada", "model": MODEL, **agent})["id"]
        self.id: str = _post(f"{server.url}/v1/conversations/?agent_id={self.agent_id}", {})["id"]
        self.path = f"/v1/conversations/{self.id}"

    def post(self, server: ServerProcess, what: str, body: dict[str, Any] | None = None) -> httpx.Response:
        return HTTP.post(f"{server.url}{self.path}/{what}", json=body)

    def say(self, server: ServerProcess, text: str, **fields: Any) -> dict[str, Any]:
        """Send a message and wait for the whole reply."""
        reply = self.post(server, "messages", {"input": text, "streaming": False, **fields})
        return reply.raise_for_status().json()

    def begin(self, server: ServerProcess, text: str, **fields: Any) -> str:
        """Send a message that is answered in the background; the id of its run."""
        body = {"input": text, "background": True, "stream_tokens": True, **fields}
        with HTTP.stream("POST", f"{server.url}{self.path}/messages", json=body) as reply:
            lines = (line for line in reply.iter_lines() if line.startswith("data: "))
            return json.loads(next(lines).removeprefix("data: "))["run_id"]

    def texts(self, server: ServerProcess) -> list[str]:
        """What was said, by both, the oldest first."""
        said = {"user_message", "assistant_message"}
        return [message["content"] for message in history(HTTP, server.url, self.id) if message["message_type"] in said]


def run_of(server: ServerProcess, run_id: str) -> dict[str, Any]:
    return HTTP.get(f"{server.url}/v1/runs/{run_id}").raise_for_status().json()


def wait_for(what: str, condition: Callable[[], bool]) -> None:
    """Ask until it holds: other processes' progress tells itself no other way."""
    pace = threading.Event()  # never set
    for _ in range(3000):
        if condition():
            return
        pace.wait(0.02)
    raise AssertionError(f"never came true: {what}")


def query(database: str, sql: str, *arguments: object) -> list[tuple[Any, ...]]:
    async def ask() -> Sequence[asyncpg.Record]:
        connection = await asyncpg.connect(database)
        try:
            return await connection.fetch(sql, *arguments)
        finally:
            await connection.close()

    return [tuple(row) for row in asyncio.run(ask())]


def _post(url: str, body: dict[str, Any]) -> dict[str, Any]:
    return HTTP.post(url, json=body).raise_for_status().json()
