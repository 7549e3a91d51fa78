"""Pairing: every tool call of a history has exactly one return after it, which all providers insist on.

Writers keep to it. This is the second line of defence, for histories that were written by a process that died: it
changes what a model is shown, not what is stored.
"""

from collections.abc import Sequence

from msgspec.structs import replace

from tertulia.domain.messages import Message, ToolCallPart, ToolReturnPart

INTERRUPTED = "The tool call was interrupted before it returned. It may or may not have taken effect."


def interrupted_return(call: ToolCallPart) -> ToolReturnPart:
    """The return of a call whose own was lost."""
    return ToolReturnPart(tool_call_id=call.id, name=call.name, content=INTERRUPTED, status="error")


def unanswered(messages: Sequence[Message]) -> list[ToolCallPart]:
    """The calls without a return, in order."""
    answered = {part.tool_call_id for message in messages for part in message.tool_returns}
    return [call for message in messages for call in message.tool_calls if call.id not in answered]


def is_paired(messages: Sequence[Message]) -> bool:
    """Whether nothing needs mending: all returns directly follow the reply that made their calls."""
    waiting: set[str] = set()
    for message in messages:
        if message.role == "approval":
            continue
        if message.role == "tool":
            returned = {part.tool_call_id for part in message.tool_returns}
            if not returned or not returned <= waiting:
                return False
            waiting -= returned
        elif waiting:
            return False
        elif message.role == "assistant":
            waiting = {call.id for call in message.tool_calls}
    return not waiting


def paired(messages: Sequence[Message]) -> list[Message]:
    """The history with every call answered right after its reply and no return without a call."""
    if is_paired(messages):
        return list(messages)
    returns = {part.tool_call_id: (message, part) for message in messages for part in message.tool_returns}
    mended: list[Message] = []
    for message in messages:
        if message.role == "tool":
            continue
        mended.append(message)
        for index, call in enumerate(message.tool_calls):
            source, part = returns.pop(call.id, (message, interrupted_return(call)))
            mended.append(_answer(message, source, part, index))
    return mended


def _answer(caller: Message, source: Message, part: ToolReturnPart, index: int) -> Message:
    if source is not caller and source.tool_returns == (part,):
        return source
    # An id of its own, the same each time and no stored message's: adapters cache what they encode by message id.
    return replace(
        caller,
        id=f"{source.id}-{index}",
        role="tool",
        content=(part,),
        otid=None,
        created_at=source.created_at,
    )
