"""An HTTP server that answers with exactly the bytes a test gives, cut where the test cuts them. It checks nothing."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias

import msgspec

if TYPE_CHECKING:
    import ssl
    from collections.abc import Sequence


class Abort:
    """The connection is reset here."""


class Close:
    """The connection is closed here, in good order."""


class Hang:
    """Nothing more comes, until the caller hangs up."""


Step: TypeAlias = bytes | Abort | Close | Hang
SSE_HEAD: Final = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
END: Final = b"0\r\n\r\n"


def chunked(*pieces: bytes) -> list[Step]:
    """An event stream, each piece in an HTTP chunk and a write of its own."""
    return [SSE_HEAD, *(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces if piece), END]


def response(status: int, body: bytes, *headers: str, content_type: str = "application/json") -> list[Step]:
    """A whole response."""
    lines = [f"HTTP/1.1 {status} -", f"content-type: {content_type}", f"content-length: {len(body)}", *headers]
    return ["\r\n".join(lines).encode() + b"\r\n\r\n" + body]


def event(fields: dict[str, Any]) -> bytes:
    """One event as the service writes it."""
    return b"data: " + msgspec.json.encode(fields) + b"\n\n"


def delta(finish: str | None = None, **fields: Any) -> bytes:
    """One chunk of a reply."""
    return event({"id": "chatcmpl-1", "choices": [{"index": 0, "delta": fields, "finish_reason": finish}]})


DONE: Final = b"data: [DONE]\n\n"


@dataclass(slots=True)
class Seen:
    """One request as it came. ``left`` is set when the caller hung up while its reply was hanging."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    connection: int
    left: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def json(self) -> dict[str, Any]:
        return msgspec.json.decode(self.body)


class RawServer:
    """Use as an async context manager. The n-th request gets the n-th reply, later ones the last again."""

    def __init__(self, *replies: Sequence[Step], tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[Seen] = []
        self.connections = 0
        self.url = ""
        self._replies = list(replies)
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def script(self, *replies: Sequence[Step]) -> None:
        self._replies = list(replies)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._tls)
        self.url = f"{'https' if self._tls else 'http'}://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"
        return self

    async def __aexit__(self, *_exc: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        number = self.connections
        try:
            while await self._serve_one(reader, writer, number):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the caller is gone or the test is over
        finally:
            self._tasks.discard(task)
            writer.close()
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        line, *fields = head.rstrip("\r\n").split("\r\n")
        method, path, _ = line.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (text.partition(":") for text in fields)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        seen = Seen(method, path, headers, body, number)
        self.requests.append(seen)
        for step in self._replies.pop(0) if len(self._replies) > 1 else self._replies[0]:
            if isinstance(step, Abort):
                writer.transport.abort()
                return False
            if isinstance(step, Close):
                return False
            if isinstance(step, Hang):
                await reader.read(1)
                seen.left.set()
                return False
            writer.write(step)
            await writer.drain()
        return True
