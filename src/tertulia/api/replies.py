"""The reply as one JSON object: the run's events drained, for clients that wait for the end."""

import asyncio
from contextlib import aclosing
from typing import Any

from msgspec import Struct, field
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tertulia.api.clients import outlasts
from tertulia.api.errors import run_failure_response
from tertulia.api.wire.frames import StopReasonFrame, UsageFrame, encode, usage_frame
from tertulia.api.wire.messages import WireMessage
from tertulia.api.wire.presenter import Presenter
from tertulia.domain.errors import StreamInterrupted
from tertulia.domain.events import Ended, Event, Failed, Resumed, RunStarted, Stopped, UsageReported
from tertulia.domain.runs import RequestConfig, Run, Usage
from tertulia.engine.joiner import join_deltas
from tertulia.engine.runs import Runs


class Reply(Struct, kw_only=True):
    """What a client is answered that does not stream. Nobody fills in ``turns``."""

    messages: list[WireMessage] = field(default_factory=list[WireMessage])
    stop_reason: StopReasonFrame
    usage: UsageFrame
    logprobs: dict[str, Any] | None = None
    turns: None = None


class BlockingReply(Response):
    """Waits for the end of one run and answers with all of it. The last client that goes away takes the run along."""

    media_type = "application/json"

    def __init__(self, runs: Runs, run: Run) -> None:
        self.status_code = 200
        self.background = None
        self._runs = runs
        self._run = run

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._runs.reading(self._run.id):
            folding = asyncio.ensure_future(self._fold())
            stayed = await outlasts(receive, folding)
        if stayed:
            await folding.result()(scope, receive, send)
        else:
            await self._runs.abandon(self._run)

    async def _fold(self) -> Response:
        """The whole reply, or the failure that ended the run."""
        gathering = _Gathering(self._run)
        async with aclosing(self._runs.follow(self._run.id)) as batches:
            async for batch in join_deltas(batches):
                for _, event in batch:
                    gathering.add(event)
        return gathering.response()


class _Gathering:
    def __init__(self, run: Run) -> None:
        self._run_id = run.id
        self._presenter = Presenter(run.id, run.request_config or RequestConfig(), listed=True, whole=True)
        self._failed: Failed | None = None
        self._ended = False
        self._reply = Reply(
            stop_reason=StopReasonFrame(stop_reason="error"), usage=usage_frame(run.id, UsageReported(Usage(), 0))
        )

    def add(self, event: Event) -> None:
        match event:
            case Stopped():
                self._reply.messages += self._presenter.rest()
                self._reply.stop_reason = StopReasonFrame(stop_reason=event.stop_reason)
            case UsageReported():
                self._reply.usage = usage_frame(self._run_id, event)
                self._reply.logprobs = event.logprobs
            case Failed():
                self._failed = event
            case Resumed():
                self._reply.messages += self._presenter.rest(event.discarded)
            case Ended():
                self._ended = True
            case RunStarted():
                pass
            case _:
                self._reply.messages += self._presenter.present(event)

    def response(self) -> Response:
        if not self._ended:
            raise StreamInterrupted(self._run_id, "What followed in this run is not kept.")
        failed = self._failed
        if failed is not None:
            return run_failure_response(failed.error_type, failed.message, failed.detail, failed.retry_after)
        return Response(encode(self._reply), media_type="application/json")
