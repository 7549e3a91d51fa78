"""What was not done of a request although it was let through, told to the client in headers of the reply.

``x-tertulia-ignored`` names fields and parameters that nobody here knows, as clients of other releases send them;
``x-tertulia-dropped`` settings that an agent had and its new model cannot have.
"""

import re
from collections.abc import Iterable
from contextvars import ContextVar
from typing import Final

IGNORED: Final = b"x-tertulia-ignored"
DROPPED: Final = b"x-tertulia-dropped"

NOTES: Final[ContextVar[dict[bytes, list[str]] | None]] = ContextVar("notes", default=None)
"""The names by header; None outside of a request."""

_MOST: Final = 20
_LONGEST: Final = 60
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_.\[\]-]")


def note(names: Iterable[object], header: bytes = IGNORED) -> None:
    """Remember the names for the reply; of very many, the first."""
    notes = NOTES.get()
    if notes is None:
        return
    for name in names:
        noted = notes.setdefault(header, [])
        if len(noted) > _MOST:
            return
        told = _UNSAFE.sub("?", str(name)[:_LONGEST])
        if told not in noted:
            noted.append(told)


def as_header(noted: list[str]) -> bytes:
    """The names in the header's form; dots stand for those that are too many."""
    return ", ".join([*noted[:_MOST], *(["..."] if len(noted) > _MOST else [])]).encode("ascii")
