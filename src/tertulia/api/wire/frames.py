"""A run's events as the frames of a server-sent event stream, to the byte."""

from collections.abc import Iterable
from typing import Literal
from uuid import uuid4

import msgspec

from tertulia.api.wire.messages import EventMessage, WireMessage, WireType
from tertulia.api.wire.presenter import Presenter
from tertulia.domain.clock import utc_now
from tertulia.domain.errors import StreamInterrupted, TertuliaError
from tertulia.domain.events import Ended, Event, Failed, Resumed, RunStarted, Stopped, UsageReported
from tertulia.domain.runs import RequestConfig, StopReason

DONE = b"data: [DONE]\n\n"

_SKIPPED = 1000
"""How many numbers are left out where a run was taken over: more than a reader is ever ahead of the store."""

encode = msgspec.json.Encoder().encode


class Ping(WireMessage, kw_only=True, gc=False):
    """The first frame of every stream, and the ping of a silent one."""

    message_type: WireType = "ping"


class StopReasonFrame(msgspec.Struct, kw_only=True, gc=False):
    message_type: Literal["stop_reason"] = "stop_reason"
    stop_reason: StopReason


class UsageFrame(msgspec.Struct, kw_only=True):
    """What a reply cost, in tokens. ``context_tokens`` is the estimate for the next request."""

    message_type: Literal["usage_statistics"] = "usage_statistics"
    completion_tokens: int
    prompt_tokens: int
    total_tokens: int
    step_count: int
    run_ids: list[str]
    cached_input_tokens: int | None
    cache_write_tokens: int | None
    reasoning_tokens: int | None
    context_tokens: int | None


class ErrorFrame(msgspec.Struct, kw_only=True, gc=False):
    message_type: Literal["error_message"] = "error_message"
    run_id: str
    error_type: str
    message: str
    detail: str
    seq_id: int | None = None


def usage_frame(run_id: str, event: UsageReported) -> UsageFrame:
    usage = event.usage
    return UsageFrame(
        completion_tokens=usage.completion_tokens,
        prompt_tokens=usage.prompt_tokens,
        total_tokens=usage.total_tokens,
        step_count=event.step_count,
        run_ids=[run_id],
        cached_input_tokens=usage.cached_input_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        reasoning_tokens=usage.reasoning_tokens,
        context_tokens=event.context_tokens,
    )


class Frames:
    """Encodes one run's events for one reader.

    Pings and messages are numbered from 1 in the order this reader is shown them. The numbers follow from the events
    and the run's own configuration alone, so a stream that is resumed ``after`` a number goes on with the very next
    frame. What ends a stream has no number and is always shown.
    """

    def __init__(self, run_id: str, config: RequestConfig, after: int = 0) -> None:
        self._run_id = run_id
        self._presenter = Presenter(run_id, config, listed=False, whole=not config.stream_tokens)
        self._after = after
        self._shown = 0

    def encode(self, events: Iterable[Event]) -> bytes:
        """The frames of some events, which go on where the last ones ended."""
        return b"".join([self._frame(event) for event in events])

    def broken_off(self, error: TertuliaError | None) -> bytes:
        """What a reader is told when the stream ends before the run does, and why."""
        interrupted = (
            error
            if isinstance(error, StreamInterrupted)
            else StreamInterrupted(self._run_id, error.message if error else "What followed in this run is not kept.")
        )
        detail = f"Resume reading the run {self._run_id} from where you are."
        failed = Failed("stream_interrupted", interrupted.message, detail)
        return b"event: error\n" + _data(_error_frame(self._run_id, failed))

    def keep_alive(self) -> bytes:
        """A ping that no event stands behind; it repeats the last number, so resuming after it misses nothing."""
        return _data(self._ping(f"ping-{uuid4()}", utc_now().timestamp(), max(self._shown, self._after) or None))

    def _frame(self, event: Event) -> bytes:  # noqa: PLR0911  one return for each kind of event
        match event:
            case RunStarted():
                ping = self._ping(f"ping-{self._run_id.removeprefix('run-')}", event.at, None)
                return self._number(ping)
            case Resumed():
                return self._resume(event)
            case Stopped():
                held = b"".join([self._number(message) for message in self._presenter.rest()])
                return held + _data(StopReasonFrame(stop_reason=event.stop_reason))
            case UsageReported():
                return _data(usage_frame(self._run_id, event))
            case Failed():
                return b"event: error\n" + _data(_error_frame(self._run_id, event))
            case Ended():
                return DONE
            case _:
                return b"".join([self._number(message) for message in self._presenter.present(event)])

    def _resume(self, event: Resumed) -> bytes:
        """The frames from here on have numbers that no reader was shown of what is lost.

        A reader may have been shown more than was ever stored: pieces of replies, and replies that no id here names.
        They have numbers above that of the last frame there is.
        """
        held = b"".join([self._number(message) for message in self._presenter.rest(event.discarded)])
        last = self._shown
        self._shown += _SKIPPED
        notice = EventMessage(
            id=f"message-{self._run_id.removeprefix('run-')}",
            date=self._presenter.date(event.at),
            run_id=self._run_id,
            event_type="resumed",
            event_data={"discarded_message_ids": list(event.discarded), "discarded_after_seq_id": last},
        )
        return held + self._number(notice)

    def _number(self, message: WireMessage) -> bytes:
        self._shown += 1
        if self._shown <= self._after:
            return b""
        message.seq_id = self._shown
        return _data(message)

    def _ping(self, id_: str, at: float, seq_id: int | None) -> Ping:
        return Ping(id=id_, date=self._presenter.date(at), run_id=self._run_id, seq_id=seq_id)


def _error_frame(run_id: str, event: Failed) -> ErrorFrame:
    return ErrorFrame(run_id=run_id, error_type=event.error_type, message=event.message, detail=event.detail)


def _data(frame: msgspec.Struct) -> bytes:
    return b"data: " + encode(frame) + b"\n\n"
