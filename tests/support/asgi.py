"""One request to an ASGI application, read while it is answered and left when the test says so."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any, Self
from urllib.parse import unquote

from starlette.types import ASGIApp, Message


class Exchange:
    """A request under way. ``body`` is what has been answered so far, ``parts`` in the pieces it came in.

    The request's body is sent as JSON, or as it is if it is bytes.
    """

    def __init__(
        self, app: ASGIApp, method: str, address: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> None:
        self.status: int | None = None
        self.headers: dict[str, str] = {}
        self.parts: list[bytes] = []
        self._request = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        self._sent = False
        self._left = asyncio.Event()
        self._changed = asyncio.Condition()
        path, _, query = address.partition("?")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "path": unquote(path),
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "scheme": "http",
            "headers": [
                (b"content-type", b"application/json"),
                *((name.lower().encode(), value.encode()) for name, value in (headers or {}).items()),
            ],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 2),
        }
        self._task = asyncio.ensure_future(app(scope, self._receive, self._send))  # pyright: ignore[reportArgumentType]  an ASGI application returns a coroutine

    @property
    def body(self) -> bytes:
        return b"".join(self.parts)

    @property
    def frames(self) -> list[dict[str, Any]]:
        """The JSON of every ``data:`` line but the last one's ``[DONE]``."""
        lines = self.body.decode().split("\n")
        return [json.loads(line[6:]) for line in lines if line.startswith("data: {")]

    async def until(self, text: bytes, times: int = 1) -> Self:
        """Wait until the answer has this in it so many times."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.body.count(text) >= times)
        return self

    async def leave(self) -> None:
        """Go away, and wait until the application has noticed."""
        self._left.set()
        await self._task

    async def end(self) -> Self:
        """Wait until the application is done."""
        await self._task
        return self

    async def _receive(self) -> Message:
        if not self._sent:
            self._sent = True
            return {"type": "http.request", "body": self._request, "more_body": False}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        async with self._changed:
            if message["type"] == "http.response.start":
                self.status = message["status"]
                self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
            elif message["body"]:
                self.parts.append(message["body"])
            self._changed.notify_all()
