"""A relay before a server that keeps what the server sent, byte for byte. It understands nothing but HTTP's framing."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Self
from urllib.parse import urlsplit


class Relay:
    """Use as an async context manager. `url` leads to where `target` does."""

    def __init__(self, target: str) -> None:
        self._target = urlsplit(target)
        self._server: asyncio.Server | None = None
        self._sent = bytearray()
        self.url = ""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.url = self._target._replace(netloc=f"127.0.0.1:{port}").geturl()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    def response(self) -> tuple[bytes, list[bytes]]:
        """The last response that came in chunks: its head, and its chunks without their lengths."""
        head, _, body = bytes(self._sent[self._sent.rindex(b"HTTP/1.1 ") :]).partition(b"\r\n\r\n")
        assert b"transfer-encoding: chunked" in head.lower()
        chunks: list[bytes] = []
        while True:
            length, _, body = body.partition(b"\r\n")
            size = int(length, 16)
            if not size:
                return head + b"\r\n\r\n", chunks
            chunks.append(body[:size])
            body = body[size + 2 :]

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        near, far = await asyncio.open_connection(self._target.hostname, self._target.port)
        with contextlib.suppress(ConnectionError):
            await asyncio.gather(_pump(reader, far, bytearray()), _pump(near, writer, self._sent))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, kept: bytearray) -> None:
    try:
        while data := await reader.read(65_536):
            kept += data
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()
