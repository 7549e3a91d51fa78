"""The standard streams as a server can rely on them: there, and never a reason to fail.

A reader that goes away, a terminal that is closed, or a locale without a letter is no failure of what was to be said.
"""

import contextlib
import io
import os
import sys
from typing import Final, TextIO, cast

_STREAMS: Final = (0, 1, 2)


def prepare_streams() -> None:
    """To be called once, before anything is opened or written."""
    opened = [number for number in _STREAMS if not _is_open(number)]
    for _ in opened:
        # A closed one would be the next file or socket that is opened, and what is written to it would land in there.
        os.open(os.devnull, os.O_RDWR)
    sys.stdout = _kept(sys.stdout, 1)
    sys.stderr = _kept(sys.stderr, 2)


class Forgiving(io.TextIOBase):
    """A stream for what need not arrive: log lines, and what a server says of itself."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str, /) -> int:
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()

    def isatty(self) -> bool:
        try:
            return self._stream.isatty()
        except (OSError, ValueError):
            return False


def tell(line: str, *, error: bool = False) -> None:
    """Say it to whoever still listens."""
    stream = Forgiving(sys.stderr if error else sys.stdout)
    stream.write(f"{line}\n")
    stream.flush()


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def _kept(stream: TextIO | None, number: int) -> TextIO:
    if stream is None:
        return os.fdopen(number, "w", encoding="utf-8", errors="backslashreplace", closefd=False)
    if hasattr(stream, "reconfigure"):
        cast("io.TextIOWrapper", stream).reconfigure(errors="backslashreplace")
    return stream
