"""One connection of HTTP/1.1, for uvicorn's server: requests one after another, each within its limits.

The parser keeps what it is given until a header or a line is complete, and calls out every request that it finds. So it
is fed by small pieces, and only as far as the request that is being answered: what comes after that waits unread.
"""

import asyncio
import math
from collections import deque
from collections.abc import Iterable
from typing import Any, Final

import httptools
import structlog
from uvicorn.config import Config
from uvicorn.server import ServerState

from tertulia.edge import refusals
from tertulia.edge.exchange import Exchange
from tertulia.edge.heads import Head, Refused, refused_scope, scope_of
from tertulia.edge.house import House
from tertulia.edge.refusals import Refusal
from tertulia.edge.sockets import addresses, notice_dead_peers

log = structlog.get_logger(__name__)

_HEAD_PIECE: Final = 16 * 1024
_BODY_PIECE: Final = 64 * 1024
_BODY_AHEAD: Final = 64 * 1024
"""How much of a body waits for the application before the client has to."""
_BARE_BYTES: Final = 64 * 1024
"""What may come in a body without any of it: the sizes and extensions of chunks, and what follows the last."""
_WORTH_READING: Final = 256 * 1024
"""The rest of a body that nobody wants is read for the connection's sake, if it is no more than this."""
_LINGER_BYTES: Final = 1024 * 1024 * 1024
_LINGER_SILENCE: Final = 5.0


class Connection(asyncio.Protocol):
    """Feeds the parser, lets the application answer, and ends what takes too much or too long."""

    def __init__(self, config: Config, server_state: ServerState, app_state: dict[str, Any], house: House) -> None:
        self._application: Any = config.loaded_app  # pyright: ignore[reportUnknownMemberType]
        self._state = server_state
        self._app_state = app_state
        self._house = house
        self._limits = house.limits
        self._loop = asyncio.get_running_loop()
        self.access_log = config.access_log
        self.transport: Any = None
        self._known: dict[str, Any] = {}

        self._parser = httptools.HttpRequestParser(self)
        self._unread = b""
        self._feeding = False
        self._dead = False  # nothing is parsed any more
        self._head: Head | None = None
        self._head_bytes = 0
        self._bare_bytes = 0
        self._replay: bytes | None = None
        self._incoming: Exchange | None = None  # whose body is coming
        self._waiting: deque[Exchange] = deque()  # not replied to; the first is being answered

        self._since = 0.0
        self._deadline = math.inf
        self._paused_at: float | None = None
        self._lingered: int | None = None
        self._linger_until = math.inf
        self._may_write = asyncio.Event()
        self._may_write.set()
        self._reader_deadline = math.inf

    # The transport's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        server, client, scheme = addresses(transport)
        self._known = {"server": server, "client": client, "scheme": scheme}
        self._state.connections.add(self)  # pyright: ignore[reportArgumentType]  it is typed for uvicorn's own alone
        notice_dead_peers(transport)
        self._deadline = self._loop.time() + self._limits.idle_seconds
        if self._house.enter(self):
            self._house.idle(self)
        elif self._house.overrun:
            self.transport.abort()
        else:
            self._refuse(refusals.too_many_connections(self._limits.max_connections))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  the protocol's signature
        self._state.connections.discard(self)  # pyright: ignore[reportArgumentType]  as above
        self._house.leave(self)
        self._dead = True
        self._unread = b""
        for exchange in self._waiting:
            exchange.leave()
        if self._incoming is not None:
            self._incoming.leave()
        self._may_write.set()
        self._deadline = self._reader_deadline = math.inf
        del self._parser  # which knows us: without that, neither has to wait for the collector of cycles

    def eof_received(self) -> None:
        """A client that says that it sends no more is taken to have gone, as it is by other servers."""

    def data_received(self, data: bytes) -> None:
        if self._lingered is not None:
            self._lingered += len(data)
            self._deadline = self._loop.time() + _LINGER_SILENCE
            if self._lingered > _LINGER_BYTES:
                self.transport.close()
                return
        if self._dead:
            return
        if self._head is None and self._incoming is None and not self._waiting:
            self._house.busy(self)
            self._start_clock()
        self._unread = self._unread + data if self._unread else data
        if not self._feeding:
            self._feed()

    def pause_writing(self) -> None:
        self._may_write.clear()
        self._reader_deadline = self._loop.time() + self._reader_seconds()

    def resume_writing(self) -> None:
        self._may_write.set()
        self._reader_deadline = math.inf

    def _reader_seconds(self) -> float:
        waiting: int = self.transport.get_write_buffer_size()
        return self._limits.reader_seconds + waiting / self._limits.slowest_bytes_per_second

    # The server's side.

    def shutdown(self) -> None:
        """End in good order: the server stops."""
        if self._waiting and self._lingered is None:
            self._waiting[0].keep_alive = False
        else:
            self.close()

    def close(self) -> None:
        """End when what is written has been sent, or when that takes too long."""
        self._dead = True
        self._unread = b""
        self._linger_until = math.inf
        self._lingered = None
        self._deadline = self._loop.time() + self._reader_seconds()
        self.transport.close()

    def expire(self, now: float) -> None:
        """End whatever has run out of time."""
        if now >= self._reader_deadline:
            self.transport.abort()
        elif now >= self._deadline or now >= self._linger_until:
            self._expired(now)

    def _expired(self, now: float) -> None:
        if self.transport.is_closing():
            self.transport.abort()
        elif self._lingered is not None:
            self.close()
        elif self._incoming is not None:
            self._body_expired(now, self._incoming)
        elif self._since:
            self._refuse(refusals.too_slow("head"))
        else:
            self.close()

    def _body_expired(self, now: float, incoming: Exchange) -> None:
        if self._paused_at is not None or incoming.expects_continue:
            self._since = now  # it is the application that takes its time
            return
        needed = incoming.got / self._limits.slowest_bytes_per_second
        self._deadline = self._since + self._limits.request_seconds + needed
        if now < self._deadline:
            return
        if incoming.replied:
            self.close()
        else:
            self._refuse(refusals.too_slow("body"))

    def _start_clock(self) -> None:
        self._since = self._loop.time()
        self._deadline = self._since + self._limits.request_seconds

    # The parser's side.

    def _feed(self) -> None:
        """Give the parser what it may have now; a long body is taken by several turns of the loop."""
        self._feeding = False
        while self._unread and not self._dead and self._may_feed():
            in_body = self._incoming is not None
            size = _BODY_PIECE if in_body else _HEAD_PIECE
            piece, self._unread = self._unread[:size], self._unread[size:]
            self._parse(piece)
            if in_body and self._unread:
                self._feeding = True
                self._loop.call_soon(self._feed)
                break
        self._pause(paused=bool(self._unread))

    def _may_feed(self) -> bool:
        incoming = self._incoming
        if incoming is None:
            return not self._waiting
        return incoming.replied or (incoming is self._waiting[0] and len(incoming.body) <= _BODY_AHEAD)

    def _pause(self, *, paused: bool) -> None:
        """Let the client wait, or go on; its clock stands still meanwhile."""
        if paused and self._paused_at is None:
            self._paused_at = self._loop.time()
            self.transport.pause_reading()
        elif not paused and self._paused_at is not None:
            self._since += self._loop.time() - self._paused_at
            self._paused_at = None
            if not self.transport.is_closing():
                self.transport.resume_reading()

    def _parse(self, piece: bytes) -> None:
        head = self._head
        try:
            self._parser.feed_data(piece)
        except httptools.HttpParserUpgrade as upgrade:
            self._ignore_upgrade(piece[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            if not self._dead:
                self._refuse(_refusal_for(error))
        else:
            self._count_incomplete(piece, head)

    def _count_incomplete(self, piece: bytes, head_before: Head | None) -> None:
        """What the parser keeps to itself: a header without an end, or chunks that are nothing but extensions."""
        if self._incoming is not None:
            self._bare_bytes += len(piece)
            if self._bare_bytes > _BARE_BYTES + _BODY_PIECE:
                self._refuse(refusals.malformed("its chunks carry more framing than data"))
        elif self._head is not None and self._head is head_before:
            self._head_bytes += len(piece)
            if self._head_bytes > self._limits.max_header_bytes + self._limits.max_target_bytes:
                self._refuse(refusals.header_too_large(self._limits.max_header_bytes))

    def _ignore_upgrade(self, rest: bytes) -> None:
        replay, self._replay = self._replay, None
        self._parser = httptools.HttpRequestParser(self)
        if replay is not None:
            self._unread = replay + rest + self._unread

    def on_message_begin(self) -> None:
        self._head = Head(self._limits)
        self._head_bytes = 0
        if not (self._since or self._waiting):
            self._start_clock()

    def on_url(self, piece: bytes) -> None:
        if self._head is not None:
            self._head.more_target(piece)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._head is not None:  # else it follows a body, and nobody has asked for it
            self._head.add(name, value)

    def on_headers_complete(self) -> None:
        parser, head = self._parser, self._head
        assert head is not None  # noqa: S101  a message has begun
        method, version = parser.get_method().decode("ascii"), parser.get_http_version()
        place = head.complete(method, version)
        if parser.should_upgrade():
            self._replay = head.without_upgrade(method)
            return
        scope = scope_of(self._known, head, method, version, place)
        keep_alive = version != "1.0" and parser.should_keep_alive()
        self._head = None
        self._bare_bytes = 0
        self._begin(scope, keep_alive=keep_alive, expects_continue=head.expects_continue, length=head.length)

    def on_body(self, body: bytes) -> None:
        if self._incoming is not None:
            self._incoming.feed(body)
            self._bare_bytes = 0

    def on_message_complete(self) -> None:
        exchange, self._incoming = self._incoming, None
        if exchange is None:
            return  # its upgrade is ignored
        exchange.body_ended()
        self._deadline = math.inf
        self._since = 0.0
        if not exchange.keep_alive:
            self._dead = True  # whatever follows is none of ours
            self._unread = b""
            if self._lingered is not None:
                self.close()
        elif exchange.replied:
            self._next()

    # The application's side.

    def _begin(self, scope: dict[str, Any], *, keep_alive: bool, expects_continue: bool, length: int | None) -> None:
        scope["state"] = self._app_state.copy()
        exchange = Exchange(self, scope, keep_alive=keep_alive, expects_continue=expects_continue, length=length)
        self._incoming = exchange
        self._start_clock()
        self._waiting.append(exchange)
        if len(self._waiting) == 1:
            self._answer(exchange)

    def _answer(self, exchange: Exchange) -> None:
        task = self._loop.create_task(exchange.run(self._application))
        task.add_done_callback(self._state.tasks.discard)
        self._state.tasks.add(task)

    def _refuse(self, refusal: Refusal) -> None:
        """Answer with the refusal, after what is being answered, and then close. Nothing more is read."""
        self._dead = True
        self._unread = b""
        self._deadline = math.inf
        self._house.busy(self)
        head, self._head = self._head, None
        incoming, self._incoming = self._incoming, None
        scope = None
        if incoming is not None and incoming.replying:
            incoming.leave()
            self.close()
            return
        if incoming is not None:
            incoming.more_body = True
            incoming.leave()
            scope = incoming.scope | {"extensions": {refusals.EXTENSION: refusal}}
        method, version = self._parser.get_method().decode("ascii") if head and head.target else "", "1.1"
        exchange = Exchange(
            self,
            scope or refused_scope(self._known, head, method, version, refusal),
            keep_alive=False,
            expects_continue=False,
            length=None,
        )
        exchange.scope["state"] = self._app_state.copy()
        self._waiting.append(exchange)
        self._pause(paused=False)
        if len(self._waiting) == 1:
            self._answer(exchange)

    def write(self, data: bytes) -> None:
        self.transport.write(data)

    async def writable(self) -> None:
        if not self._may_write.is_set():
            await self._may_write.wait()

    def default_headers(self) -> Iterable[tuple[bytes, bytes]]:
        return self._state.default_headers

    def body_taken(self) -> None:
        if self._unread and not self._feeding:
            self._feed()

    def may_be_kept(self, exchange: Exchange) -> bool:
        """Whether the connection is of use after a reply that begins now: what still comes has to be read first."""
        if not exchange.more_body:
            return True
        return (
            not exchange.expects_continue
            and exchange.length is not None
            and exchange.length - exchange.got <= _WORTH_READING
        )

    def broken(self) -> None:
        """The reply cannot be ended as it was begun, and its reader must notice."""
        if self.transport is not None and not self.transport.is_closing():
            if self._waiting and self._waiting[0].scope["http_version"] == "1.0":
                self.transport.abort()  # the end of the connection would look like the reply's
            else:
                self.close()

    def replied(self, exchange: Exchange) -> None:
        self._state.total_requests += 1
        if self._waiting and self._waiting[0] is exchange:
            self._waiting.popleft()
        if self.transport.is_closing():
            return
        if self._waiting and (exchange.keep_alive or exchange.gone):
            self._answer(self._waiting[0])
        elif not exchange.keep_alive or exchange.gone:
            self._end(exchange)
        elif not exchange.more_body:
            self._next()
        else:
            self.body_taken()

    def _next(self) -> None:
        """Wait for the next request, which may be there already."""
        self._since = 0.0
        self._deadline = self._loop.time() + self._limits.idle_seconds
        if self._head is not None:
            self._start_clock()
        if self._unread:
            if not self._feeding:
                self._feeding = True
                self._loop.call_soon(self._feed)
        else:
            if self._head is None:
                self._house.idle(self)
            self._pause(paused=False)

    def _end(self, exchange: Exchange) -> None:
        """Close, once the client has sent what it is sending: a reply that meets a closed connection is lost."""
        if not exchange.more_body:
            self.close()
            return
        now = self._loop.time()
        self._lingered = 0
        self._deadline = now + _LINGER_SILENCE
        self._linger_until = now + self._limits.linger_seconds
        if self._dead and self.transport.can_write_eof():
            self.transport.write_eof()
        elif self._unread and not self._feeding:
            self._feed()
        self._pause(paused=False)


def _refusal_for(error: Exception) -> Refusal:
    """Ours, if it was one of our own callbacks that refused; else the parser's words for what is wrong."""
    ours = error.__context__
    if isinstance(ours, Refused):
        return ours.refusal
    if ours is not None:
        log.error("unexpected failure", exc_info=ours)
    return refusals.malformed((str(error).rstrip(".") or "its lines are not valid HTTP/1.1")[:200])
