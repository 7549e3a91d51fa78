"""Calls that a reply's limit cut off: nobody runs them, and the model is told."""

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


def without_cut_call(step: StepRecord, message: Message) -> list[Message]:
    """The reply as it is to be stored, with the return of the call that its limit cut off, if it did.

    That call waits for nobody's answer.
    """
    finished = step.reply.finished
    said = [(at, part) for at, part in enumerate(message.content) if not isinstance(part, NativePart)]
    at, last = said[-1] if said else (0, None)
    if finished is None or finished.reason != "length" or not isinstance(last, ToolCallPart) or _is_whole(last):
        return [message]
    call = replace(last, awaits=None)
    told = return_message(return_part(call, ToolOutcome(content=CUT_OFF, status="error")), step.run, step_id=step.id)
    return [replace(message, content=(*message.content[:at], call, *message.content[at + 1 :])), told]


def _is_whole(call: ToolCallPart) -> bool:
    try:
        return isinstance(decoded(call.arguments), dict)
    except NotJson:
        return False
