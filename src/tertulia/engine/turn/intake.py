"""Taking in what a model sends: pieces of a size that nobody else waits for, and a reply that has an end."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from tertulia.domain.errors import ProviderReplyTooLong
from tertulia.ports.provider import Piece, ReasoningPiece, TextPiece, ToolCallPiece

MAX_REPLY_CHARS: Final = 16 * 1024 * 1024
"""Characters of one reply, reasoning and arguments of calls included: some millions of tokens."""

MAX_REPLY_PIECES: Final = 1_000_000
"""Pieces of one reply, which are mostly tokens; the longest replies of any model have some hundred thousand."""

PIECE_CHARS: Final = 32 * 1024
"""A longer piece goes on as several."""


class Intake:
    """Takes in one reply of the named provider. ``chars`` is how much text was in the last piece, at most."""

    __slots__ = ("_left_chars", "_left_pieces", "_name", "chars")

    def __init__(self, provider_name: str) -> None:
        self.chars = 0
        self._name = provider_name
        self._left_chars = MAX_REPLY_CHARS
        self._left_pieces = MAX_REPLY_PIECES

    def take(self, event: Piece) -> Sequence[Piece]:
        """The event, in as many pieces as it takes.

        :raises ProviderReplyTooLong: if there is no end to the reply.
        """
        if isinstance(event, TextPiece | ReasoningPiece):
            text = event.text
        elif isinstance(event, ToolCallPiece):
            text = event.arguments
        else:
            return (event,)
        self.chars = len(text)
        self._left_chars -= self.chars
        self._left_pieces -= 1
        if self._left_chars < 0 or self._left_pieces < 0:
            raise ProviderReplyTooLong(self._name, MAX_REPLY_CHARS, MAX_REPLY_PIECES)
        return (event,) if self.chars <= PIECE_CHARS else _cut(event, text)


def _cut(event: TextPiece | ReasoningPiece | ToolCallPiece, text: str) -> Sequence[Piece]:
    """What identifies a piece goes with the first part of it; a signature, which ends what it is of, with the last."""
    texts = [text[start : start + PIECE_CHARS] for start in range(0, len(text), PIECE_CHARS)]
    if isinstance(event, ToolCallPiece):
        first = replace(event, arguments=texts[0])
        return [first, *(ToolCallPiece(event.index, each) for each in texts[1:])]
    unsigned = replace(event, signature=None)
    cut = [replace(unsigned, text=each) for each in texts]
    cut[-1] = replace(cut[-1], signature=event.signature)
    return cut
