"""An httpx transport that keeps the raw bytes of every exchange and checks each reply against the contract.

The SDK is given a client over this transport, so whatever a test calls is checked without the test saying so. The
check happens when the test ends (see `conftest.py`): a failure raised inside a transport would reach the SDK as a
connection error and be retried.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import httpx

from tests.conformance.schema import Json, Operation, Problem, find_operation, find_problems
from tests.conformance.streams import DONE, Frame, find_stream_problems, parse_frames

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

# What must never leak into an error: Python's own way of writing objects and failures.
_LEAKS = re.compile(r"Traceback|<class |object at 0x|\bFile \"|pydantic|sqlalchemy|sqlite3\.|NoneType")
_RESUMING = {"conversations.messages.stream", "runs.messages.stream"}
_ERROR_TYPES = {"llm_authentication", "llm_rate_limit", "llm_timeout", "llm_error", "internal_error"}


@dataclass(slots=True)
class Exchange:
    """One request and its reply, with the reply's bytes as they came."""

    method: str
    path: str
    operation: Operation | None
    status: int
    headers: httpx.Headers
    body: bytearray = field(default_factory=bytearray)
    ended: bool = False  # the reply was read to its last byte

    @property
    def is_stream(self) -> bool:
        return self.headers.get("content-type", "").startswith("text/event-stream")

    @property
    def _is_resumed(self) -> bool:
        return self.operation is not None and self.operation.sdk in _RESUMING

    @property
    def json(self) -> Json:
        # 204 is how some operations say null.
        return None if self.status == 204 and not self.body else json.loads(self.body)

    @property
    def frames(self) -> list[Frame]:
        return parse_frames(bytes(self.body))[0]

    def find_problems(self) -> list[Problem]:
        """Every deviation of this reply from the contract."""
        if self.is_stream:
            # The SDK stops reading at [DONE].
            complete = self.ended or self.body.endswith(DONE)
            return find_stream_problems(bytes(self.body), complete=complete, resumed=self._is_resumed)
        if not self.ended:
            return []
        if self.status >= 400:
            return find_error_problems(bytes(self.body))
        if self.operation is None or self.operation.response is None:
            return []
        return find_problems(self.json, self.operation.response)


def find_error_problems(body: bytes) -> list[Problem]:
    """An error is `{"detail": "<sentence>", …}`, or for a failing model `{"error": {"type", "message", "detail"}}`."""
    try:
        value: Json = json.loads(body)
    except ValueError:
        return [Problem("$", "wrong", f"not JSON: {body[:200]!r}")]
    problems: list[Problem] = []
    if leak := _LEAKS.search(body.decode()):
        problems.append(Problem("$", "wrong", f"shows the server's insides ({leak[0]}): {body[:300]!r}"))
    match value:
        case {"detail": str(text), **_others} if text.strip():
            pass
        case {"error": {"type": str(kind), "message": str(), "detail": _}} if kind in _ERROR_TYPES:
            pass
        case _:
            problems.append(Problem("$", "wrong", f"neither detail nor error: {body[:300]!r}"))
    return problems


class Recorder:
    """Every exchange since the last `check`."""

    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []

    @property
    def last(self) -> Exchange:
        return self.exchanges[-1]

    def begin(self, request: httpx.Request, response: httpx.Response) -> Exchange:
        exchange = Exchange(
            method=request.method,
            path=request.url.path,
            operation=find_operation(request.method, request.url.path),
            status=response.status_code,
            headers=response.headers,
        )
        self.exchanges.append(exchange)
        return exchange

    def check(self) -> None:
        """Fail with every deviation seen, then forget.

        :raises AssertionError: if a reply deviates from the contract.
        """
        exchanges, self.exchanges = self.exchanges, []
        lines = [
            f"{exchange.method} {exchange.path} → {exchange.status}: {problem}"
            for exchange in exchanges
            for problem in exchange.find_problems()
        ]
        if lines:
            shown = list(dict.fromkeys(lines))
            raise AssertionError(f"{len(shown)} deviations from the contract:\n" + "\n".join(shown[:40]))


class _Tee(httpx.SyncByteStream):
    def __init__(self, stream: httpx.SyncByteStream, exchange: Exchange) -> None:
        self._stream = stream
        self._exchange = exchange

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._stream:
            self._exchange.body += chunk
            yield chunk
        self._exchange.ended = True

    def close(self) -> None:
        self._stream.close()


class _AsyncTee(httpx.AsyncByteStream):
    def __init__(self, stream: httpx.AsyncByteStream, exchange: Exchange) -> None:
        self._stream = stream
        self._exchange = exchange

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._stream:
            self._exchange.body += chunk
            yield chunk
        self._exchange.ended = True

    async def aclose(self) -> None:
        await self._stream.aclose()


# The transports verify nothing: all is plain HTTP, and reading the system's certificates takes 30 ms a client.
class RecordingTransport(httpx.HTTPTransport):
    def __init__(self, recorder: Recorder) -> None:
        super().__init__(limits=httpx.Limits(max_connections=None), verify=False)
        self._recorder = recorder

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response = super().handle_request(request)
        exchange = self._recorder.begin(request, response)
        assert isinstance(response.stream, httpx.SyncByteStream)
        response.stream = _Tee(response.stream, exchange)
        return response


class AsyncRecordingTransport(httpx.AsyncHTTPTransport):
    def __init__(self, recorder: Recorder) -> None:
        super().__init__(limits=httpx.Limits(max_connections=None), verify=False)
        self._recorder = recorder

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await super().handle_async_request(request)
        exchange = self._recorder.begin(request, response)
        assert isinstance(response.stream, httpx.AsyncByteStream)
        response.stream = _AsyncTee(response.stream, exchange)
        return response
