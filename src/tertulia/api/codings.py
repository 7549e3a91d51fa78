"""Bodies that come compressed, decoded piece by piece and never beyond what a body may be."""

import asyncio
import zlib
from collections.abc import Generator, Sequence
from typing import Final, Protocol

from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope

TAKEN: Final = ("gzip", "deflate")
"""What a reply that refuses another coding says in ``accept-encoding``."""

_NAMES: Final = frozenset({"gzip", "x-gzip", "deflate"})
_MOST_CODINGS: Final = 3
_PIECE: Final = 256 * 1024
_GZIP: Final = 16 + zlib.MAX_WBITS
_ZLIB: Final = zlib.MAX_WBITS
_RAW: Final = -zlib.MAX_WBITS
_ZLIB_HEAD: Final = 2  # bytes


class Unknown(Exception):
    """A coding that is not taken; the message is its name."""


class _Decoder(Protocol):
    def feed(self, data: bytes) -> Generator[bytes]:
        """What the data comes to, in pieces of a bounded size.

        :raises zlib.error: if it is not of this coding.
        """
        ...

    @property
    def finished(self) -> bool: ...


class _Inflate:
    """Gzip in any number of members, or deflate with or without the frame of zlib that it should have."""

    def __init__(self, *, gzip: bool) -> None:
        self._gzip = gzip
        self._bits = _GZIP if gzip else _ZLIB
        self._inner = zlib.decompressobj(self._bits)
        self._head = b""  # its first bytes, by which a frame is told from none

    @property
    def finished(self) -> bool:
        return self._inner.eof

    def feed(self, data: bytes) -> Generator[bytes]:
        while data:
            if self._inner.eof:
                if not self._gzip:
                    raise zlib.error("there is data after its end")
                self._inner = zlib.decompressobj(self._bits)
            try:
                piece = self._inner.decompress(data, _PIECE)
            except zlib.error:
                if self._gzip or self._bits == _RAW or len(self._head) >= _ZLIB_HEAD:
                    raise
                self._bits, data = _RAW, self._head + data
                self._inner = zlib.decompressobj(_RAW)
                continue
            self._head += data[: _ZLIB_HEAD - len(self._head)]
            data = self._inner.unconsumed_tail or self._inner.unused_data
            if piece:
                yield piece


def codings_of(scope: Scope) -> Sequence[str]:
    """The codings of the request's body in the order they were applied; none for a body as it is.

    :raises Unknown: if one is not taken.
    """
    given = b",".join(value for name, value in scope["headers"] if name == b"content-encoding")
    names = [name.strip().lower() for name in given.decode("latin-1").split(",")]
    codings = [name for name in names if name not in {"", "identity"}]
    for name in codings:
        if name not in _NAMES:
            raise Unknown(name[:100])
    if len(codings) > _MOST_CODINGS:
        raise Unknown(", ".join(codings)[:100])
    return codings


def decode(receive: Receive, codings: Sequence[str], limit: int, too_large: str) -> Receive:
    """A ``receive`` of the decoded body.

    It raises HTTPException: 413 with ``too_large`` beyond ``limit`` bytes, 400 for what is not of its coding.
    """
    decoders = [_Inflate(gzip=name != "deflate") for name in reversed(codings)]
    waiting: Generator[bytes] | None = None
    more, empty, size = True, True, 0

    async def receive_decoded() -> Message:
        nonlocal waiting, more, empty, size
        while True:
            if waiting is None:
                if not more:
                    return await receive()  # whether the client goes away
                message = await receive()
                if message["type"] != "http.request":
                    return message
                more = message.get("more_body", False)
                body: bytes = message.get("body", b"")
                empty = empty and not body
                waiting = _through(decoders, body)
            piece = _next(waiting)
            if piece is None:
                waiting = None
                if not more:
                    if not empty and not all(decoder.finished for decoder in decoders):
                        raise HTTPException(400, "The compressed body ends in the middle.")
                    return {"type": "http.request", "body": b"", "more_body": False}
                continue
            size += len(piece)
            if size > limit:
                raise HTTPException(413, too_large)
            await asyncio.sleep(0)  # a small body may come to a large one, and others are waiting
            return {"type": "http.request", "body": piece, "more_body": True}

    return receive_decoded


def _through(decoders: Sequence[_Decoder], data: bytes) -> Generator[bytes]:
    if not decoders:
        yield data
        return
    first, *rest = decoders
    for piece in first.feed(data):
        yield from _through(rest, piece)


def _next(pieces: Generator[bytes]) -> bytes | None:
    try:
        return next(pieces, None)
    except zlib.error as error:
        raise HTTPException(400, f"The body does not have the content-encoding that it declares: {error}.") from None
