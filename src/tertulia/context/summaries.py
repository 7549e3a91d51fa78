"""Summaries: how a history is written down for a summarizer, how its summary is shown, and one made without any model.

Lengths are characters.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Final

from msgspec.structs import replace

from tertulia.domain.json_values import NotJson, decoded
from tertulia.domain.messages import ImagePart, Message, Part, TextPart, ToolCallPart, ToolReturnPart

DEFAULT_CLIP: Final = 50_000
"""The longest summary where nothing else is said."""

ACKNOWLEDGEMENT: Final = "Understood. I will write nothing but the summary."
WRITE_NOW: Final = "Write the summary now."

_SHOWN: Final = "[Earlier messages of this conversation are out of view. A summary of them follows.]"
_EXTRACT: Final = "Excerpts of the earlier messages, oldest first:"
_RULES: Final = """\
Write for the assistant, who will go on with the conversation and sees only your summary in place of these messages.
Keep what it cannot do without: what the user wants and prefers, facts, names, numbers, paths and identifiers exactly as
they were written, what was decided and why, what tools were used for and what they returned, what is done, and what is
still open. If there is an earlier summary, carry over what still matters of it. Invent nothing, answer nothing, and
address nobody. Write plain text, as short as that allows."""

ALL_PROMPT: Final = f"Summarise the conversation that you are given.\n{_RULES}"
WINDOW_PROMPT: Final = f"""\
Summarise the older part of a conversation. Its latest messages are not given to you; they stay in view.
{_RULES}"""
SELF_PROMPT: Final = (
    "This is not a message of the user. The conversation so far will be replaced by a summary, which you write now, "
    "without calling a tool.\n" + _RULES
)

_LONGEST_CALL: Final = 2_000
_LONGEST_RETURN: Final = 6_000
_LONGEST_WORDS: Final = 30_000
_LONGEST_EXCERPT: Final = 240
_LONGEST_SPOKEN: Final = 100_000
_SHORTEST_EXCERPT: Final = 60
_SPEAKERS: Final = {"user": "User", "system": "System", "assistant": "Assistant"}


def as_shown(message: Message) -> Message:
    """The message as a model is shown it: a summary says that it is one."""
    if message.role != "summary":
        return message
    return replace(message, content=(TextPart(_SHOWN), *message.content))


def transcript(messages: Iterable[Message], longest: int = _LONGEST_WORDS) -> list[str]:
    """The messages in words, one entry each; those that say nothing are left out. Parts are clipped at ``longest``."""
    return [entry for message in messages if (entry := _entry(message, longest))]


def pieces(entries: Sequence[str], limit: int) -> list[str]:
    """The entries put together to texts of at most ``limit``; one that is longer is split."""
    found: list[str] = []
    held: list[str] = []
    length = 0
    for entry in entries:
        if held and length + 2 + len(entry) > limit:
            found.append("\n\n".join(held))
            held, length = [], 0
        *whole, rest = [entry[at : at + limit] for at in range(0, len(entry), limit)] or [""]
        found += whole
        length += len(rest) + (2 if held else 0)
        held.append(rest)
    return [*found, "\n\n".join(held)] if held else found


def clipped(text: str, limit: int, limit_bytes: int) -> str:
    """The text cut to a number of characters and of UTF-8 bytes (which follow tokens better); a cut is marked."""
    text = text.strip()
    if len(text) <= limit and len(text.encode(errors="replace")) <= limit_bytes:
        return text
    room = max(0, min(limit - 1, limit_bytes - 3))
    return text[:room].encode(errors="replace")[:room].decode(errors="ignore").rstrip() + "…"


def extract(messages: Sequence[Message], limit: int) -> str:
    """A summary that is made of the beginnings of what was said, where no model can make a better one.

    What does not fit is thinned out evenly, but for the beginning of the conversation and its end.
    """
    lines = [line for message in messages for line in _excerpts(message)]
    room = max(0, limit - len(_EXTRACT))
    longest = max(_SHORTEST_EXCERPT, min(_LONGEST_EXCERPT, room // (len(lines) or 1) - 1))
    lines = _thinned([_shortened(line, longest) for line in lines], room)
    return "\n".join([_EXTRACT, *lines])[:limit]


def _entry(message: Message, longest: int) -> str:
    if message.role == "summary":
        return f"Summary of what came before: {message.text}"
    if message.role == "approval":
        return ""  # what came of it is told by the returns
    said = [told for part in message.content if (told := _told(part, longest))]
    speaker = _SPEAKERS.get(message.role)
    words = "\n".join(said)
    return f"{speaker}: {words}" if speaker and words else words


def _told(part: Part, longest: int) -> str:
    match part:
        case TextPart():
            return _shortened(part.text, min(longest, _LONGEST_WORDS))
        case ImagePart():
            return "(an image)"
        case ToolCallPart():
            return f"(calls {part.name} with {_shortened(part.arguments, min(longest, _LONGEST_CALL))})"
        case ToolReturnPart():
            words = _shortened(_returned(part), min(longest, _LONGEST_RETURN))
            failed = "failed with" if part.status == "error" else "returned"
            return f"Tool {part.name} {failed}: {words}"
        case _:
            return ""  # reasoning served its reply


def _returned(part: ToolReturnPart) -> str:
    if isinstance(part.content, str):
        return part.content
    return "\n".join(piece.text if isinstance(piece, TextPart) else "(an image)" for piece in part.content)


def _excerpts(message: Message) -> list[str]:
    if message.role == "summary":
        # Lines of an earlier extract go on being lines; other summaries are lines of their own.
        return [line for line in message.text.splitlines() if line.strip() and line != _EXTRACT]
    if message.role not in _SPEAKERS:
        return []
    speaker = _SPEAKERS[message.role]
    text = " ".join(_spoken(message).lstrip()[: 4 * _LONGEST_EXCERPT].split())
    return [f"- {speaker}: {text}"] if text else []


def _spoken(message: Message) -> str:
    """The text, and what an agent says through a tool or does with one."""
    said = [part.text for part in message.content if isinstance(part, TextPart)]
    said += [f"({call.name} {_arguments(call)})" for call in message.tool_calls]
    return " ".join(said)[:_LONGEST_SPOKEN]


def _arguments(call: ToolCallPart) -> str:
    if len(call.arguments) > _LONGEST_CALL:
        return call.arguments[:_LONGEST_CALL]
    try:
        return json.dumps(decoded(call.arguments), ensure_ascii=False)
    except NotJson:
        return call.arguments


def _shortened(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: max(1, longest - 1)]}…"


def _thinned(lines: list[str], room: int) -> list[str]:
    """As many of the lines as fit, the first and the last among them, the others at equal distances."""
    if sum(len(line) + 1 for line in lines) <= room:
        return lines
    fit = max(1, room // (max(map(len, lines)) + 1))
    if fit == 1:
        return lines[-1:]
    step = (len(lines) - 1) / (fit - 1)
    return [lines[round(index * step)] for index in range(min(fit, len(lines)))]
