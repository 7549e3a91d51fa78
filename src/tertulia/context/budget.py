"""How many tokens a request has: estimated from its length, corrected by what providers report, counted when close.

An estimate costs 0.1 µs a message once it was seen, needs no encoding and is corrected by the usage of every reply.
Only a request that comes close to the window is worth counting, and then in a thread.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

import msgspec

from tertulia.context.encoding import count_tokens
from tertulia.domain.messages import (
    ImagePart,
    Message,
    NativePart,
    Part,
    ReasoningPart,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
)
from tertulia.domain.recent import Recent
from tertulia.domain.tools import ToolSpec

__all__ = ["Sent", "TokenMeter", "all_parts", "count_tokens"]

Sent: TypeAlias = Callable[[Message], Sequence[Part]]
"""What of a message goes into a request to the model whose tokens are counted."""

_BYTES_PER_TOKEN: Final = 4
"""In UTF-8; near enough for most languages, as scripts with longer characters have longer tokens in bytes."""

_TOKENS_PER_MESSAGE: Final = 4  # the marks around each
_TOKENS_PER_PART: Final = 3  # ids and names of calls and returns
_TOKENS_PER_IMAGE: Final = 1_000
_KEPT: Final = 30_000  # messages; 150 bytes each
_MODELS_KEPT: Final = 1_000
"""Corrections; where an endpoint takes any name for a model, a client can name as many as it likes."""
_SMOOTHING: Final = 0.3
_EXTREMES: Final = (0.2, 5.0)
"""Corrections beyond these are mistakes of a provider's counting, such as leaving out what its cache held."""

_NEAR: Final = 0.75
"""The part of the window from which on an estimate is not trusted."""


def all_parts(message: Message) -> Sequence[Part]:
    """What a model may be shown of a message; of a person's answer to an approval, only what came of it."""
    return () if message.role == "approval" else message.content


class TokenMeter:
    """Estimates of requests, one correction for each model. Made for one thread.

    ``model`` is a handle throughout, and ``sent`` the same for all calls with one: what it says of a message is kept.
    """

    def __init__(self) -> None:
        self._lengths = Recent[int](_KEPT)
        self._counts = Recent[int](_KEPT)
        self._corrections = Recent[float](_MODELS_KEPT)

    def estimate(
        self,
        model: str,
        messages: Sequence[Message],
        *,
        sent: Sent = all_parts,
        system: str = "",
        tools: Sequence[ToolSpec] = (),
    ) -> int:
        """The tokens of a request, without counting."""
        known = self._lengths.get
        total = _text_bytes(system) + sum(map(_tool_bytes, tools))
        for message in messages:
            key = _key(model, message)
            length = known(key)
            total += self._measured(key, sent(message)) if length is None else length
        return max(1, round(total / _BYTES_PER_TOKEN * self._correction(model)))

    def observe(self, model: str, estimated: int, actual: int) -> None:
        """Learn from a reply's usage: ``estimated`` is what ``estimate`` said of its request, ``actual`` its tokens."""
        if estimated <= 0 or actual <= 0:
            return
        factor = min(max(actual / estimated, _EXTREMES[0]), _EXTREMES[1])
        known = self._corrections.get(model)
        correction = factor if known is None else known * factor**_SMOOTHING
        self._corrections.put(model, min(max(correction, _EXTREMES[0]), _EXTREMES[1]))

    async def measure(
        self,
        model: str,
        messages: Sequence[Message],
        *,
        window: int,
        sent: Sent = all_parts,
        system: str = "",
        tools: Sequence[ToolSpec] = (),
    ) -> int:
        """The estimate, or the count where the estimate comes near the window of ``window`` tokens.

        For a model whose replies were seen the estimate stands if it is the larger one: its tokens are not ``o200k``'s.
        """
        estimated = self.estimate(model, messages, sent=sent, system=system, tools=tools)
        if estimated < window * _NEAR:
            return estimated
        shown = [(_key(model, message), message) for message in messages]
        counted = await asyncio.to_thread(self._count, shown, sent, system, tools)
        return max(counted, estimated) if self._corrections.get(model) is not None else counted

    def _correction(self, model: str) -> float:
        known = self._corrections.get(model)
        return 1.0 if known is None else known

    def _measured(self, key: str, parts: Sequence[Part]) -> int:
        length = _BYTES_PER_TOKEN * _TOKENS_PER_MESSAGE + sum(map(_part_bytes, parts))
        self._lengths.put(key, length)
        return length

    def _count(
        self, messages: Sequence[tuple[str, Message]], sent: Sent, system: str, tools: Sequence[ToolSpec]
    ) -> int:
        total = count_tokens(system) + sum(count_tokens(_tool_text(tool)) for tool in tools)
        for key, message in messages:
            count = self._counts.get(key)
            if count is None:
                count = _TOKENS_PER_MESSAGE + sum(map(_part_tokens, sent(message)))
                self._counts.put(key, count)
            total += count
        return total


def _key(model: str, message: Message) -> str:
    """What is kept of a message under; of replies, each model is sent other parts."""
    return f"{model} {message.id}" if message.role == "assistant" else message.id


def _part_bytes(part: Part) -> int:
    words, images, frame = _contents(part)
    tokens = images * _TOKENS_PER_IMAGE + frame
    return sum(map(_text_bytes, words)) + tokens * _BYTES_PER_TOKEN


def _part_tokens(part: Part) -> int:
    words, images, frame = _contents(part)
    return sum(map(count_tokens, words)) + images * _TOKENS_PER_IMAGE + frame


def _contents(part: Part) -> tuple[tuple[str, ...], int, int]:  # noqa: PLR0911  a table in the shape of a match
    """The texts of a part, how many images it has, and the tokens around them."""
    match part:
        case TextPart():
            return (part.text,), 0, 0
        case ReasoningPart():
            return (part.reasoning,), 0, 0
        case ToolCallPart():
            return (part.name, part.arguments), 0, _TOKENS_PER_PART
        case ToolReturnPart(content=str(text)):
            return (text,), 0, _TOKENS_PER_PART
        case ToolReturnPart(content=pieces):
            words = tuple(piece.text for piece in pieces if isinstance(piece, TextPart))
            return words, len(pieces) - len(words), _TOKENS_PER_PART
        case ImagePart():
            return (), 1, 0
        case NativePart():
            return (msgspec.json.encode(part.item).decode(),), 0, 0
        case _:
            return (), 0, 0  # hidden reasoning is not counted as input by those who hide it


def _text_bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode(errors="surrogatepass"))


def _tool_text(tool: ToolSpec) -> str:
    return f"{tool.name} {tool.description} {msgspec.json.encode(tool.parameters).decode()}"


def _tool_bytes(tool: ToolSpec) -> int:
    return _text_bytes(tool.name) + _text_bytes(tool.description) + len(msgspec.json.encode(tool.parameters))
