"""The reply as a server-sent event stream: frames written as their events come, straight to the ASGI server."""

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import aclosing
from typing import Final

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from tertulia.api.clients import outlasts
from tertulia.api.wire.frames import Frames
from tertulia.domain.errors import TertuliaError
from tertulia.domain.events import Ended, Event
from tertulia.domain.runs import RequestConfig, Run
from tertulia.engine.joiner import Joiner
from tertulia.engine.runs import Runs
from tertulia.ports.event_log import Numbered
from tertulia.ports.rounds import turn

PING_SECONDS: Final = 20.0
"""How often a stream sends a ping when asked to; clients give up after 60 seconds of silence."""

_HEADERS: Final = (
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),  # proxies pass frames on at once
)

_AT_ONCE: Final = 64
_FEW: Final = 8
"""Events that are encoded at once; and how many are too few to share the event loop for."""


class EventStream(Response):
    """Streams one run to one client. The last client of a foreground run takes it along when it goes away.

    ``after`` is the number of the last frame the client has seen, 0 for none. What ends a stream comes always.
    """

    media_type = "text/event-stream"

    def __init__(
        self, runs: Runs, run: Run, *, after: int = 0, include_pings: bool = False, ping_seconds: float = PING_SECONDS
    ) -> None:
        self.status_code = 200
        self.background = None
        self._runs = runs
        self._run = run
        self._ping_seconds = ping_seconds if include_pings else None
        config = run.request_config or RequestConfig()
        self._joiner = None if config.stream_tokens else Joiner()
        self._frames = Frames(run.id, config, after)
        self._ended = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002  ASGI's signature
        async def keep_alive() -> None:
            if not self._ended:
                await send(_body(self._frames.keep_alive(), more_body=True))

        with self._runs.reading(self._run.id):
            await send(_start())
            writing = asyncio.ensure_future(self._write(send))
            stayed = await outlasts(receive, writing, pulse=keep_alive, pulse_seconds=self._ping_seconds)
        if stayed:
            writing.result()
        else:
            await self._runs.abandon(self._run)

    async def _write(self, send: Send) -> None:
        interrupted: TertuliaError | None = None
        try:
            async with aclosing(self._runs.follow(self._run.id)) as batches:
                async for batch in batches:
                    await self._write_batch(batch, send)
        except TertuliaError as error:  # this server stops, or its database does not answer: the run goes on without it
            interrupted = error
        if not self._ended:
            self._ended = True
            await send(_body(self._frames.broken_off(interrupted), more_body=False))

    async def _write_batch(self, batch: Sequence[Numbered], send: Send) -> None:
        for start in range(0, len(batch), _AT_ONCE):
            events = batch[start : start + _AT_ONCE] if len(batch) > _AT_ONCE else batch
            if len(batch) > _FEW:
                await turn()
            frames = self._frames.encode(self._whole(events))
            self._ended = isinstance(events[-1][1], Ended)
            if frames or self._ended:
                await send(_body(frames, more_body=not self._ended))

    def _whole(self, batch: Sequence[Numbered]) -> Iterable[Event]:
        whole = batch if self._joiner is None else self._joiner.push(batch)
        return [event for _, event in whole]


def _body(frames: bytes, *, more_body: bool) -> Message:
    return {"type": "http.response.body", "body": frames, "more_body": more_body}


def _start() -> Message:
    return {"type": "http.response.start", "status": 200, "headers": list(_HEADERS)}
