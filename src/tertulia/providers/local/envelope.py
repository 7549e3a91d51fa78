"""Reading a reply-or-call object as it comes: its stream is turned back into text, or into a tool call."""

import re
from typing import Final

import msgspec

from tertulia.ports.provider import ProviderEvent, TextPiece, ToolCallPiece
from tertulia.providers.local.constraint import Opens
from tertulia.providers.local.json_stream import JsonString, JsonText

_REPLY: Final = re.compile(r'\s*\{\s*"reply"\s*:\s*(\S)')
_CALL: Final = re.compile(r'\s*\{\s*"call"\s*:\s*("(?:[^"\\]|\\.)*")\s*,\s*"arguments"\s*:\s*(\{)')


class NotHeld(Exception):
    """The text is not of the form it was to be held to: the runtime dropped a grammar that it could not express."""


class EnvelopeReader:
    """Turns the text of a reply-or-call object into events, as early as each is certain.

    ``opens`` is the character the value of ``reply`` begins with, None if a reply is not allowed.
    """

    def __init__(self, call_id: str, opens: Opens | None) -> None:
        self.called = False
        self._opens = opens
        self._call_id = call_id
        self._head = ""
        self._value: JsonString | JsonText | None = None

    @property
    def complete(self) -> bool:
        return self._value is not None and self._value.done

    def feed(self, text: str) -> list[ProviderEvent]:
        """The events that have become certain.

        :raises NotHeld: if the reply is not of the kind that was asked for.
        """
        events: list[ProviderEvent] = []
        if self._value is None:
            self._head += text
            text = self._open(events)
        if self._value is None or self._value.done:
            return events
        piece, _ = self._value.feed(text)
        if piece:
            events.append(ToolCallPiece(0, piece) if self.called else TextPiece(piece))
        return events

    def _open(self, events: list[ProviderEvent]) -> str:
        """See whether the head tells reply from call; the text of the value that has come with it."""
        reply = _REPLY.match(self._head)
        if reply:
            if reply[1] != self._opens:
                raise NotHeld
            self._value = JsonString() if reply[1] == '"' else JsonText()
            return self._head[reply.end() if reply[1] == '"' else reply.start(1) :]
        call = _CALL.match(self._head)
        if call:
            self.called, self._value = True, JsonText()
            events.append(ToolCallPiece(0, "", id=self._call_id, name=msgspec.json.decode(call[1], type=str)))
            return self._head[call.start(2) :]
        return ""
