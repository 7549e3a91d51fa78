"""One call of a model: its reply read to the end, timed, and told to the server's telemetry when it is over.

A reply is read in pieces of a size that nobody else waits for, and has an end.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from types import TracebackType
from typing import Final, Self, TypeAlias

from tertulia.domain.errors import ProviderError, ProviderReplyTooLong
from tertulia.domain.events import Event
from tertulia.ports.event_log import RunLog
from tertulia.ports.faults import Faults, no_faults
from tertulia.ports.provider import (
    Finished,
    ModelRequest,
    Piece,
    Provider,
    ReasoningPiece,
    Retrying,
    TextPiece,
    ToolCallPiece,
)
from tertulia.ports.telemetry import CANCELLED, ModelCalled, ModelRetried, Purpose, Telemetry

MAX_REPLY_CHARS: Final = 16 * 1024 * 1024
"""Characters of one reply, reasoning and arguments of calls included: some millions of tokens."""

MAX_REPLY_PIECES: Final = 1_000_000
"""Pieces of one reply, which are mostly tokens; the longest replies of any model have some hundred thousand."""

PIECE_CHARS: Final = 32 * 1024
"""A longer piece goes on as several."""

Reader: TypeAlias = Callable[[Piece], Event | None]
"""Takes a piece of a reply, and gives what the run's log has to say of it, if there is a log."""


class ModelCall:
    """A call from its beginning to its end, as a context. ``finished`` is how the provider ended the reply, if it did.

    ``first_ns`` is when there was something of the reply to be shown, by the monotonic clock, ``duration_ns`` what it
    all took.
    """

    def __init__(
        self, telemetry: Telemetry, provider: Provider, request: ModelRequest, *, run_id: str | None, purpose: Purpose
    ) -> None:
        self.finished: Finished | None = None
        self.first_ns: int | None = None
        self.duration_ns = 0
        self._telemetry = telemetry
        self._provider = provider
        self._request = request
        self._run_id = run_id
        self._purpose: Purpose = purpose
        self._started_ns = time.time_ns()
        self._begun_ns = time.monotonic_ns()
        self._chars = 0
        self._left_chars = MAX_REPLY_CHARS
        self._left_pieces = MAX_REPLY_PIECES
        self._blank: dict[int, bool] = {}  # of each call, whether it has no arguments so far

    def __enter__(self) -> Self:
        return self

    async def drain(
        self,
        read: Reader,
        log: RunLog | None = None,
        faults: Faults = no_faults,
        retried: Callable[[Retrying], None] | None = None,
    ) -> None:
        """Ask, and give ``read`` each piece of the reply; what it makes of them goes to the ``log``.

        ``retried`` is told what fails before it is asked again.

        :raises ProviderError: if there is no reply to be had, or no end to it.
        """
        async with aclosing(self._provider.stream(self._request)) as events:
            async for event in events:
                if isinstance(event, Retrying):
                    self._telemetry(ModelRetried(self._provider.name, event.error.error_type))
                    if retried is not None:
                        retried(event)
                    continue
                for piece in self._pieces(event):
                    delta = read(piece)
                    if delta is None or log is None:
                        continue
                    log.append(delta, self._chars)
                    faults("during_stream")
                    if log.full:
                        await log.room()  # the model is not read from meanwhile, and waits as well
                    if self.first_ns is None:
                        self.first_ns = time.monotonic_ns()

    async def text(self) -> str:
        """Ask, and give the text of the whole reply.

        :raises ProviderError: as :meth:`drain`.
        """
        said: list[str] = []

        def read(piece: Piece) -> None:
            if isinstance(piece, TextPiece):
                said.append(piece.text)

        await self.drain(read)
        return "".join(said)

    def _pieces(self, event: Piece) -> Sequence[Piece]:
        if isinstance(event, TextPiece | ReasoningPiece):
            text = event.text
        elif isinstance(event, ToolCallPiece):
            text = event.arguments
            self._blank[event.index] = self._blank.get(event.index, True) and not text.strip()
        else:
            if not isinstance(event, Finished):
                return (event,)
            self.finished = event
            return (*self._empty_objects(event), event)
        self._chars = chars = len(text)
        self._left_chars -= chars
        self._left_pieces -= 1
        if self._left_chars < 0 or self._left_pieces < 0:
            raise ProviderReplyTooLong(self._provider.name, MAX_REPLY_CHARS, MAX_REPLY_PIECES)
        return (event,) if chars <= PIECE_CHARS else _cut(event, text)

    def _empty_objects(self, finished: Finished) -> Sequence[Piece]:
        """The arguments of calls that came without any: to whoever runs them, client or tool, they are a JSON object.

        Of a reply that its limit cut off, the last call is not whole.
        """
        whole = list(self._blank)[:-1] if finished.reason == "length" else self._blank
        return [ToolCallPiece(index, "{}") for index in whole if self._blank[index]]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        provider, request, finished = self._provider, self._request, self.finished
        said = finished.reply.get("model") if finished else None
        self.duration_ns = time.monotonic_ns() - self._begun_ns
        self._telemetry(
            ModelCalled(
                run_id=self._run_id,
                purpose=self._purpose,
                provider=provider.name,
                provider_type=provider.provider_type,
                model=request.model,
                settings=request.settings,
                started_ns=self._started_ns,
                duration_ns=self.duration_ns,
                first_token_ns=None if self.first_ns is None else self.first_ns - self._begun_ns,
                usage=finished and finished.usage,
                finish_reason=finished and finished.reason,
                request_id=finished and finished.request_id,
                response_model=said if isinstance(said, str) else None,
                error_type=None if error is None else _error_type(error),
            )
        )


def _cut(event: TextPiece | ReasoningPiece | ToolCallPiece, text: str) -> Sequence[Piece]:
    """What identifies a piece goes with the first part of it; a signature, which ends what it is of, with the last."""
    texts = [text[start : start + PIECE_CHARS] for start in range(0, len(text), PIECE_CHARS)]
    if isinstance(event, ToolCallPiece):
        first = replace(event, arguments=texts[0])
        return [first, *(ToolCallPiece(event.index, each) for each in texts[1:])]
    unsigned = replace(event, signature=None)
    cut = [replace(unsigned, text=each) for each in texts]
    cut[-1] = replace(cut[-1], signature=event.signature)
    return cut


def _error_type(error: BaseException) -> str:
    if isinstance(error, ProviderError):
        return error.error_type
    return type(error).__name__ if isinstance(error, Exception) else CANCELLED
