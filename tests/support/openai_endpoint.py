"""A strict, scriptable endpoint that speaks OpenAI Chat Completions, for tests. It holds no model and invents nothing.

It runs an asyncio server in a thread, so that a test can drive it from outside a loop. A request is checked field by
field the way the real service does: what it would refuse is answered with 400 and remembered in `violations`.
Replies are scripted as a list of acts (`Send`, `Pause`, `Drop`, …); nothing in here waits for time except `Delay`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from tests.support.openai_requests import find_violations

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

TIMEOUT = 15.0  # seconds a test waits for the server under test before it is called stuck
MODELS = ("gpt-4o-mini", "gpt-4o", "gpt-5-mini", "o3-mini")


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
class Send:
    """One chunk with this delta."""

    delta: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Pause:
    gate: Gate


@dataclass(frozen=True, slots=True)
class Delay:
    """A latency to simulate, in seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Finish:
    """The chunk with the finish reason and, where asked for, the one with the usage."""

    reason: str = "stop"
    usage: dict[str, Any] | None = None


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


Act: TypeAlias = Send | Pause | Delay | Finish | Raw | Drop | Refuse
Reply: TypeAlias = list[Act]


def usage(prompt: int = 20, completion: int = 5, cached: int = 0, reasoning: int = 0) -> dict[str, Any]:
    """A usage object as the service writes it; counts are tokens."""
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": reasoning, "audio_tokens": 0},
    }


def text(*pieces: str, usage: dict[str, Any] | None = None) -> Reply:
    """A reply of text, one chunk a piece."""
    return [*(Send({"content": piece}) for piece in pieces), Finish(usage=usage)]


def think(*thoughts: str, answer: str) -> Reply:
    """A reply with `reasoning_content` before the text."""
    return [*(Send({"reasoning_content": thought}) for thought in thoughts), Send({"content": answer}), Finish()]


def call(name: str, arguments: dict[str, Any] | str, call_id: str = "call_1") -> tuple[str, str, str]:
    """One tool call; a string is sent as the arguments as it is, valid JSON or not."""
    return name, arguments if isinstance(arguments, str) else json.dumps(arguments), call_id


def calls(*tool_calls: tuple[str, str, str], say: str = "") -> Reply:
    """A reply of tool calls: each opened with its name, then its arguments in two pieces, all interleaved."""
    acts: Reply = [Send({"content": say})] if say else []
    for index, (name, _arguments, call_id) in enumerate(tool_calls):
        opening = {"index": index, "id": call_id, "type": "function", "function": {"name": name, "arguments": ""}}
        acts.append(Send({"tool_calls": [opening]}))
    for half in (0, 1):
        for index, (_name, arguments, _call_id) in enumerate(tool_calls):
            middle = len(arguments) // 2
            piece = arguments[middle:] if half else arguments[:middle]
            acts.append(Send({"tool_calls": [{"index": index, "function": {"arguments": piece}}]}))
    return [*acts, Finish("tool_calls")]


@dataclass(slots=True)
class ChatRequest:
    """One request as it came. `left` is set when the caller hung up before the reply was complete."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    left: threading.Event = field(default_factory=threading.Event)

    @property
    def system(self) -> str:
        return "\n".join(str(m["content"]) for m in self.messages if m["role"] in {"system", "developer"})

    @property
    def messages(self) -> list[dict[str, Any]]:
        return self.body["messages"]

    @property
    def last_user_text(self) -> str:
        content = [m["content"] for m in self.messages if m["role"] == "user"][-1]
        return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)

    @property
    def tool_names(self) -> list[str]:
        return [tool["function"]["name"] for tool in self.body.get("tools", [])]

    @property
    def tool_results(self) -> dict[str, str]:
        """The text of each tool message by the id of its call."""
        return {m["tool_call_id"]: str(m["content"]) for m in self.messages if m["role"] == "tool"}


class _CallerLeft(Exception):
    pass


class OpenAIEndpoint:
    """Use as a context manager. `url` is the base URL to configure; `reset()` makes it new for the next test."""

    def __init__(self) -> None:
        self.requests: list[ChatRequest] = []
        self.violations: list[str] = []
        self.models: tuple[str, ...] = MODELS
        self.url = ""
        self._script: list[Reply] = []
        self._handler: Callable[[ChatRequest], Reply] | None = None
        self._changed = threading.Condition()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="openai-endpoint", daemon=True)
        self._connections: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        port = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(TIMEOUT)
        self.url = f"http://127.0.0.1:{port}/v1"
        return self

    def __exit__(self, *_exc: object) -> None:
        asyncio.run_coroutine_threadsafe(self._shut(), self._loop).result(TIMEOUT)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(TIMEOUT)
        self._loop.close()

    def script(self, *replies: Reply) -> None:
        """Answer the next requests with these, in this order, and every later one with `ok`."""
        with self._changed:
            self._handler = None
            self._script = list(replies)

    def answer_with(self, handler: Callable[[ChatRequest], Reply]) -> None:
        """Answer every request with what `handler` returns for it."""
        with self._changed:
            self._handler = handler

    def reset(self) -> None:
        with self._changed:
            self.requests, self.violations, self._script, self._handler = [], [], [], None
            self.models = MODELS

    def wait_for_requests(self, count: int) -> list[ChatRequest]:
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
        if method == "GET" and path.endswith("/models"):
            _write_json(writer, 200, {"object": "list", "data": [_model_row(name) for name in self.models]})
            await writer.drain()
            return True
        if method != "POST" or not path.endswith("/chat/completions"):
            _write_json(writer, 404, {"error": {"message": f"no {method} {path}", "type": "invalid_request_error"}})
            await writer.drain()
            return True
        request = ChatRequest(path, headers, json.loads(content))
        return await self._answer(request, reader, writer)

    async def _answer(self, request: ChatRequest, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        violations = find_violations(request.path, request.headers, request.body)
        with self._changed:
            self.requests.append(request)
            self.violations += violations
            reply = self._next_reply(request)
            self._changed.notify_all()
        if violations:
            reply = list[Act]([Refuse(400, "; ".join(violations))])
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

    def _next_reply(self, request: ChatRequest) -> Reply:
        if self._handler is not None:
            return self._handler(request)
        return self._script.pop(0) if self._script else text("ok")

    async def _perform(
        self, reply: Reply, request: ChatRequest, writer: asyncio.StreamWriter, watch: asyncio.Future[bytes]
    ) -> bool:
        started = False
        chunks = _Chunks(request.body)
        async for act in _waiting(reply, watch):
            if isinstance(act, Refuse):
                body = {"error": {"message": act.message, "type": act.type, "param": None, "code": act.code}}
                _write_json(writer, act.status, body, act.headers)
                await writer.drain()
                return True
            if isinstance(act, Drop):
                writer.transport.abort()
                return False
            if not started:
                writer.write(_STREAM_HEAD)
                started = True
            for data in chunks.encode(act):
                writer.write(b"%x\r\n%s\r\n" % (len(data), data))
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True


async def _waiting(reply: Reply, watch: asyncio.Future[bytes]) -> AsyncIterator[Act]:
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


class _Chunks:
    """Encodes acts as the service's chunks. The first carries the role, as it always does there."""

    def __init__(self, body: dict[str, Any]) -> None:
        self._model: str = body.get("model", "")
        stream_options: dict[str, Any] = body.get("stream_options", {})
        self._with_usage = stream_options.get("include_usage") is True
        self._opened = False

    def encode(self, act: Act) -> Iterator[bytes]:
        if not self._opened and isinstance(act, Send):
            self._opened = True
            yield self._chunk({"role": "assistant", "content": ""})
        if isinstance(act, Send):
            yield self._chunk(act.delta)
        elif isinstance(act, Raw):
            yield act.data
        elif isinstance(act, Finish):
            yield self._chunk({}, finish=act.reason)
            if self._with_usage:
                yield self._event({"choices": [], "usage": act.usage or usage()})
            yield b"data: [DONE]\n\n"

    def _chunk(self, delta: dict[str, Any], finish: str | None = None) -> bytes:
        return self._event({"choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]})

    def _event(self, fields: dict[str, Any]) -> bytes:
        base = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": self._model}
        return b"data: " + json.dumps(base | fields).encode() + b"\n\n"


_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    b"x-request-id: req_1\r\ntransfer-encoding: chunked\r\n\r\n"
)


def _write_json(
    writer: asyncio.StreamWriter, status: int, body: dict[str, Any], headers: tuple[tuple[str, str], ...] = ()
) -> None:
    data = json.dumps(body).encode()
    extra = "".join(f"{key}: {value}\r\n" for key, value in headers)
    head = f"HTTP/1.1 {status} -\r\ncontent-type: application/json\r\ncontent-length: {len(data)}\r\n{extra}\r\n"
    writer.write(head.encode("latin-1") + data)


def _model_row(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 1, "owned_by": "tests"}
