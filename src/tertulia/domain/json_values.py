"""JSON of a stranger's own that is kept: what can be shown again, and JSON in a text that may be anything.

Whatever is kept has to be encoded again, inside of other values, by several encoders with limits of their own, and read
by clients in languages with smaller numbers. So what may be kept is less than what can be parsed.
"""

import re
from collections.abc import Iterable
from math import isfinite
from typing import Any, Final, cast

import msgspec

MAX_DEPTH: Final = 100
"""Objects and arrays inside of one another. Encoders stop at 250 and more; a value is shown inside of others."""

MAX_SIZE: Final = 250_000
"""Bytes of JSON."""

_SMALLEST: Final = -(2**63)
_LARGEST: Final = 2**64 - 1
_TOO_DEEP: Final = f"must not be nested more than {MAX_DEPTH} deep"
_STRING_OR_BRACKET: Final = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{}]')


class NotJson(ValueError):
    """A text that is no JSON, or JSON nested too deeply."""


def complaint(value: object) -> str | None:
    """Why the value cannot be kept, as the end of a sentence that begins with its name; None if it can."""
    level: list[Any] = [value]
    for depth in range(MAX_DEPTH + 1):
        wrong = next(filter(None, map(_wrong_number, level)), None)
        if wrong is not None:
            return wrong
        level = [member for container in level for member in _members(container)]
        if not level:
            break
        if depth == MAX_DEPTH - 1 and any(isinstance(member, dict | list) for member in level):
            return _TOO_DEEP
    try:
        size = len(msgspec.json.encode(value))
    except UnicodeEncodeError:
        return "must be valid Unicode text: it has half of a surrogate pair"
    return None if size <= MAX_SIZE else f"must have at most {MAX_SIZE} bytes as JSON; it has {size}"


def decoded(text: str) -> Any:
    """The value that a text of a model's or a stranger's is in JSON.

    :raises NotJson: if it is none, or could not be shown again.
    """
    try:
        value: Any = msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise NotJson(str(error)) from None
    except RecursionError:
        raise NotJson("it is nested too deeply") from None
    if is_too_deep(text):
        raise NotJson(f"it {_TOO_DEEP}")
    return value


def is_object(text: str) -> bool:
    """Whether a text is a JSON object that can be part of another JSON text."""
    try:
        msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return False
    return not is_too_deep(text)


def is_too_deep(text: str) -> bool:
    """Whether a text that is JSON is nested more deeply than may be. With few brackets there is nothing to look at."""
    if text.count("{") + text.count("[") <= MAX_DEPTH:
        return False
    depth = 0
    for found in _STRING_OR_BRACKET.finditer(text):
        mark = found[0]
        if mark in "{[":
            depth += 1
            if depth > MAX_DEPTH:
                return True
        elif mark in "}]":
            depth -= 1
    return False


def _members(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return cast("dict[str, Any]", value).values()
    return cast("list[Any]", value) if isinstance(value, list) else ()


def _wrong_number(value: object) -> str | None:
    if isinstance(value, int):
        return (
            None if _SMALLEST <= value <= _LARGEST else "must not have integers of more than 64 bits; send them as text"
        )
    if isinstance(value, float):
        return None if isfinite(value) else "must have only finite numbers"
    return None
