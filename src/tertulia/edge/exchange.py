"""One request and its reply: ASGI on the application's side, bytes on the connection's."""

import asyncio
import http
import logging
import re
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final, Protocol, TypeAlias

import structlog

log = structlog.get_logger(__name__)
_access = logging.getLogger("uvicorn.access")

Message: TypeAlias = Any
Application: TypeAlias = Callable[[Any, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Any]

_WRONG_NAME: Final = re.compile(rb'[\x00-\x1f\x7f-\xff()<>@,;:\[\]={} \t\\"/?]')
_WRONG_VALUE: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_NO_BODY: Final = frozenset({204, 304})
_FAILED: Final = b'{"detail":"INTERNAL: the server failed to answer this request. The server\'s log says why."}'


def _status_line(status: int) -> bytes:
    try:
        phrase = http.HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    return f"HTTP/1.1 {status} {phrase}\r\n".encode()


_STATUS_LINES: Final = tuple(_status_line(status) for status in range(600))


class Wire(Protocol):
    """What an exchange asks of its connection."""

    access_log: bool

    def write(self, data: bytes) -> None: ...
    async def writable(self) -> None: ...
    def body_taken(self) -> None: ...
    def may_be_kept(self, exchange: "Exchange") -> bool: ...
    def replied(self, exchange: "Exchange") -> None: ...
    def broken(self) -> None: ...
    def default_headers(self) -> Iterable[tuple[bytes, bytes]]: ...


class Exchange:
    """``length`` is what the request announces for its body: None if it comes in chunks.

    ``gone`` is set when nobody is there to read the reply. ``keep_alive`` is whether another request may follow.
    """

    __slots__ = (
        "_announced", "_changed", "_chunked", "_head", "_left", "_wire", "body", "expects_continue", "gone",
        "got", "keep_alive", "length", "more_body", "replied", "replying", "scope",
    )  # fmt: skip

    def __init__(
        self, wire: Wire, scope: dict[str, Any], *, keep_alive: bool, expects_continue: bool, length: int | None
    ) -> None:
        self._wire = wire
        self.scope = scope
        self.keep_alive = keep_alive
        self.expects_continue = expects_continue
        self.length = length
        self.body = bytearray()
        self.got = 0
        self.more_body = True
        self.gone = False
        self.replying = False
        self.replied = False
        self._changed = asyncio.Event()
        self._chunked = False
        self._announced = -1  # until the reply says how long it is
        self._left = 0
        self._head: list[bytes] | None = None

    async def run(self, application: Application) -> None:
        """Let the application answer. Whatever becomes of it, the connection is told."""
        try:
            await application(self.scope, self.receive, self.send)
        except asyncio.CancelledError:
            self._wire.broken()
            raise
        except Exception as error:
            if self.replying:
                # The application's own guard has written down why; the reader must see that there was to be more.
                log.warning("reply broken off", path=self.scope["path"], error=type(error).__name__)
                self._wire.broken()
            else:
                log.exception("unexpected failure", method=self.scope["method"], exc_info=error)
                await self._fail()
        else:
            if self.gone or self.replied:
                return
            if self.replying:
                self._wire.broken()
            else:
                await self._fail()
        finally:
            if not self.replied:
                self._wire.replied(self)

    def feed(self, data: bytes) -> None:
        """More of the request's body."""
        self.got += len(data)
        if not self.replied:
            self.body += data
            self._changed.set()

    def body_ended(self) -> None:
        self.more_body = False
        self._changed.set()

    def leave(self) -> None:
        """Nobody is there any more."""
        self.gone = True
        self._changed.set()

    async def receive(self) -> Message:
        if self.expects_continue and not self.replying and not self.gone:
            self._wire.write(_CONTINUE)
            self.expects_continue = False
        if not (self.gone or self.replied):
            self._wire.body_taken()
            await self._changed.wait()
            self._changed.clear()
        if self.gone or self.replied:
            return {"type": "http.disconnect"}
        body, self.body = bytes(self.body), bytearray()
        self._wire.body_taken()
        return {"type": "http.request", "body": body, "more_body": self.more_body}

    async def send(self, message: Message) -> None:
        if not self.gone:
            await self._wire.writable()
        if self.gone:
            return
        kind = message["type"]
        if not self.replying and kind == "http.response.start":
            self._start(message["status"], message.get("headers", ()))
        elif self.replying and not self.replied and kind == "http.response.body":
            self._write(message.get("body", b""), more=message.get("more_body", False))
        else:
            complaint = f"an ASGI message '{kind}' that does not come now"
            raise RuntimeError(complaint)

    async def _fail(self) -> None:
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(_FAILED))]
        await self.send({"type": "http.response.start", "status": 500, "headers": headers})
        await self.send({"type": "http.response.body", "body": _FAILED, "more_body": False})

    def _start(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        head = [_STATUS_LINES[status], *self._header_lines(headers)]
        self.replying = True
        if self.scope["method"] == "HEAD" or status in _NO_BODY:
            self._announced = self._left = 0
        elif self._announced < 0 and self.scope["http_version"] == "1.0":
            self.keep_alive = False  # its end is the connection's
        elif self._announced < 0:
            self._chunked = True
            head.append(b"transfer-encoding: chunked\r\n")
        self.keep_alive = self.keep_alive and self._wire.may_be_kept(self)
        head.append(b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n")
        self.expects_continue = False
        if self._wire.access_log:
            self._note(status)
        # A reply that says how long it is comes at once, and in one packet; of a stream the start is news.
        self._head = head
        if self._announced < 0:
            self._flush(b"")

    def _header_lines(self, headers: Iterable[tuple[bytes, bytes]]) -> Iterable[bytes]:
        for given_name, value in (*self._wire.default_headers(), *headers):
            name = given_name.lower()
            if _WRONG_NAME.search(name) or _WRONG_VALUE.search(value):
                complaint = "a header of the reply that HTTP cannot carry"
                raise RuntimeError(complaint)
            if name == b"content-length":
                self._announced = self._left = int(value)
            elif name == b"connection":
                self.keep_alive = self.keep_alive and b"close" not in value.lower()
                continue
            yield b"%b: %b\r\n" % (name, value)

    def _flush(self, body: bytes) -> None:
        if self._head is None:
            if body:
                self._wire.write(body)
        else:
            self._head.append(body)
            head, self._head = self._head, None
            self._wire.write(b"".join(head))

    def _write(self, body: bytes, *, more: bool) -> None:
        if self._announced >= 0:
            if self.scope["method"] == "HEAD":
                body = b""
            self._left -= len(body)
            if self._left < 0 or (self._left and not more):
                complaint = "a reply that is not as long as it says"
                raise RuntimeError(complaint)
            self._flush(body)
        elif self._chunked:
            chunk = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            self._flush(chunk if more else chunk + b"0\r\n\r\n")
        else:
            self._flush(body)
        if not more:
            self.replied = True
            self._changed.set()
            self._wire.replied(self)

    def _note(self, status: int) -> None:
        host, port = self.scope["client"] or ("", 0)
        query = self.scope["query_string"].decode("latin-1")
        path = self.scope["raw_path"].decode("latin-1") + (f"?{query}" if query else "")
        version = self.scope["http_version"]
        _access.info('%s - "%s %s HTTP/%s" %d', f"{host}:{port}", self.scope["method"], path, version, status)
