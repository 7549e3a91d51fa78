"""Characters that a server cut in two: the halves of a surrogate pair, in two deltas, become the character they are.

JSON can name half a character, by an escape, and servers that cut text between UTF-16 code units send the halves one by
one. No parser of ours takes one, so each is given a stand-in while it is on its way, and is put together with the other
where pieces of one text meet. Half a character that stays alone becomes U+FFFD.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final, TypeAlias, cast

from tertulia.ports.provider import (
    CitationsPiece,
    Finished,
    NativeItem,
    ProviderEvent,
    ReasoningPiece,
    TextPiece,
    ToolCallPiece,
)

_STAND_IN: Final = 0x100000  # added to a half: a code point for private use, which it is put back from
_ESCAPES: Final = re.compile(
    rb"\\(?:u([dD][89aAbB][0-9a-fA-F]{2})(\\u[dD][c-fC-F][0-9a-fA-F]{2})?|u([dD][c-fC-F][0-9a-fA-F]{2})|.)", re.DOTALL
)
_HALVES: Final = re.compile("[\ud800-\udfff]")
_STAND_INS: Final = re.compile("[\U0010d800-\U0010dfff]")
_PAIR: Final = re.compile("([\ud800-\udbff])([\udc00-\udfff])")
_LAST: Final = re.compile("[\ud800-\udbff]\\Z")

_Said: TypeAlias = TextPiece | ReasoningPiece | ToolCallPiece
_Channel: TypeAlias = tuple[type[_Said], int]


class Halves:
    """The halves of one reply. Where there are none, as nearly always, a piece costs one look."""

    def __init__(self) -> None:
        self._stand_ins = False
        self._seen = False
        self._held: dict[_Channel, str] = {}

    def mend(self, data: bytes) -> bytes:
        """JSON in which halves that stand alone are replaced by their stand-ins."""
        if b"\\ud" not in data and b"\\uD" not in data:
            return data
        return _ESCAPES.sub(self._stand_in, data)

    def joined(self, event: ProviderEvent) -> Sequence[ProviderEvent]:
        """The event with whole characters; fewer events or more than one, where halves are held back or given up."""
        if isinstance(event, TextPiece | ReasoningPiece):
            text, channel = event.text, (type(event), 0)
        elif isinstance(event, ToolCallPiece):
            text, channel = event.arguments, (ToolCallPiece, event.index)
        else:
            now = None if isinstance(event, Finished) else (ToolCallPiece, -1)
            return [*self._given_up(now), *self._others(event)] if self._seen else (event,)
        if not self._held and (text.isascii() or not self._has_halves(text)):
            return (event,)
        before = self._given_up(channel)
        text = self._held.pop(channel, "") + self._without_stand_ins(text)
        text = _PAIR.sub(_character, text)
        if last := _LAST.search(text):
            self._held[channel] = last[0]
            text = text[:-1]
        return [*before, *_with_text(event, _HALVES.sub("\ufffd", text))]

    def _stand_in(self, match: re.Match[bytes]) -> bytes:
        half = match[3] or (None if match[2] else match[1])
        if half is None:
            return match[0]
        self._stand_ins = self._seen = True
        return chr(_STAND_IN + int(half, 16)).encode()

    def _has_halves(self, text: str) -> bool:
        found = _HALVES.search(text) or (self._stand_ins and _STAND_INS.search(text))
        self._seen |= bool(found)
        return bool(found)

    def _without_stand_ins(self, text: str) -> str:
        return _STAND_INS.sub(lambda match: chr(ord(match[0]) - _STAND_IN), text) if self._stand_ins else text

    def _given_up(self, now: _Channel | None) -> list[ProviderEvent]:
        """What is left of halves whose others cannot come any more: of a text, once something else has begun.

        ``now`` is what the next piece is of; None at the end of the reply.
        """
        over = [held for held in self._held if now is None or (held != now and held[0] is not ToolCallPiece)]
        for held in over:
            del self._held[held]
        return [_lone(*held) for held in over]

    def _others(self, event: ProviderEvent) -> list[ProviderEvent]:
        """An event that holds whole objects of the provider's."""
        if isinstance(event, Finished):
            return [replace(event, reply=self._whole(event.reply))]
        if isinstance(event, NativeItem):
            return [replace(event, item=self._whole(event.item))]
        if isinstance(event, CitationsPiece):
            return [replace(event, citations=tuple(map(self._whole, event.citations)))]
        return [event]

    def _whole(self, value: Any) -> Any:
        if isinstance(value, str):
            text = _PAIR.sub(_character, self._without_stand_ins(value))
            return _HALVES.sub("\ufffd", text)
        if isinstance(value, list):
            return [self._whole(item) for item in cast("list[Any]", value)]
        if isinstance(value, dict):
            return {self._whole(name): self._whole(item) for name, item in cast("dict[str, Any]", value).items()}
        return value


def _lone(kind: type[_Said], index: int) -> _Said:
    if issubclass(kind, ToolCallPiece):
        return ToolCallPiece(index, "\ufffd")
    return kind("\ufffd")


def _with_text(event: _Said, text: str) -> Sequence[ProviderEvent]:
    """The event with this text; none if nothing is left of it."""
    if isinstance(event, ToolCallPiece):
        return [replace(event, arguments=text)] if text or event.id or event.name or event.signature else ()
    return [replace(event, text=text)] if text or event.signature else ()


def _character(pair: re.Match[str]) -> str:
    return pair[0].encode("utf-16", "surrogatepass").decode("utf-16")
