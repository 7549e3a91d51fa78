"""How a request is laid out as chat turns for a local model, by the model's size. Measured in bench/layouts.

Chat templates differ in the roles they know and in what may follow what, so every layout ends up with one ``system``
turn and then ``user`` and ``assistant`` in turn.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

import msgspec

from tertulia.domain.json_values import NotJson, decoded
from tertulia.domain.messages import ImagePart, Message, TextPart, ToolCallPart, ToolReturnPart
from tertulia.domain.tools import ToolSpec
from tertulia.ports.provider import ModelRequest
from tertulia.providers.local.gguf import GgufFacts

SMALL: Final = 500_000_000
"""Parameters. Below, models get notes instead of the whole prompt."""


class Turn(msgspec.Struct, frozen=True):
    role: Literal["system", "user", "assistant"]
    content: str


class Layout(Protocol):
    """``temperature`` and ``max_tokens`` are what a request gets whose user set none; None leaves it to the runtime.

    ``repeat_penalty`` is no user's to set. A layout whose ``calls_again`` is false gets one round of tool calls a
    message, and then has to reply. One that is ``always_enveloped`` has replies as JSON objects even without tools.
    """

    @property
    def temperature(self) -> float | None: ...
    @property
    def max_tokens(self) -> int | None: ...
    @property
    def repeat_penalty(self) -> float | None: ...
    @property
    def calls_again(self) -> bool: ...
    @property
    def always_enveloped(self) -> bool: ...

    def opening(self) -> list[Turn]:
        """The turns that every chat begins with; none if chats have nothing in common."""
        ...

    def turns(self, request: ModelRequest, *, enveloped: bool) -> list[Turn]:
        """The chat. ``enveloped``: the reply will be a reply-or-call object, so earlier replies are shown as such."""
        ...


def is_small(facts: GgufFacts) -> bool:
    return facts.parameters is not None and facts.parameters < SMALL


_TOOLS_PREFACE: Final = """\
Answer with one JSON object: {"reply": "…"} to speak to the user, or {"call": "<tool>", "arguments": {…}} to use a \
tool first. The result of a tool comes in the next message. The tools are:
"""


@dataclass(frozen=True, slots=True)
class ChatLayout:
    """The compiled system prompt and the history as they are: for models that can read them."""

    temperature: float | None = None
    max_tokens: int | None = None
    repeat_penalty: float | None = None
    calls_again: bool = True
    always_enveloped: bool = False

    def opening(self) -> list[Turn]:
        return []

    def turns(self, request: ModelRequest, *, enveloped: bool) -> list[Turn]:
        system = request.system
        if enveloped:
            lines = "\n".join(_described(tool) for tool in request.tools)
            system = f"{system}\n\n{_TOOLS_PREFACE}{lines}"
        history = (turn for message in request.messages for turn in _turns_of(message, enveloped=enveloped))
        return [Turn("system", system), *_opened(joined(history))]


def _opened(turns: list[Turn]) -> list[Turn]:
    """Templates refuse a chat that the assistant begins, as one does whose first messages were compacted away."""
    return [Turn("user", "…"), *turns] if turns and turns[0].role == "assistant" else turns


def _described(tool: ToolSpec) -> str:
    described = {"name": tool.name, "about": tool.description, "arguments": tool.parameters}
    return json.dumps(described, ensure_ascii=False)


def joined(turns: Iterable[Turn]) -> list[Turn]:
    """Neighbours of one role as one turn, without empty ones."""
    out: list[Turn] = []
    for turn in turns:
        if not turn.content:
            continue
        if out and out[-1].role == turn.role:
            out[-1] = Turn(turn.role, f"{out[-1].content}\n\n{turn.content}")
        else:
            out.append(turn)
    return out


def _turns_of(message: Message, *, enveloped: bool) -> list[Turn]:
    if message.role != "assistant":
        return [Turn("user", spoken(message))]
    turns: list[Turn] = []
    said = plain_text(message)
    if said:
        turns.append(Turn("assistant", reply_object(said) if enveloped else said))
    turns += [Turn("assistant", call_object(call)) for call in message.tool_calls]
    return turns


def spoken(message: Message) -> str:
    """A message that is not the model's own, as the model reads it."""
    pieces = [plain_text(message)]
    pieces += [f"Result of {part.name} ({part.status}): {returned(part)}" for part in message.tool_returns]
    return "\n".join(piece for piece in pieces if piece)


def plain_text(message: Message) -> str:
    """The text parts; an image is named, not shown."""
    return "\n".join(_words(message.content))


def returned(part: ToolReturnPart) -> str:
    return part.content if isinstance(part.content, str) else "\n".join(_words(part.content))


def _words(parts: Sequence[object]) -> list[str]:
    words = (
        part.text if isinstance(part, TextPart) else "(an image)" if isinstance(part, ImagePart) else ""
        for part in parts
    )
    return [word for word in words if word]


def reply_object(text: str) -> str:
    """In the spacing that the grammar holds replies to."""
    return json.dumps({"reply": text}, ensure_ascii=False)


def call_object(call: ToolCallPart) -> str:
    """The call as the model wrote it, in the same spacing; arguments that were no JSON are shown as a string."""
    try:
        arguments = decoded(call.arguments)
    except NotJson:
        arguments = call.arguments
    return json.dumps({"call": call.name, "arguments": arguments}, ensure_ascii=False)
