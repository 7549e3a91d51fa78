"""A raw HTTP/1.1 client: one keep-alive connection, one request at a time, parsed after the clock has stopped.

It exists so that the load costs little and tells when each byte came; it is no general client (no TLS, no redirects).
"""

import asyncio
import json
import re
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self, cast

_LENGTH = re.compile(rb"\r\ncontent-length:\s*(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:\s*chunked", re.IGNORECASE)

TIMEOUT_S = 120.0
"""A request that takes longer is a failure of the run, not a measurement."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer and when it came; clock values are those of `time.perf_counter`.

    Attributes:
        raw: the body as received, with its chunk framing when `chunked`.
        arrivals: for each read, when it happened and how many bytes of `raw` had come by then.
    """

    status: int
    raw: bytes
    chunked: bool
    sent_at: float
    arrivals: tuple[tuple[float, int], ...]

    @property
    def seconds(self) -> float:
        """From sending the request to the last byte."""
        return self.arrivals[-1][0] - self.sent_at

    @property
    def body(self) -> bytes:
        return decode_chunks(self.raw) if self.chunked else self.raw

    def json(self) -> object:
        return cast("object", json.loads(self.body))

    def seconds_to(self, marker: bytes) -> float | None:
        """From sending the request to the read that completed the first `marker`; None if it never came."""
        found = self.raw.find(marker)
        if found < 0:
            return None
        end = found + len(marker)
        return next(at for at, received in self.arrivals if received >= end) - self.sent_at

    def events(self) -> list[str]:
        """The data of each server-sent event, in order."""
        frames = self.body.decode().split("\n\n")
        lines = (line for frame in frames for line in frame.split("\n"))
        return [line.removeprefix("data:").lstrip() for line in lines if line.startswith("data:")]


def request_bytes(method: str, path: str, body: object = None) -> bytes:
    """A request, ready to be written any number of times."""
    content = b"" if body is None else json.dumps(body, separators=(",", ":")).encode()
    head = f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: {len(content)}\r\n"
    if content:
        head += "content-type: application/json\r\n"
    return head.encode() + b"\r\n" + content


def decode_chunks(raw: bytes) -> bytes:
    """Take off HTTP chunk framing.

    Raises:
        ValueError: when the framing is broken or the last chunk is missing.
    """
    parts: list[bytes] = []
    at = 0
    while True:
        line_end = raw.index(b"\r\n", at)
        size = int(raw[at:line_end].split(b";")[0], 16)
        start = line_end + 2
        if size == 0:
            return b"".join(parts)
        if len(raw) < start + size + 2:
            raise ValueError("the body ends inside a chunk")
        parts.append(raw[start : start + size])
        at = start + size + 2


class _Protocol(asyncio.Protocol):
    """Collects one answer at a time and notes when its parts came."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiter: asyncio.Future[Reply] | None = None
        self._head = b""
        self._raw = bytearray()
        self._arrivals: list[tuple[float, int]] = []
        self._length: int | None = None  # None: chunked
        self._sent_at = 0.0
        self._transport: asyncio.Transport | None = None
        self._lost: Exception | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._lost = exc or ConnectionResetError("the peer closed the connection")
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(self._lost)

    def send(self, request: bytes) -> asyncio.Future[Reply]:
        if self._transport is None:
            raise self._lost or ConnectionError("not connected")
        if self._waiter is not None:
            raise RuntimeError("a request is already under way on this connection")
        self._waiter = self._loop.create_future()
        self._head = b""
        self._raw.clear()
        self._arrivals = []
        self._sent_at = time.perf_counter()
        self._transport.write(request)
        return self._waiter

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        if not self._head:
            data = self._take_head(data)
            if not self._head:
                return
        self._raw += data
        self._arrivals.append((now, len(self._raw)))
        if self._is_complete():
            self._finish()

    def _take_head(self, data: bytes) -> bytes:
        """Read the head once all of it is there; returns what follows it."""
        self._raw += data
        end = self._raw.find(b"\r\n\r\n")
        if end < 0:
            return b""
        self._head = bytes(self._raw[: end + 2])
        rest = bytes(self._raw[end + 4 :])
        self._raw.clear()
        length = _LENGTH.search(self._head)
        if length is None and not _CHUNKED.search(self._head):
            raise ValueError("the answer has neither a length nor chunks")
        self._length = int(length[1]) if length else None
        return rest

    def _is_complete(self) -> bool:
        if self._length is not None:
            return len(self._raw) >= self._length
        # No JSON or event of ours holds a bare carriage return, so these bytes are the framing's last chunk.
        return self._raw.endswith(b"0\r\n\r\n")

    def _finish(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is None or waiter.done():
            return
        waiter.set_result(
            Reply(
                status=int(self._head[9:12]),
                raw=bytes(self._raw),
                chunked=self._length is None,
                sent_at=self._sent_at,
                arrivals=tuple(self._arrivals),
            )
        )

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


class Connection:
    """One connection to a port on loopback, opened by `async with`."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._protocol: _Protocol | None = None

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        _, self._protocol = await loop.create_connection(_Protocol, "127.0.0.1", self._port)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._protocol is not None:
            self._protocol.close()

    async def send(self, request: bytes) -> Reply:
        """Send a request and wait for the whole answer.

        Raises:
            TimeoutError: if the answer takes longer than `TIMEOUT_S`.
            ConnectionError: if the peer closes the connection first.
        """
        if self._protocol is None:
            raise RuntimeError("open the connection with `async with` first")
        async with asyncio.timeout(TIMEOUT_S):
            return await self._protocol.send(request)
