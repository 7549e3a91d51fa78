"""A model's reply while it arrives: provider events become the log's deltas and, at the end, the parts of a message."""

from collections.abc import Callable, Container
from dataclasses import dataclass, field
from datetime import datetime
from itertools import takewhile
from typing import Any

from tertulia.domain.events import Event, HiddenReasoning, ReasoningDelta, TextDelta, ToolCallDelta
from tertulia.domain.ids import new_message_id, new_tool_call_id, part_otid
from tertulia.domain.messages import (
    Awaited,
    CitationsPart,
    NativePart,
    OmittedReasoningPart,
    Part,
    ReasoningPart,
    RedactedReasoningPart,
    TextPart,
    ToolCallPart,
)
from tertulia.ports.provider import (
    CitationsPiece,
    Finished,
    HiddenReasoningPiece,
    NativeItem,
    Piece,
    ReasoningPiece,
    TextPiece,
    ToolCallPiece,
)


@dataclass(slots=True)
class _Text:
    pieces: list[str] = field(default_factory=list[str])
    signature: str | None = None

    def part(self) -> Part:
        return TextPart("".join(self.pieces), self.signature)


@dataclass(slots=True)
class _Citations:
    citations: list[dict[str, Any]]

    def part(self) -> Part:
        return CitationsPart(tuple(self.citations))


@dataclass(slots=True)
class _Reasoning:
    pieces: list[str] = field(default_factory=list[str])
    signature: str | None = None

    def part(self) -> Part:
        return ReasoningPart("".join(self.pieces), signature=self.signature)


@dataclass(slots=True)
class _Hidden:
    data: str | None

    def part(self) -> Part:
        return OmittedReasoningPart() if self.data is None else RedactedReasoningPart(self.data)


@dataclass(slots=True)
class _Native:
    provider_type: str
    item: NativeItem

    def part(self) -> Part:
        return NativePart(self.provider_type, self.item.item)


@dataclass(slots=True)
class _Call:
    id: str
    name: str
    awaits: Awaited | None
    signature: str | None = None
    pieces: list[str] = field(default_factory=list[str])

    def part(self) -> ToolCallPart:
        return ToolCallPart(self.id, self.name, "".join(self.pieces), self.signature, self.awaits)


class Reply:
    """One reply of one step.

    ``taken`` holds the ids of tool calls that the history has already; ``awaits`` says what calls of a tool wait for.
    """

    def __init__(
        self,
        step_id: str,
        provider_type: str,
        created_at: datetime,
        taken: Container[str],
        awaits: Callable[[str], Awaited | None],
    ) -> None:
        self.message_id = new_message_id()
        self.created_at = created_at
        self.finished: Finished | None = None
        self._step_id = step_id
        self._provider_type = provider_type
        self._at = created_at.timestamp()
        self._taken = taken
        self._awaits = awaits
        self._parts: list[_Text | _Citations | _Reasoning | _Hidden | _Native | _Call] = []
        self._otids: list[str] = []  # one of each part, which all its deltas share
        self._calls: dict[int, tuple[int, _Call]] = {}
        self._call_ids: set[str] = set()

    def push(self, event: Piece) -> Event | None:  # noqa: PLR0911  one return for each kind of event
        """Take in an event; the delta that readers are shown, if it has one."""
        if isinstance(event, TextPiece):
            return self._text(event)
        if isinstance(event, ToolCallPiece):
            return self._call(event)
        if isinstance(event, ReasoningPiece):
            return self._reasoning(event)
        if isinstance(event, HiddenReasoningPiece):
            index = self._add(_Hidden(event.data))
            return HiddenReasoning(self.message_id, self._otid(index), self._step_id, self._at, event.data)
        if isinstance(event, NativeItem):
            self._add(_Native(self._provider_type, event))
            return None
        if isinstance(event, CitationsPiece):
            self._cite(event)
            return None
        self.finished = event
        return None

    @property
    def empty(self) -> bool:
        return not self._parts

    def content(self) -> tuple[Part, ...]:
        """The parts of the reply so far, at the indices that the deltas' otids tell."""
        return tuple(part.part() for part in self._parts)

    def calls(self) -> list[ToolCallPart]:
        """The tool calls so far."""
        return [call.part() for _, call in self._calls.values()]

    def partial_content(self) -> tuple[Part, ...]:
        """What is worth keeping of a reply that broke off: what was said before any call. Half a call is not."""
        said = takewhile(lambda part: not isinstance(part, ToolCallPart), self.content())
        kept = tuple(said)
        return kept if any(isinstance(part, TextPart) for part in kept) else ()

    def _text(self, piece: TextPiece) -> Event | None:
        if not piece.text and piece.signature is None:
            return None
        last = self._parts[-1] if self._parts else None
        # A signature ends the text that it is of.
        if not isinstance(last, _Text) or last.signature is not None:
            last = _Text()
            self._add(last)
        last.pieces.append(piece.text)
        last.signature = piece.signature
        if not piece.text:
            return None
        otid = self._otid(len(self._parts) - 1)
        return TextDelta(self.message_id, otid, self._step_id, self._at, piece.text)

    def _reasoning(self, piece: ReasoningPiece) -> Event | None:
        last = self._parts[-1] if self._parts else None
        # A signature is of one block of reasoning and ends it; what comes after it is another block.
        if not isinstance(last, _Reasoning) or last.signature is not None:
            last = _Reasoning()
            self._add(last)
        last.pieces.append(piece.text)
        last.signature = piece.signature or last.signature
        if not piece.text and not piece.signature:
            return None
        otid = self._otid(len(self._parts) - 1)
        return ReasoningDelta(self.message_id, otid, self._step_id, self._at, piece.text, piece.signature)

    def _call(self, piece: ToolCallPiece) -> Event:
        if piece.index in self._calls:
            index, call = self._calls[piece.index]
        else:
            name = piece.name or ""
            call = _Call(self._unique(piece.id), name, self._awaits(name))
            index = self._add(call)
            self._calls[piece.index] = (index, call)
        call.pieces.append(piece.arguments)
        call.signature = piece.signature or call.signature
        return ToolCallDelta(
            self.message_id,
            self._otid(index),
            self._step_id,
            self._at,
            call.id,
            call.name,
            piece.arguments,
            call.awaits,
        )

    def _cite(self, piece: CitationsPiece) -> None:
        last = self._parts[-1] if self._parts else None
        if isinstance(last, _Citations):
            last.citations.extend(piece.citations)
        else:
            self._add(_Citations(list(piece.citations)))

    def _unique(self, call_id: str | None) -> str:
        """Some servers number the calls of every reply from zero; a history needs each id once."""
        mine = call_id in self._call_ids
        unique = new_tool_call_id() if not call_id or mine or call_id in self._taken else call_id
        self._call_ids.add(unique)
        return unique

    def _add(self, part: _Text | _Citations | _Reasoning | _Hidden | _Native | _Call) -> int:
        self._parts.append(part)
        self._otids.append(part_otid(self.message_id, len(self._otids)))
        return len(self._parts) - 1

    def _otid(self, index: int) -> str:
        return self._otids[index]
