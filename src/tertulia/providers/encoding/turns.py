"""A history as turns of a user and an assistant that alternate, for the dialects that insist; knows none of them."""

import re
from collections.abc import Iterable
from hashlib import sha256
from typing import Final, Literal, TypeAlias

import msgspec

from tertulia.domain.json_values import is_object

# The first byte of an encoded message says whose it is, or that it holds the results of tools; blocks follow.
ASSISTANT: Final = ord("A")
USER: Final = ord("U")
RESULTS: Final = ord("R")

_GOOD_CALL_ID: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")

Mark: TypeAlias = Literal[b"A", b"U", b"R"]

Turn: TypeAlias = tuple[int, bytes]
"""Whose it is, and its encoded blocks with commas between them. ``RESULTS`` is a user's turn of nothing else.

Plain tuples, because a history has thousands and each request makes them anew.
"""


def fragment(mark: Mark, blocks: Iterable[object]) -> bytes:
    """An encoded message: its mark and its blocks, or nothing where there are none."""
    encoded = b",".join(map(_encode, blocks))
    return mark + encoded if encoded else b""


def alternating(fragments: Iterable[bytes]) -> list[Turn]:
    """Neighbours of one side become one turn, the results of tools at its beginning. Empty ones are passed over."""
    turns: list[Turn] = []
    whose = 0
    results: list[bytes] = []
    others: list[bytes] = []
    for encoded in fragments:
        if not encoded:
            continue
        kind = encoded[0]
        side = ASSISTANT if kind == ASSISTANT else USER
        if side != whose:
            if whose:
                turns.append(_turn(whose, results, others))
                results.clear()
                others.clear()
            whose = side
        (results if kind == RESULTS else others).append(encoded[1:])
    if whose:
        turns.append(_turn(whose, results, others))
    return turns


def _turn(whose: int, results: list[bytes], others: list[bytes]) -> Turn:
    return (whose, b",".join(results + others)) if others else (RESULTS, b",".join(results))


def call_id(id_: str, prefix: str) -> str:
    """The id itself, or one that is always the same for it: other providers' may hold what is refused elsewhere."""
    return id_ if _GOOD_CALL_ID.fullmatch(id_) else f"{prefix}_{sha256(id_.encode()).hexdigest()[:32]}"


def arguments_object(arguments: str) -> msgspec.Raw | dict[str, str]:
    """A call's arguments as the JSON object they must be; what is none is sent inside of one."""
    if not is_object(arguments):
        return {"invalid_arguments": arguments} if arguments.strip() else {}
    return msgspec.Raw(arguments.encode())


_encode: Final = msgspec.json.Encoder().encode
