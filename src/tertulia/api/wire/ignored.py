"""What a request says that nobody here knows: let through, as clients of other releases send it, and told to them."""

import re
from collections.abc import Iterable
from contextvars import ContextVar
from typing import Final

IGNORED: Final[ContextVar[list[str] | None]] = ContextVar("ignored", default=None)
"""The names of a request's fields and parameters that were ignored; None outside of a request."""

HEADER: Final = b"x-tertulia-ignored"
_MOST: Final = 20
_LONGEST: Final = 60
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_.\[\]-]")


def note(names: Iterable[object]) -> None:
    """Remember the names for the reply; of very many, the first."""
    noted = IGNORED.get()
    if noted is None:
        return
    for name in names:
        if len(noted) > _MOST:
            return
        told = _UNSAFE.sub("?", str(name)[:_LONGEST])
        if told not in noted:
            noted.append(told)


def as_header(noted: list[str]) -> bytes:
    """The names in the header's form; dots stand for those that are too many."""
    return ", ".join([*noted[:_MOST], *(["..."] if len(noted) > _MOST else [])]).encode("ascii")
