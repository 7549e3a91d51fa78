"""HTTP/1.1 for the HTTP client, straight on the event loop; knows no proxies, no upgrades and no HTTP/2.

The client's own transport looks at every open connection before and after each request and takes 60 µs to read a chunk.
This one keeps idle connections on a stack and is told by the loop when one closes, so that a request costs the same
with one conversation and with a hundred. Times are seconds.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from typing import Final, TypeAlias, cast

import httptools
import httpx2

from tertulia.providers.http.sockets import open_socket

_MAX_BUFFERED: Final = 256 * 1024
"""Bytes a connection holds for a slow reader before it stops reading from the network."""

_MAX_HEAD: Final = 64 * 1024
_IDLE_SECONDS: Final = 60.0

_CROWD: Final = 200
_GATHERED_SECONDS: Final = 0.00015
_LONGEST_GATHERING: Final = 0.15
"""With more than so many replies coming at once, what comes of one is gathered before its reader is woken: so long for
each of them, and no longer than this. It costs as much to wake a reader for one token as for five."""

_Origin: TypeAlias = tuple[str, str, int]


class AsyncioTransport(httpx2.AsyncBaseTransport):
    """A transport for one event loop. Idle connections are used again for a minute, the latest one first."""

    def __init__(self) -> None:
        self._idle: dict[_Origin, list[_Connection]] = {}
        self._replying: set[_Connection] = set()
        self._ssl_context: ssl.SSLContext | None = None

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send the request and return the reply once its headers are there.

        :raises httpx2.TransportError: if that is not possible.
        """
        timeouts = cast("dict[str, float | None]", request.extensions.get("timeout", {}))
        message = await _encoded(request)
        origin = (request.url.scheme, request.url.host, request.url.port or _PORTS[request.url.scheme])
        connection = self._take(origin)
        if connection is not None:
            try:
                return await self._exchange(connection, message, timeouts)
            except httpx2.NetworkError:
                # Closed by the other side while it lay idle: nothing of the reply had come, so a new one may be used.
                if connection.spoke:
                    raise
        connection = await self._connect(origin, timeouts.get("connect"))
        return await self._exchange(connection, message, timeouts)

    async def aclose(self) -> None:
        idle, self._idle = self._idle, {}
        for connection in (connection for connections in idle.values() for connection in connections):
            connection.abort()

    async def _exchange(
        self, connection: "_Connection", message: bytes, timeouts: dict[str, float | None]
    ) -> httpx2.Response:
        read_timeout = timeouts.get("read")
        try:
            connection.send(message)
            while not connection.head_complete:
                await connection.wait(read_timeout)
        except BaseException:
            connection.abort()
            raise
        return httpx2.Response(
            connection.status,
            headers=connection.headers,
            stream=_Body(connection, self, read_timeout),
            extensions={"http_version": b"HTTP/1.1"},
        )

    def _take(self, origin: _Origin) -> "_Connection | None":
        connections = self._idle.get(origin, [])
        while connections:
            connection = connections.pop()
            if connection.usable():
                return connection
            connection.abort()
        return None

    def give_back(self, connection: "_Connection") -> None:
        """Keep a connection whose reply was read to its end."""
        self._idle.setdefault(connection.origin, []).append(connection)

    async def _connect(self, origin: _Origin, timeout: float | None) -> "_Connection":  # noqa: ASYNC109  one a request
        scheme, host, port = origin
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeout):
                sock = await open_socket(host, port)
                _, connection = await loop.create_connection(
                    lambda: _Connection(loop, origin, self._replying),
                    sock=sock,
                    ssl=self._tls() if scheme == "https" else None,
                    server_hostname=host if scheme == "https" else None,
                )
        except TimeoutError as error:
            raise httpx2.ConnectTimeout(f"no connection to {host}:{port} within {timeout:g} s") from error
        except (OSError, ssl.SSLError) as error:
            raise httpx2.ConnectError(str(error) or type(error).__name__) from error
        return connection

    def _tls(self) -> ssl.SSLContext:
        if self._ssl_context is None:
            self._ssl_context = httpx2.create_ssl_context()
        return self._ssl_context


_PORTS: Final = {"http": 80, "https": 443}


async def _encoded(request: httpx2.Request) -> bytes:
    """The request as it goes over the wire.

    :raises httpx2.UnsupportedProtocol: if its address is not http or https.
    :raises httpx2.LocalProtocolError: if a header holds a line end.
    """
    if request.url.scheme not in _PORTS:
        raise httpx2.UnsupportedProtocol(f"'{request.url.scheme}' is neither http nor https")
    lines = [b"%s %s HTTP/1.1" % (request.method.encode("ascii"), request.url.raw_path)]
    lines += [b"%s: %s" % header for header in request.headers.raw]
    if any(b"\n" in line or b"\r" in line for line in lines):
        raise httpx2.LocalProtocolError("a header holds a line end")
    return b"\r\n".join((*lines, b"", await request.aread()))


class _Connection(asyncio.Protocol):
    """One socket and the reply that is coming through it. ``replying`` are all that have one coming."""

    def __init__(self, loop: asyncio.AbstractEventLoop, origin: _Origin, replying: set["_Connection"]) -> None:
        self.origin = origin
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.head_complete = False
        self.complete = False
        self.spoke = False
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._chunks: list[bytes] = []
        self._buffered = 0
        self._head_size = 0
        self._ends_with_connection = False
        self._keep_alive = False
        self._paused = False
        self._failure: httpx2.TransportError | None = None
        self._replying = replying
        self._waiter: asyncio.Future[None] | None = None
        self._deadline = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._gathering: asyncio.TimerHandle | None = None
        self._idle_since = 0.0
        self._resting = False

    # What the transport asks of it.

    def send(self, message: bytes) -> None:
        if self._failure is not None or self._transport is None:
            raise self._failure or httpx2.ReadError("the connection is closed")
        self.status, self.headers, self._head_size = 0, [], 0
        self.head_complete = self.complete = self.spoke = self._resting = False
        self._replying.add(self)
        self._transport.write(message)

    async def wait(self, timeout: float | None) -> None:  # noqa: ASYNC109  a cancel scope each would cost 5 µs a chunk
        """Return when something more is there.

        :raises httpx2.ReadTimeout: if nothing comes in time.
        :raises httpx2.TransportError: if nothing will.
        """
        if self._failure is not None:
            raise self._failure
        self._waiter = self._loop.create_future()
        if timeout is not None:
            # One timer for many waits: to make and cancel one for each would cost 5 µs a chunk.
            self._deadline = self._loop.time() + timeout
            if self._timer is None:
                self._timer = self._loop.call_at(self._deadline, self._look_at_time)
        try:
            await self._waiter
        finally:
            self._waiter = None
        if self._failure is not None and not self._chunks and not self.complete:
            raise self._failure

    def take(self) -> bytes:
        """Everything of the body that has come since the last time."""
        data = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        self._buffered = 0
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        return data

    def rest(self) -> bool:
        """Whether it can take another request after this reply; the time it lies idle is counted from now."""
        self.take()  # what nobody wanted to read
        self._replying.discard(self)
        self._idle_since = self._loop.time()
        self._resting = self.complete and self._keep_alive and self._failure is None
        return self._resting

    def usable(self) -> bool:
        return self._failure is None and self._loop.time() - self._idle_since < _IDLE_SECONDS

    def abort(self) -> None:
        self._over()
        if self._failure is None:
            self._failure = httpx2.ReadError("the connection was closed here")
        if self._transport is not None:
            self._transport.abort()
            self._transport = None

    # What the event loop tells it.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self._resting:
            # Nobody asked; it must not be taken for the reply to the next request.
            self._fail(httpx2.RemoteProtocolError("data came without a request"))
            return
        self.spoke = True
        if not self.head_complete:
            self._head_size += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(httpx2.RemoteProtocolError(f"{type(error).__name__}: {error}"))
            return
        if not self.head_complete and self._head_size > _MAX_HEAD:
            self._fail(httpx2.RemoteProtocolError("the headers of the reply have no end"))
        elif self._buffered > _MAX_BUFFERED and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
        crowd = len(self._replying)
        if crowd <= _CROWD or self.complete or self._failure is not None or not self.head_complete:
            self._wake()
        elif self._gathering is None:
            wait = min(crowd * _GATHERED_SECONDS, _LONGEST_GATHERING)
            self._gathering = self._loop.call_later(wait, self._wake)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.head_complete and self._ends_with_connection and exc is None:
            self.complete = True
        if self._failure is None:
            if exc is not None or not self.spoke:
                self._failure = httpx2.ReadError(str(exc or "the connection was closed without a reply"))
            else:
                self._failure = httpx2.RemoteProtocolError("the connection was closed in the middle of the reply")
        self._transport = None
        self._over()
        self._wake()

    # What the parser found. Once the reply is complete, whatever follows it is another one that nobody asked for.

    def on_message_begin(self) -> None:
        if self.complete:
            self._keep_alive = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.head_complete:  # afterwards come trailers
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        if self.complete:
            return
        self.status = self._parser.get_status_code()
        if self.status < httpx2.codes.OK.value:
            self.headers = []  # the real reply is still to come
            return
        names = {name.lower() for name, _ in self.headers}
        self._ends_with_connection = not names & {b"content-length", b"transfer-encoding"}
        self.head_complete = True

    def on_body(self, body: bytes) -> None:
        if self.complete:
            return
        self._chunks.append(body)
        self._buffered += len(body)

    def on_message_complete(self) -> None:
        if self.head_complete and not self.complete:
            self.complete = True
            self._keep_alive = self._parser.should_keep_alive()

    @property
    def has_data(self) -> bool:
        return bool(self._chunks)

    def _fail(self, failure: httpx2.TransportError) -> None:
        self._failure = failure
        if self._transport is not None:
            self._transport.abort()
        self._wake()

    def _over(self) -> None:
        """No reply comes any more."""
        self._replying.discard(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wake(self) -> None:
        if self._gathering is not None:
            self._gathering.cancel()
            self._gathering = None
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _look_at_time(self) -> None:
        self._timer = None
        waiter = self._waiter
        if waiter is None or waiter.done():
            return  # the next wait begins anew
        if self._loop.time() < self._deadline:
            self._timer = self._loop.call_at(self._deadline, self._look_at_time)
            return
        self.abort()
        waiter.set_exception(httpx2.ReadTimeout("nothing came in time"))


class _Body(httpx2.AsyncByteStream):
    """The body of a reply. Closed early, it closes the socket."""

    def __init__(self, connection: _Connection, transport: AsyncioTransport, read_timeout: float | None) -> None:
        self._connection: _Connection | None = connection
        self._transport = transport
        self._read_timeout = read_timeout

    async def __aiter__(self) -> AsyncIterator[bytes]:
        connection = self._connection
        while connection is not None:
            if connection.has_data:
                yield connection.take()
            elif connection.complete:
                return
            else:
                await connection.wait(self._read_timeout)

    async def aclose(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if connection.rest():
            self._transport.give_back(connection)
        else:
            connection.abort()
