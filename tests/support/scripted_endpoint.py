"""The part of a scriptable model endpoint that no protocol shows in: HTTP, scripts, gates. It invents nothing.

It runs an asyncio server in a thread, so that a test can drive it from outside a loop. Replies are scripted as lists
of acts; nothing in here waits for time except `Delay`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from abc import ABC, abstractmethod
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Protocol, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence

TIMEOUT = 15.0  # seconds a test waits for the server under test before it is called stuck


class Gate:
    """A point a reply waits at until the test opens it. `wait_reached` returns once the reply got there."""

    def __init__(self) -> None:
        self._reached = threading.Event()
        self.opened: Future[None] = Future()

    def open(self) -> None:
        if not self.opened.done():
            self.opened.set_result(None)

    def mark_reached(self) -> None:
        self._reached.set()

    def wait_reached(self) -> None:
        assert self._reached.wait(TIMEOUT), "the reply never came to the gate"


@dataclass(frozen=True, slots=True)
class Pause:
    gate: Gate


@dataclass(frozen=True, slots=True)
class Delay:
    """A latency to simulate, in seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Raw:
    """These bytes, whatever they are."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Drop:
    """The connection is cut here, without an end."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """An HTTP error instead of a reply."""

    status: int
    message: str = "refused"
    type: str = "invalid_request_error"
    code: str | None = None
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Whole:
    """A reply that is no stream but one JSON object."""

    body: dict[str, Any]


@dataclass(slots=True)
class Received:
    """One request as it came. `left` is set when the caller hung up before the reply was complete."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    content: bytes = b""
    left: threading.Event = field(default_factory=threading.Event)


class Encoder(Protocol):
    """Makes a protocol's bytes of a reply's acts, one after the other."""

    def encode(self, act: Any) -> Iterator[bytes]: ...


RequestT = TypeVar("RequestT", bound=Received)


def whole(data: bytes) -> Iterable[bytes]:
    """The cut that is none."""
    return (data,)


class _CallerLeft(Exception):
    pass


class ScriptedEndpoint(ABC, Generic[RequestT]):
    """Use as a context manager. `url` is the base URL to configure; `reset()` makes it new for the next test.

    A request is checked field by field the way the real service does: what it would refuse is answered with 400 and
    remembered in `violations`. `cut` says in which pieces the bytes of one act are sent.
    """

    base_path = ""
    post_path = ""
    request_id_header = "x-request-id"
    stream_type = "text/event-stream; charset=utf-8"
    default_models: tuple[str, ...] = ()

    def __init__(self) -> None:
        self.requests: list[RequestT] = []
        self.violations: list[str] = []
        self.models: tuple[str, ...] = self.default_models
        self.url = ""
        self.cut: Callable[[bytes], Iterable[bytes]] = whole
        self._script: list[Sequence[Any]] = []
        self._handler: Callable[[RequestT], Sequence[Any]] | None = None
        self._changed = threading.Condition()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="scripted-endpoint", daemon=True)
        self._connections: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        port = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(TIMEOUT)
        self.url = f"http://127.0.0.1:{port}{self.base_path}"
        return self

    def __exit__(self, *_exc: object) -> None:
        asyncio.run_coroutine_threadsafe(self._shut(), self._loop).result(TIMEOUT)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(TIMEOUT)
        self._loop.close()

    # What a protocol says of itself.

    @abstractmethod
    def received(self, path: str, headers: dict[str, str], body: dict[str, Any]) -> RequestT: ...

    @abstractmethod
    def find_violations(self, request: RequestT) -> list[str]:
        """Why the service would answer 400 (or 401) to this request; empty when it would not."""

    @abstractmethod
    def encoder(self, request: RequestT) -> Encoder: ...

    @abstractmethod
    def error_body(self, refusal: Refuse) -> dict[str, Any]: ...

    @abstractmethod
    def model_list(self) -> dict[str, Any]: ...

    def listing(self, path: str) -> dict[str, Any] | None:
        """What a GET of the path answers, if anything."""
        return self.model_list() if path.partition("?")[0].endswith("/models") else None

    def error_headers(self, refusal: Refuse) -> tuple[tuple[str, str], ...]:
        return refusal.headers

    @abstractmethod
    def ok(self) -> Sequence[Any]:
        """The reply to a request that no script is left for."""

    # What a test says.

    def script(self, *replies: Sequence[Any]) -> None:
        """Answer the next requests with these, in this order, and every later one with `ok`."""
        with self._changed:
            self._handler = None
            self._script = list(replies)

    def answer_with(self, handler: Callable[[RequestT], Sequence[Any]]) -> None:
        """Answer every request with what `handler` returns for it."""
        with self._changed:
            self._handler = handler

    def reset(self) -> None:
        with self._changed:
            self.requests, self.violations, self._script, self._handler = [], [], [], None
            self.models, self.cut = self.default_models, whole

    def wait_for_requests(self, count: int) -> list[RequestT]:
        """The requests so far, once there are at least `count`."""
        with self._changed:
            arrived = self._changed.wait_for(lambda: len(self.requests) >= count, TIMEOUT)
            assert arrived, f"{len(self.requests)} of {count} requests came"
            return list(self.requests)

    async def _listen(self) -> int:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, backlog=1024)
        return self._server.sockets[0].getsockname()[1]

    async def _shut(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            while await self._serve_one(reader, writer):
                pass
        except (_CallerLeft, ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the caller is gone or the endpoint shuts; there is nobody left to tell
        finally:
            self._connections.discard(task)
            writer.close()
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request of a kept-alive connection; False when the connection is over."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        request_line, *header_lines = head.rstrip("\r\n").split("\r\n")
        method, path, _version = request_line.split(" ")
        headers = {key.lower(): value.strip() for key, _, value in (line.partition(":") for line in header_lines)}
        content = await reader.readexactly(int(headers.get("content-length", "0")))
        if method == "GET" and (found := self.listing(path)) is not None:
            _write_json(writer, 200, found)
            await writer.drain()
            return True
        if method != "POST" or not path.endswith(self.post_path):
            _write_json(writer, 404, self.error_body(Refuse(404, f"no {method} {path}", "not_found_error")))
            await writer.drain()
            return True
        request = self.received(path, headers, json.loads(content))
        request.content = content
        return await self._answer(request, reader, writer)

    async def _answer(self, request: RequestT, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        violations = self.find_violations(request)
        with self._changed:
            self.requests.append(request)
            self.violations += violations
            reply = self._next_reply(request)
            self._changed.notify_all()
        if violations:
            reply = [Refuse(400, "; ".join(violations))]
        watch = asyncio.ensure_future(reader.read(1))  # a byte or the end: either way the caller is done with us
        try:
            return await self._perform(reply, request, writer, watch)
        except (_CallerLeft, ConnectionError):
            request.left.set()
            raise
        finally:
            watch.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                await watch

    def _next_reply(self, request: RequestT) -> Sequence[Any]:
        if self._handler is not None:
            return self._handler(request)
        return self._script.pop(0) if self._script else self.ok()

    async def _perform(
        self, reply: Sequence[Any], request: RequestT, writer: asyncio.StreamWriter, watch: asyncio.Future[bytes]
    ) -> bool:
        started = False
        encoder = self.encoder(request)
        async for act in _waiting(reply, watch):
            if isinstance(act, Refuse):
                _write_json(writer, act.status, self.error_body(act), self.error_headers(act))
                await writer.drain()
                return True
            if isinstance(act, Whole):
                _write_json(writer, 200, act.body)
                await writer.drain()
                return True
            if isinstance(act, Drop):
                writer.transport.abort()
                return False
            if not started:
                writer.write(_STREAM_HEAD % (self.stream_type.encode(), self.request_id_header.encode()))
                started = True
            for data in encoder.encode(act):
                for piece in self.cut(data):
                    writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True


async def _waiting(reply: Sequence[Any], watch: asyncio.Future[bytes]) -> AsyncIterator[Any]:
    """The acts of a reply, each when its time has come.

    :raises _CallerLeft: if the caller hangs up meanwhile.
    """
    for act in reply:
        pending: asyncio.Future[Any] | None = None
        if isinstance(act, Pause):
            act.gate.mark_reached()
            pending = asyncio.wrap_future(act.gate.opened)
        elif isinstance(act, Delay):
            pending = asyncio.ensure_future(asyncio.sleep(act.seconds))
        if pending is not None:
            await asyncio.wait({pending, watch}, return_when=asyncio.FIRST_COMPLETED)
        if watch.done():
            raise _CallerLeft
        yield act


_STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: %s\r\n%s: req_1\r\ntransfer-encoding: chunked\r\n\r\n"


def _write_json(
    writer: asyncio.StreamWriter, status: int, body: dict[str, Any], headers: tuple[tuple[str, str], ...] = ()
) -> None:
    data = json.dumps(body).encode()
    extra = "".join(f"{key}: {value}\r\n" for key, value in headers)
    head = f"HTTP/1.1 {status} -\r\ncontent-type: application/json\r\ncontent-length: {len(data)}\r\n{extra}\r\n"
    writer.write(head.encode("latin-1") + data)
