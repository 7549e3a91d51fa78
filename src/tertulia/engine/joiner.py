"""Joining: the deltas of a run's log become whole messages for readers that do not want tokens.

A message is whole when the log goes on to something else. What is joined keeps the sequence id of its last piece, so a
reader that resumes after it misses nothing and sees nothing twice.
"""

from collections.abc import AsyncIterator, Sequence
from operator import itemgetter
from typing import TypeVar

from msgspec.structs import replace

from tertulia.domain.events import (
    Delta,
    Event,
    HiddenReasoning,
    MessageAdded,
    ReasoningDelta,
    Resumed,
    TextDelta,
    ToolCallDelta,
)
from tertulia.domain.messages import Message
from tertulia.ports.event_log import Numbered

D = TypeVar("D", bound=Delta)


class Joiner:
    """Joins the deltas of one log as they come; anything else passes through.

    The pieces of parallel tool calls may alternate, so all parts of a reply are held until it is over.
    """

    def __init__(self) -> None:
        self._message_id = ""
        self._parts: dict[str, tuple[int, list[Delta]]] = {}

    def push(self, numbered: Sequence[Numbered]) -> list[Numbered]:
        """The whole messages and other events that these events complete."""
        whole: list[Numbered] = []
        for seq, event in numbered:
            if isinstance(event, TextDelta | ReasoningDelta | HiddenReasoning | ToolCallDelta):
                if event.message_id != self._message_id:
                    whole += self._take()
                    self._message_id = event.message_id
                _, pieces = self._parts.get(event.otid, (0, []))
                pieces.append(event)
                self._parts[event.otid] = (seq, pieces)
            else:
                if isinstance(event, Resumed) and self._message_id in event.discarded:
                    self._parts.clear()
                if isinstance(event, MessageAdded):
                    self._let_go(event.message)
                whole += self._take()
                whole.append((seq, event))
        return whole

    def _let_go(self, added: Message) -> None:
        """A call that has its return with the reply, because it was cut off, waits for nobody."""
        returned = {part.tool_call_id for part in added.tool_returns}
        for _, pieces in self._parts.values():
            first = pieces[0]
            if isinstance(first, ToolCallDelta) and first.tool_call_id in returned:
                pieces[0] = replace(first, awaits=None)

    def _take(self) -> list[Numbered]:
        parts, self._parts = self._parts, {}
        return sorted(((seq, _join(pieces)) for seq, pieces in parts.values()), key=itemgetter(0))


async def join_deltas(batches: AsyncIterator[Sequence[Numbered]]) -> AsyncIterator[Sequence[Numbered]]:
    """The same log with whole messages in place of deltas; a log does not end with a delta, so none is kept back."""
    joiner = Joiner()
    async for batch in batches:
        whole = joiner.push(batch)
        if whole:
            yield whole


async def drain(batches: AsyncIterator[Sequence[Numbered]]) -> list[Event]:
    """All events of the log, joined: the blocking reply is the stream drained."""
    return [event async for batch in join_deltas(batches) for _, event in batch]


def _join(pieces: list[Delta]) -> Delta:
    first, last = pieces[0], pieces[-1]
    if len(pieces) == 1:
        return first
    if isinstance(first, TextDelta):
        return replace(first, text="".join(piece.text for piece in _same(pieces, TextDelta)))
    if isinstance(first, ReasoningDelta):
        signature = last.signature if isinstance(last, ReasoningDelta) else None
        return replace(first, text="".join(p.text for p in _same(pieces, ReasoningDelta)), signature=signature)
    if isinstance(first, ToolCallDelta):
        return replace(first, arguments="".join(piece.arguments for piece in _same(pieces, ToolCallDelta)))
    return replace(first, data="".join(piece.data or "" for piece in _same(pieces, HiddenReasoning)) or None)


def _same(pieces: list[Delta], kind: type[D]) -> list[D]:
    return [piece for piece in pieces if isinstance(piece, kind)]
