"""Very many streams at once: `python -m bench.streams [--streams 1000] [--rate 20] [--seconds 20] [--db URL]`.

An endpoint in a process of its own writes a token into each stream at its rate, and in the token the time. A reader in
another process takes the time again when the token has come through the server. Both clocks are the machine's monotonic
one. Prints JSON: delays in milliseconds, tokens that were lost, the server's memory and processor time.
"""

import argparse
import asyncio
import json
import re
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from bench import api
from bench.client import Connection
from bench.eventloop import run
from bench.processes import Child, server

_TOKEN = re.compile(rb"t(\d+)\.(\d+) ")
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_END = (
    b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{},'
    b'"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
)
_DATA = (
    b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":'
    b'{"content":"t%d.%d "},"finish_reason":null}]}\n\n'
)


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


class _Endpoint(asyncio.Protocol):
    """Answers every completion with a token each gap, for so many tokens. The streams are written to in turn."""

    def __init__(self, due: deque["_Endpoint"], tokens: int) -> None:
        self._queue = due
        self._tokens = tokens
        self._sent = 0
        self._received = b""
        self._transport: asyncio.Transport | None = None
        self.at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._transport = None

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, separator, body = self._received.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
        if not separator or len(body) < int(length[1] if length else 0) or self._transport is None:
            return
        self._received = b""
        if head.startswith(b"GET"):
            self._transport.write(b'HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n{"data":[]}')
            return
        self._transport.write(_HEAD)
        self._sent, self.at = 0, time.monotonic()
        self._queue.append(self)

    def write(self) -> bool:
        """Write the next token; whether there are more."""
        if self._transport is None:
            return False
        if self._sent == self._tokens:
            self._transport.write(_chunk(_END) + b"0\r\n\r\n")
            return False
        data = _DATA % (self._sent, time.monotonic_ns() // 1000)
        self._transport.write(b"%x\r\n%s\r\n" % (len(data), data))
        self._sent += 1
        return True


async def _write_in_turn(due: deque[_Endpoint], gap: float) -> None:
    """Write to each stream when its time has come. All have the same gap, so the first in the queue is the next."""
    while True:
        now = time.monotonic()
        while due and due[0].at <= now:
            stream = due.popleft()
            if stream.write():
                stream.at += gap
                due.append(stream)
        await asyncio.sleep(0.001)


async def _serve_endpoint(gap: float, tokens: int) -> None:
    loop = asyncio.get_running_loop()
    due: deque[_Endpoint] = deque()
    listening = await loop.create_server(lambda: _Endpoint(due, tokens), "127.0.0.1", 0, backlog=4096)
    print(json.dumps({"port": listening.sockets[0].getsockname()[1]}), flush=True)
    await _write_in_turn(due, gap)


class _Reader(asyncio.Protocol):
    """Sends one request, and counts the tokens of its reply that come in order; ``done`` is set at its end."""

    def __init__(self, request: bytes, delays: list[tuple[int, float]]) -> None:
        self.tokens = 0
        self.sent = time.monotonic_ns() // 1000
        self.first = 0
        self.last = 0
        self.done = asyncio.get_running_loop().create_future()
        self._request = request
        self._delays = delays
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast("asyncio.Transport", transport).write(self._request)

    def data_received(self, data: bytes) -> None:
        now = time.monotonic_ns() // 1000
        data = self._rest + data
        for number, at in _TOKEN.findall(data):
            self.tokens += int(number) == self.tokens
            self._delays.append((now, (now - int(at)) / 1000))
        if not self.first and _TOKEN.search(data):
            self.first = now
        self.last = now
        last = data.rfind(b" ")
        self._rest = data[last + 1 :] if last >= 0 else data
        if b"[DONE]" in data and not self.done.done():
            self.done.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        if not self.done.done():
            self.done.set_result(None)


async def _read(port: int, conversation_id: str, delays: list[tuple[int, float]]) -> _Reader:
    request = api.message(conversation_id, streaming=True)
    loop = asyncio.get_running_loop()
    transport, reader = await loop.create_connection(lambda: _Reader(request, delays), "127.0.0.1", port)
    await reader.done
    transport.close()
    return reader


async def _measure(child: Child, streams: int, tokens: int, spread: float) -> dict[str, object]:
    async with Connection(child.port) as connection:
        agent_id = await api.create(connection, api.agent("stamped"))
        ids = await api.create_conversations(connection, agent_id, streams)
    delays: list[tuple[int, float]] = []  # when a token came, and how late
    cpu, started = child.cpu_seconds() or 0.0, time.perf_counter()
    peak = 0.0

    async def one(index: int, conversation_id: str) -> _Reader:
        await asyncio.sleep(spread * index / streams)
        return await _read(child.port, conversation_id, delays)

    async def watch() -> None:
        nonlocal peak
        while True:
            memory = child.memory()
            peak = max(peak, memory.rss_mb if memory else 0.0)
            await asyncio.sleep(0.5)

    watching = asyncio.create_task(watch())
    readers = await asyncio.gather(*(one(index, id_) for index, id_ in enumerate(ids)))
    watching.cancel()
    wall = time.perf_counter() - started
    count = sum(reader.tokens for reader in readers)
    begin, end = max(reader.first for reader in readers), min(reader.last for reader in readers)
    return {
        "streams": streams,
        "tokens": count,
        "lost": streams * tokens - count,
        "delay_ms": _quantiles([delay for _, delay in delays]),
        "first_token_ms": _quantiles([(reader.first - reader.sent) / 1000 for reader in readers]),
        "all_open_s": round((end - begin) / 1e6, 1),
        "all_open_delay_ms": _quantiles([delay for at, delay in delays if begin < at < end]),
        "memory_mb": peak,
        "cpu_share": round(((child.cpu_seconds() or 0.0) - cpu) / wall, 2),
        "seconds": round(wall, 1),
    }


def _quantiles(delays: list[float]) -> dict[str, float]:
    """Of all tokens; the median, the slowest tenth and hundredth, and the slowest."""
    if not delays:
        return {}
    delays.sort()
    wanted = (("median", 0.5), ("p90", 0.9), ("p99", 0.99))
    return {name: round(delays[int(len(delays) * at)], 1) for name, at in wanted} | {"worst": round(delays[-1], 1)}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.streams", description=__doc__)
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=20, help="tokens a second of each stream")
    parser.add_argument("--seconds", type=float, default=20, help="how long each stream lasts")
    parser.add_argument("--spread", type=float, default=5, help="seconds over which the streams are opened")
    parser.add_argument("--db", help="the server's --db")
    parser.add_argument("--endpoint", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    tokens = int(options.seconds * options.rate)
    if options.endpoint:
        run(_serve_endpoint(1 / options.rate, tokens))
        return
    command = [sys.executable, "-m", "bench.streams", "--endpoint", "--rate", str(options.rate)]
    command += ["--seconds", str(options.seconds)]
    root = Path(__file__).resolve().parent.parent
    with (
        subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE) as endpoint,
        tempfile.TemporaryDirectory(prefix="tertulia-bench-") as folder,
    ):
        line = endpoint.stdout.readline() if endpoint.stdout else b"{}"
        tertulia = Path(sys.executable).parent / "tertulia"
        more = ["--db", options.db] if options.db else []
        try:
            with server(tertulia, Path(folder), json.loads(line)["port"], more) as child:
                print(json.dumps(run(_measure(child, options.streams, tokens, options.spread)), indent=2))
        finally:
            endpoint.terminate()


if __name__ == "__main__":
    main()
