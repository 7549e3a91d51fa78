"""Server-sent events, from raw bytes to the data of each event; knows nothing of what the data means."""

from collections.abc import Iterable
from typing import Final

MAX_LINE_BYTES: Final = 16 * 1024 * 1024
"""A line longer than this is no event of any model."""

_FIELDS: Final = (b"event:", b"id:", b"retry:", b":")


class LineTooLong(Exception):
    """A line without an end; reading on would only fill the memory."""


class EventDecoder:
    """Takes chunks cut at any byte and gives the data of every event that is complete.

    Line ends may be LF, CRLF or CR. ``stray`` is the beginning of whatever came that is no field of the format, for
    the message when the peer turns out not to speak it at all.
    """

    __slots__ = ("_data", "_ends_in_cr", "_pieces", "_size", "stray")

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0
        self._data: list[bytes] = []
        self._ends_in_cr = False
        self.stray = b""

    def feed(self, chunk: bytes) -> list[bytes]:
        """The data of the events that this chunk completes.

        :raises LineTooLong: if a line has more than ``MAX_LINE_BYTES``.
        """
        if self._ends_in_cr or b"\r" in chunk:
            chunk = self._with_plain_line_ends(chunk)
        if b"\n" not in chunk:
            self._keep(chunk)
            return []
        if self._pieces:
            self._pieces.append(chunk)
            chunk = b"".join(self._pieces)
            self._pieces.clear()
            self._size = 0
        lines = chunk.split(b"\n")
        rest = lines.pop()
        if rest:
            self._keep(rest)
        return self._events(lines)

    def finish(self) -> list[bytes]:
        """What is left when the stream is over; many servers forget the empty line after the last event."""
        rest = b"".join(self._pieces)
        self._pieces.clear()
        return self._events((rest, b"")) if rest else self._events((b"",))

    def _events(self, lines: Iterable[bytes]) -> list[bytes]:
        events: list[bytes] = []
        data = self._data
        for line in lines:
            if line.startswith(b"data:"):
                data.append(line[5:])
            elif line:
                if not line.startswith(_FIELDS):
                    self.stray = (self.stray + line + b"\n")[:2000]
            elif data:
                events.append(data[0] if len(data) == 1 else b"\n".join(data))
                data.clear()
        return events

    def _keep(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size > MAX_LINE_BYTES:
            raise LineTooLong
        self._pieces.append(piece)

    def _with_plain_line_ends(self, chunk: bytes) -> bytes:
        """CR and CRLF as LF; a CR at the end of a chunk waits, as its LF may be in the next one."""
        if self._ends_in_cr:
            chunk = b"\r" + chunk
        self._ends_in_cr = chunk.endswith(b"\r")
        if self._ends_in_cr:
            chunk = chunk[:-1]
        return chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
