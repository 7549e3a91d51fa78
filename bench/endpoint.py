"""A fake OpenAI-compatible endpoint, run as its own process: `python -m bench.endpoint [--port N]`.

It is as cheap as it can be made, so that what is measured is the server: a bare asyncio protocol, replies built in
advance, the request searched for two fields instead of parsed. It prints `{"port": N}` once it listens.

    POST /v1/chat/completions   streaming and whole replies; the model's name says which (see `endpoint_replies`)
    GET  /v1/models
    GET  /last                  the body of the last completion request, byte for byte
    POST /DIALECT/Ntokens/Nus/… a stream of N tokens in one of the dialects, so many microseconds apart
"""

import argparse
import asyncio
import json
import re
from collections import deque
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import cast

from bench import dialect_replies
from bench import endpoint_replies as replies
from bench.eventloop import run

_MODEL = re.compile(rb'"model"\s*:\s*"([^"]*)"')
_STREAM = re.compile(rb'"stream"\s*:\s*true')
_USAGE = re.compile(rb'"include_usage"\s*:\s*true')
_LENGTH = re.compile(rb"\r\ncontent-length:\s*(\d+)", re.IGNORECASE)


@dataclass(slots=True)
class Seen:
    """What the endpoint was asked last, by any connection: the body of a completion request."""

    last: bytes = b"{}"


@dataclass(slots=True)
class _Reply:
    """A reply on its way: the writes still to be made, one for each gap."""

    writes: deque[bytes] = field(default_factory=deque[bytes])
    gap: float = 0.0
    then_close: bool = False


class Endpoint(asyncio.Protocol):
    """One keep-alive connection; requests on it are answered one after the other."""

    def __init__(self, seen: Seen) -> None:
        self._seen = seen
        self._loop = asyncio.get_running_loop()
        self._buffer = bytearray()
        self._needed = 0  # bytes of the request being received, head and body; 0 until its head is complete
        self._body_at = 0
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._timer is None:
            self._serve_buffered()

    def _serve_buffered(self) -> None:
        while self._timer is None and self._has_request():
            head = bytes(self._buffer[: self._body_at])
            body = bytes(self._buffer[self._body_at : self._needed])
            del self._buffer[: self._needed]
            self._needed = 0
            self._answer(head, body)

    def _has_request(self) -> bool:
        if self._needed == 0:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return False
            self._body_at = end + 4
            length = _LENGTH.search(self._buffer, 0, end + 2)
            self._needed = self._body_at + (int(length[1]) if length else 0)
        return len(self._buffer) >= self._needed

    def _answer(self, head: bytes, body: bytes) -> None:
        if head.startswith(b"POST /v1/chat/completions "):
            self._complete(body)
        elif head.startswith(b"GET /v1/models "):
            self._write(replies.model_list())
        elif stream := dialect_replies.asked(head):
            dialect, tokens, gap = stream
            self._go_on(_Reply(deque(dialect_replies.writes(dialect, tokens)), gap))
        elif head.startswith(b"GET /last "):
            self._write(replies.http_bytes(200, self._seen.last))
        else:
            self._write(replies.error(404, "The fake endpoint has no such route."))

    def _complete(self, body: bytes) -> None:
        self._seen.last = body
        # A quote inside a string is escaped, so the unescaped key is the request's own (or a tool schema's, whose
        # value is an object and does not match).
        model = _MODEL.search(body)
        name = model[1].decode() if model else ""
        recipe = replies.recipe_of(name)
        if recipe is None:
            self._write(replies.error(404, f"The model `{name}` does not exist."))
            return
        reply = _plan(recipe, body)
        if recipe.latency_ms:
            self._timer = self._loop.call_later(recipe.latency_ms / 1000, self._go_on, reply)
        else:
            self._go_on(reply)

    def _go_on(self, reply: _Reply) -> None:
        """Write what is due, and come back after the gap for the rest."""
        self._timer = None
        self._write(reply.writes.popleft())
        while reply.writes and not reply.gap:
            self._write(reply.writes.popleft())
        if reply.writes:
            self._timer = self._loop.call_later(reply.gap, self._go_on, reply)
        elif reply.then_close and self._transport is not None:
            self._transport.close()
        else:
            self._serve_buffered()

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)


def _plan(recipe: replies.Recipe, body: bytes) -> _Reply:
    if recipe.status != HTTPStatus.OK:
        return _Reply(deque([replies.error(recipe.status, f"You asked for status {recipe.status}.")]))
    if not _STREAM.search(body):
        return _Reply(deque([replies.completion(recipe, len(body))]))
    tail = replies.stream_tail(recipe, usage=_USAGE.search(body) is not None, request_bytes=len(body))
    if recipe.fault:
        chunks = replies.token_chunks(recipe.tokens)
        half = replies.stream_head() + b"".join(chunks[: len(chunks) // 2])
        if recipe.fault == "drop":
            return _Reply(deque([half]), then_close=True)
        return _Reply(deque([half + replies.garbage_chunk() + tail]))
    if not recipe.gap_ms:
        return _Reply(deque([replies.stream_head() + replies.joined_chunks(recipe.tokens) + tail]))
    role, *tokens = replies.token_chunks(recipe.tokens)
    return _Reply(deque([replies.stream_head() + role, *tokens[:-1], tokens[-1] + tail]), gap=recipe.gap_ms / 1000)


async def serve(port: int = 0) -> asyncio.Server:
    """Listen on loopback; port 0 takes a free one."""
    seen = Seen()
    return await asyncio.get_running_loop().create_server(lambda: Endpoint(seen), "127.0.0.1", port, backlog=1024)


async def _main(port: int) -> None:
    server = await serve(port)
    address = cast("tuple[str, int]", server.sockets[0].getsockname())
    print(json.dumps({"port": address[1]}), flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    _ = parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1 (a free one by default)")
    run(_main(cast("int", parser.parse_args().port)))
