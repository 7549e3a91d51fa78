"""A client that sends exactly the bytes a test gives and takes apart what comes back, however it is framed."""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from types import TracebackType

_PATIENCE = 20.0


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply; ``whole`` is whether its end came."""

    status: int
    headers: dict[str, str]
    body: bytes
    whole: bool = True

    @property
    def detail(self) -> str:
        assert self.headers["content-type"] == "application/json", self
        assert self.headers["x-request-id"], self
        detail: str = json.loads(self.body)["detail"]
        return detail


class RawClient:
    """One connection. Use as an async context manager."""

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self._reader: Any = None
        self.writer: Any = None

    async def __aenter__(self) -> Self:
        self._reader, self.writer = await asyncio.open_connection(*self._address)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()

    async def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()

    async def ask(self, *pieces: bytes, head: bool = False) -> Reply:
        await self.send(*pieces)
        return await self.reply(head=head)

    async def reply(self, *, head: bool = False) -> Reply:
        """The next reply; ``head`` if it is one to HEAD."""
        async with asyncio.timeout(_PATIENCE):
            status, headers = await self._read_head()
            while status == 100:
                status, headers = await self._read_head()
            if head or status in {204, 304}:
                return Reply(status, headers, b"")
            body, whole = await self._read_body(headers)
        return Reply(status, headers, body, whole)

    async def read_head(self) -> tuple[int, dict[str, str]]:
        async with asyncio.timeout(_PATIENCE):
            return await self._read_head()

    async def closed(self) -> bool:
        """Wait for the connection's end: true if nothing came before it."""
        async with asyncio.timeout(_PATIENCE):
            try:
                return await self._reader.read(1) == b""
            except ConnectionResetError:
                return True

    async def _read_head(self) -> tuple[int, dict[str, str]]:
        text = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        line, *fields = text.rstrip("\r\n").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
        return int(line.split(" ")[1]), headers

    async def _read_body(self, headers: dict[str, str]) -> tuple[bytes, bool]:
        if "content-length" in headers:
            return await self._reader.readexactly(int(headers["content-length"])), True
        if headers.get("transfer-encoding") != "chunked":
            return await self._reader.read(), True
        body = bytearray()
        try:
            while size := int(await self._reader.readuntil(b"\r\n"), 16):
                body += (await self._reader.readexactly(size + 2))[:-2]
            await self._reader.readexactly(2)
        except (asyncio.IncompleteReadError, ConnectionResetError):
            return bytes(body), False
        return bytes(body), True
