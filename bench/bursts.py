"""A model that outruns the store: `python -m bench.bursts [--tokens 20000] [--readers 50] [--stall 10] [--postgres]`.

A model sends all its deltas as fast as they are taken, and in each its number. When the first has come, the store is
stopped for some seconds: another connection holds SQLite's write lock, or PostgreSQL's table of events. Meanwhile many
clients read the run: by token, by message, from the middle on, and as blocking replies of their own. Each must get
every delta once and in order, or be told that its stream was broken off. Prints JSON; exit code 1 if one was wrong.
"""

import argparse
import asyncio
import json
import re
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import asyncpg
import httpx

from bench.processes import Child, server
from tertulia.store.postgres import embedded

_TOKEN = re.compile(r"t(\d+)\.\d+ ")
_MODEL = "openai/stamped"
_ROOT = Path(__file__).resolve().parent.parent


@contextmanager
def _endpoint(tokens: int, rate: int) -> Generator[int]:
    command = [sys.executable, "-m", "bench.streams", "--endpoint"]
    command += ["--rate", str(rate), "--seconds", repr((tokens + 0.5) / rate)]
    with subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.PIPE) as process:
        try:
            line = process.stdout.readline() if process.stdout else b"{}"
            yield json.loads(line)["port"]
        finally:
            process.terminate()


async def _stall(database: str, seconds: float) -> None:
    """Let nothing of the events be written for so long."""
    if database.startswith("postgresql"):
        connection = await asyncpg.connect(database)
        async with connection.transaction():
            await connection.execute("LOCK TABLE event_chunks IN ACCESS EXCLUSIVE MODE")
            await asyncio.sleep(seconds)
        await connection.close()
        return
    held = sqlite3.connect(database, isolation_level=None, timeout=30)
    held.execute("BEGIN IMMEDIATE")
    await asyncio.sleep(seconds)
    held.execute("ROLLBACK")
    held.close()


class _Clients:
    def __init__(self, url: str, tokens: int) -> None:
        self.http = httpx.AsyncClient(base_url=url, timeout=180, limits=httpx.Limits(max_connections=None))
        self.tokens = tokens
        self.wrong: list[str] = []
        self.kinds: Counter[str] = Counter()

    async def conversation(self) -> str:
        agent = (await self.http.post("/v1/agents/", json={"name": "burst", "model": _MODEL})).json()["id"]
        return (await self.http.post("/v1/conversations/", params={"agent_id": agent}, json={})).json()["id"]

    async def read(self, kind: str, path: str, body: dict[str, Any], first: asyncio.Event | None = None) -> str | None:
        """Read a stream to its end and judge it; the id of its run."""
        raw = bytearray()
        async with self.http.stream("POST", path, json=body) as reply:
            async for chunk in reply.aiter_bytes():
                raw += chunk
                if first is not None and b" " in raw and b"t0." in raw:
                    first.set()
        self.judge(kind, raw.decode(), body.get("starting_after", 0))
        found = re.search(r'"run_id":"(run-[^"]+)"', raw.decode())
        return found and found[1]

    def judge(self, kind: str, text: str, after: int) -> None:
        frames = [json.loads(line[6:]) for line in text.split("\n") if line.startswith("data: {")]
        told = [frame for frame in frames if frame.get("message_type") == "error_message"]
        said = "".join(frame["content"] for frame in frames if frame.get("message_type") == "assistant_message")
        numbers = [int(number) for number in _TOKEN.findall(said)]
        whole = list(range(self.tokens))
        if numbers == (whole[-len(numbers) :] if after and numbers else whole) and "data: [DONE]" in text:
            self.kinds[f"{kind}: whole"] += 1
        elif told or "data: [DONE]" not in text:
            self.kinds[f"{kind}: told"] += 1
        else:
            self.kinds[f"{kind}: wrong"] += 1
            gap = next((at for at, (one, next_one) in enumerate(pairwise(numbers)) if next_one != one + 1), None)
            self.wrong.append(
                f"{kind}: {len(numbers)} of {self.tokens} deltas, the first gap after {gap}: {text[-200:]}"
            )

    async def blocking(self) -> None:
        id_ = await self.conversation()
        reply = await self.http.post(f"/v1/conversations/{id_}/messages", json={"input": "go", "streaming": False})
        said = "".join(message.get("content") or "" for message in reply.json().get("messages", ()))
        numbers = [int(number) for number in _TOKEN.findall(said)]
        if reply.is_server_error:
            self.kinds["blocking: told"] += 1
        elif numbers == list(range(self.tokens)):
            self.kinds["blocking: whole"] += 1
        else:
            self.kinds["blocking: wrong"] += 1
            self.wrong.append(f"blocking: {reply.status_code} with {len(numbers)} deltas")


async def _measure(child: Child, database: str, options: argparse.Namespace) -> dict[str, object]:
    clients = _Clients(f"http://127.0.0.1:{child.port}", options.tokens)
    ids = [await clients.conversation() for _ in range(2)]
    first = asyncio.Event()
    body = {"input": "go", "streaming": True, "background": True, "stream_tokens": True}
    began = time.perf_counter()
    sending = asyncio.create_task(clients.read("by token", f"/v1/conversations/{ids[0]}/messages", body, first))
    await first.wait()
    stalling = asyncio.create_task(_stall(database, options.stall))
    run = (await clients.http.get("/v1/runs/", params={"conversation_id": ids[0]})).json()[0]["id"]
    others: list[Any] = []
    for reader in range(options.readers):
        if reader % 5 == 0 and reader // 5 < options.blocking:
            others.append(clients.blocking())
        elif reader % 5 == 1:
            others.append(clients.read("resumed", f"/v1/runs/{run}/stream", {"starting_after": 7 + reader * 31}))
        else:
            others.append(clients.read("late", f"/v1/runs/{run}/stream", {"starting_after": 0}))
    plain = {"input": "go", "streaming": True}
    others.append(clients.read("by message", f"/v1/conversations/{ids[1]}/messages", plain))
    await asyncio.gather(sending, stalling, *others)
    seconds = time.perf_counter() - began
    await clients.read("afterwards", f"/v1/runs/{run}/stream", {"starting_after": 0})
    listed = (await clients.http.get(f"/v1/conversations/{ids[0]}/messages", params={"order": "asc"})).json()
    kept = [int(n) for message in listed for n in _TOKEN.findall(str(message.get("content")))]
    if kept != list(range(options.tokens)):
        clients.wrong.append(f"stored: {len(kept)} deltas")
    runs = (await clients.http.get("/v1/runs/", params={"limit": 1000})).json()
    clients.wrong += [
        f"run {each['id']} is {each['status']}" for each in runs if each["status"] in {"running", "created"}
    ]
    memory = child.memory()
    await clients.http.aclose()
    return {
        "tokens": options.tokens,
        "readers": dict(clients.kinds),
        "runs": dict(Counter(each["status"] for each in runs)),
        "seconds": round(seconds, 1),
        "memory_mb": memory and memory.peak_mb,
        "wrong": clients.wrong,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.bursts", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--tokens", type=int, default=20_000)
    parser.add_argument("--rate", type=int, default=1_000_000, help="deltas a second, at most")
    parser.add_argument("--readers", type=int, default=50)
    parser.add_argument("--blocking", type=int, default=3, help="how many readers send messages of their own")
    parser.add_argument("--stall", type=float, default=10.0, help="seconds for which the store takes nothing")
    parser.add_argument("--postgres", action="store_true")
    options = parser.parse_args(arguments)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tertulia-bench-")))
        database, more = str(folder / "data" / "tertulia.db"), list[str]()
        if options.postgres:
            postgres = embedded.start(
                Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tertulia-pg-"))) / "pg"
            )
            stack.callback(postgres.close)
            database = postgres.url
            more = ["--db", database]
        port = stack.enter_context(_endpoint(options.tokens, options.rate))
        tertulia = Path(sys.executable).parent / "tertulia"
        child = stack.enter_context(server(tertulia, folder, port, more))
        outcome = asyncio.run(_measure(child, database, options))
    print(json.dumps(outcome, indent=2))
    return 1 if outcome["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
