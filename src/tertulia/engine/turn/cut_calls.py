"""Calls that nobody could run: the model is told, and no client is asked about them.

Those are the one that a reply's limit cut off, and those for a client whose arguments are not a JSON object.
"""

from typing import Final

from msgspec.structs import replace

from tertulia.domain.json_values import NotJson, decoded
from tertulia.domain.messages import Message, NativePart, ToolCallPart
from tertulia.domain.tools import ToolOutcome
from tertulia.engine.turn.step import StepRecord
from tertulia.engine.turn.tool_calls import return_message, return_part

MOST_IN_A_ROW: Final = 3
"""Replies that are cut off in a call, until the run ends: each costs all the tokens that a reply may have."""

CUT_OFF: Final = (
    "This call was not run: your reply reached its limit of tokens in the middle of it, so its arguments are not "
    "whole. Call the tool again with less in its arguments, or do it in several calls."
)


NOT_AN_OBJECT: Final = (
    "This call was not run: its arguments are not a JSON object. Call the tool again with a JSON object as its "
    "arguments."
)


def without_broken_calls(step: StepRecord, message: Message) -> list[Message]:
    """The reply as it is to be stored, with the returns of its calls that nobody could run.

    Those calls wait for nobody's answer.
    """
    finished = step.reply.finished
    said = [at for at, part in enumerate(message.content) if not isinstance(part, NativePart)]
    last = said[-1] if said and finished is not None and finished.reason == "length" else None
    content, returns = list(message.content), list[Message]()
    for at, part in enumerate(message.content):
        if not isinstance(part, ToolCallPart):
            continue
        why = _why_not(part, may_be_cut=at == last)
        if why is not None:
            call = content[at] = replace(part, awaits=None)
            outcome = ToolOutcome(content=why, status="error")
            returns.append(return_message(return_part(call, outcome), step.run, step_id=step.id))
    return [replace(message, content=tuple(content)), *returns] if returns else [message]


def _why_not(call: ToolCallPart, *, may_be_cut: bool) -> str | None:
    """Why the call cannot be run; None if it can, or if running it tells the model."""
    if not (may_be_cut or call.awaits) or _is_whole(call):
        return None
    return CUT_OFF if may_be_cut else NOT_AN_OBJECT


def _is_whole(call: ToolCallPart) -> bool:
    try:
        return isinstance(decoded(call.arguments), dict)
    except NotJson:
        return False
