"""Stored messages as clients see them: each part of a stored message becomes a wire message of its type.

Listing is a hot path: these are msgspec structs, encoded without a detour over Pydantic.
"""

from collections.abc import Iterator
from typing import Any, Literal, TypeAlias, cast

from msgspec import Struct

from tertulia.domain.ids import part_otid
from tertulia.domain.json_values import NotJson, decoded
from tertulia.domain.messages import (
    ApprovalPart,
    Compaction,
    ImagePart,
    Message,
    OmittedReasoningPart,
    Part,
    ReasoningPart,
    RedactedReasoningPart,
    Role,
    SummarizedReasoningPart,
    SummaryMethod,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    ToolStatus,
)
from tertulia.domain.runs import RequestConfig

MessageType: TypeAlias = Literal[
    "system_message",
    "user_message",
    "assistant_message",
    "reasoning_message",
    "hidden_reasoning_message",
    "tool_call_message",
    "tool_return_message",
    "approval_request_message",
    "approval_response_message",
    "summary_message",
    "event_message",
]

WireType: TypeAlias = MessageType | Literal["ping"]

# Where a stored message's role decides which wire messages it can become, a filter by type can ask the store by role.
_ROLES: dict[str, Role] = {
    "system_message": "system",
    "user_message": "user",
    "assistant_message": "assistant",
    "reasoning_message": "assistant",
    "hidden_reasoning_message": "assistant",
    "tool_call_message": "assistant",
    "tool_return_message": "tool",
    "approval_request_message": "assistant",
    "approval_response_message": "approval",
    "summary_message": "summary",
}


class WireMessage(Struct, kw_only=True, gc=False):
    """What every wire message has. Clients see the fields in this order, those of its type after them."""

    id: str
    date: str
    name: str | None = None
    message_type: WireType
    otid: str | None = None
    sender_id: str | None = None
    step_id: str | None = None
    is_err: bool | None = None
    seq_id: int | None = None
    run_id: str | None = None


class SystemMessage(WireMessage, kw_only=True, gc=False):
    message_type: WireType = "system_message"
    content: str


class UserMessage(WireMessage, kw_only=True):
    message_type: WireType = "user_message"
    content: str | tuple[TextPart | ImagePart, ...]


class ReasoningMessage(WireMessage, kw_only=True, gc=False):
    message_type: WireType = "reasoning_message"
    source: Literal["reasoner_model", "non_reasoner_model"] = "reasoner_model"
    reasoning: str
    signature: str | None = None


class HiddenReasoningMessage(WireMessage, kw_only=True, gc=False):
    message_type: WireType = "hidden_reasoning_message"
    state: Literal["redacted", "omitted"]
    hidden_reasoning: str | None = None


class AssistantMessage(WireMessage, kw_only=True, gc=False):
    message_type: WireType = "assistant_message"
    content: str


class ToolCall(Struct, gc=False):
    """A call, or in a stream of tokens a new piece of its arguments."""

    name: str
    arguments: str
    tool_call_id: str


class ToolCallMessage(WireMessage, kw_only=True):
    """One call. ``tool_calls`` is a list, but in a stream the same object as ``tool_call``."""

    message_type: WireType = "tool_call_message"
    tool_call: ToolCall
    tool_calls: list[ToolCall] | ToolCall


class ToolReturn(Struct):
    tool_return: str | tuple[TextPart | ImagePart, ...]
    status: ToolStatus
    tool_call_id: str
    stdout: tuple[str, ...] | None = None
    stderr: tuple[str, ...] | None = None
    type: Literal["tool"] = "tool"


class ToolReturnMessage(WireMessage, kw_only=True):
    """What calls returned: the first in the fields of the message itself, all in ``tool_returns``."""

    message_type: WireType = "tool_return_message"
    tool_return: str
    status: ToolStatus
    tool_call_id: str
    stdout: tuple[str, ...] | None = None
    stderr: tuple[str, ...] | None = None
    tool_returns: list[ToolReturn]


class ApprovalRequestMessage(WireMessage, kw_only=True):
    """The calls of a reply that wait for an answer. In a stream of tokens each frame has a piece of one of them."""

    message_type: WireType = "approval_request_message"
    tool_call: ToolCall
    tool_calls: list[ToolCall] | ToolCall


class ApprovalReturn(Struct, gc=False):
    """What a person decided about a call."""

    tool_call_id: str
    approve: bool
    reason: str | None = None
    type: Literal["approval"] = "approval"


class ApprovalResponseMessage(WireMessage, kw_only=True):
    """What a client answered: call by call, and in the words of one that answered the request as a whole."""

    message_type: WireType = "approval_response_message"
    approvals: list[ApprovalReturn | ToolReturn]
    approve: bool | None = None
    approval_request_id: str | None = None
    reason: str | None = None


class CompactionStats(Struct, gc=False):
    """Counts are messages in context. The fields from ``mode`` on are ours: how the summary was made, and why so."""

    trigger: str
    context_tokens_before: int | None
    context_tokens_after: int | None
    context_window: int
    messages_count_before: int
    messages_count_after: int
    mode: str | None
    method: SummaryMethod
    model: str | None
    failure: str | None
    summarizer_tokens: int


class SummaryMessage(WireMessage, kw_only=True, gc=False):
    message_type: WireType = "summary_message"
    summary: str
    compaction_stats: CompactionStats | None = None


class EventMessage(WireMessage, kw_only=True):
    """What happened in a run and is no part of the history. It is streamed, never stored.

    ``resumed`` is our addition: another worker resumes the run, and makes interrupted replies again.
    """

    message_type: WireType = "event_message"
    event_type: Literal["compaction", "resumed"] = "compaction"
    event_data: dict[str, Any]


def roles_of(types: tuple[str, ...] | None) -> tuple[Role, ...] | None:
    """The roles of stored messages that can become such wire messages; None when no stored message can.

    An empty tuple is every role.
    """
    if types is None:
        return ()
    return tuple(dict.fromkeys(_ROLES[type_] for type_ in types if type_ in _ROLES)) or None


def wire_messages(message: Message, config: RequestConfig) -> list[WireMessage]:
    """What a reader with this configuration is shown of a stored message, in the order of its parts."""
    types = config.include_return_message_types
    shown = _all_of(message, config)
    return list(shown) if types is None else [wire for wire in shown if wire.message_type in types]


def _all_of(message: Message, config: RequestConfig) -> Iterator[WireMessage]:
    match message.role:
        case "user":
            yield UserMessage(**_common(message, 0), content=_user_content(message))
        case "system":
            yield SystemMessage(**_common(message, 0), content=message.text)
        case "summary":
            stats = message.compaction and _stats(message.compaction)
            yield SummaryMessage(**_common(message, 0), summary=message.text, compaction_stats=stats)
        case "tool":
            returns = [part for part in message.tool_returns if not _is_spoken_return(part, config)]
            if returns:
                yield _tool_return(message, returns)
        case "approval":
            yield _approval_response(message)
        case "assistant":
            yield from _reply(message, config)


def _stats(made: Compaction) -> CompactionStats:
    return CompactionStats(
        trigger=made.trigger,
        context_tokens_before=made.tokens_before,
        context_tokens_after=made.tokens_after,
        context_window=made.context_window,
        messages_count_before=made.messages_before,
        messages_count_after=made.messages_after,
        mode=made.mode,
        method=made.method,
        model=made.model,
        failure=made.failure,
        summarizer_tokens=made.summarizer_tokens,
    )


def _common(message: Message, index: int, name: str | None = None) -> dict[str, Any]:
    """The fields every wire message has, for the index-th part; ``name`` where the message itself has none."""
    return {
        "id": message.id,
        "date": message.created_at.isoformat(timespec="seconds"),
        "name": message.name or name,
        "otid": message.otid if message.otid is not None and index == 0 else part_otid(message.id, index),
        "sender_id": message.sender_id,
        "step_id": message.step_id,
        "is_err": True if message.is_err else None,
        "run_id": message.run_id,
    }


def _reply(message: Message, config: RequestConfig) -> Iterator[WireMessage]:
    """The parts of a model's reply; the calls that wait for an answer are one message, in the place of the first."""
    asked = False
    for index, part in enumerate(message.content):
        if isinstance(part, ToolCallPart) and part.awaits:
            if not asked:
                asked = True
                yield _approval_request(message, index)
        else:
            wire = _reply_part(message, index, part, config)
            if wire is not None:
                yield wire


def shown_arguments(call: ToolCallPart) -> str:
    """Clients parse them as JSON. Older releases stored calls without any."""
    return call.arguments if call.arguments.strip() else "{}"


def _approval_request(message: Message, index: int) -> ApprovalRequestMessage:
    calls = [ToolCall(call.name, shown_arguments(call), call.id) for call in message.tool_calls if call.awaits]
    return ApprovalRequestMessage(**_common(message, index), tool_call=calls[0], tool_calls=calls)


def _approval_response(message: Message) -> ApprovalResponseMessage:
    decided = next((part for part in message.content if isinstance(part, ApprovalPart)), None)
    whole = decided if message.approval_request_id else None
    return ApprovalResponseMessage(
        **_common(message, 0),
        approvals=[
            ApprovalReturn(part.tool_call_id, part.approve, part.reason)
            if isinstance(part, ApprovalPart)
            else _one_return(part)
            for part in message.content
            if isinstance(part, ApprovalPart | ToolReturnPart)
        ],
        approve=whole and whole.approve,
        approval_request_id=message.approval_request_id,
        reason=whole and whole.reason,
    )


def _reply_part(message: Message, index: int, part: Part, config: RequestConfig) -> WireMessage | None:
    """One part of a model's reply; items of a provider's own are shown to nobody."""
    match part:
        case TextPart():
            return AssistantMessage(**_common(message, index), content=part.text)
        case ToolCallPart():
            return _tool_call(message, index, part, config)
        case ReasoningPart() | SummarizedReasoningPart():
            return _reasoning(message, index, part)
        case RedactedReasoningPart():
            return HiddenReasoningMessage(**_common(message, index), state="redacted", hidden_reasoning=part.data)
        case OmittedReasoningPart():
            return HiddenReasoningMessage(**_common(message, index), state="omitted")
        case _:
            return None


def _tool_call(message: Message, index: int, part: ToolCallPart, config: RequestConfig) -> WireMessage:
    spoken = spoken_text(part.name, part.arguments, config)
    if spoken is not None:
        return AssistantMessage(**_common(message, index), content=spoken)
    call = ToolCall(part.name, shown_arguments(part), part.id)
    return ToolCallMessage(**_common(message, index), tool_call=call, tool_calls=[call])


def _reasoning(message: Message, index: int, part: ReasoningPart | SummarizedReasoningPart) -> ReasoningMessage:
    if isinstance(part, SummarizedReasoningPart):
        text = "\n\n".join(piece.text for piece in part.summary)
        return ReasoningMessage(**_common(message, index), reasoning=text)
    return ReasoningMessage(
        **_common(message, index),
        source="reasoner_model" if part.is_native else "non_reasoner_model",
        reasoning=part.reasoning,
        signature=part.signature,
    )


def _user_content(message: Message) -> str | tuple[TextPart | ImagePart, ...]:
    """Text alone is a string, as clients have it from the time before messages had parts."""
    shown = tuple(part for part in message.content if isinstance(part, TextPart | ImagePart))
    only = shown[0] if len(shown) == 1 else None
    return only.text if isinstance(only, TextPart) else shown


def _tool_return(message: Message, returns: list[ToolReturnPart]) -> ToolReturnMessage:
    first = returns[0]
    return ToolReturnMessage(
        **_common(message, 0, first.name),
        tool_return=_text(first),
        status=first.status,
        tool_call_id=first.tool_call_id,
        stdout=first.stdout or None,
        stderr=first.stderr or None,
        tool_returns=[_one_return(part) for part in returns],
    )


def _one_return(part: ToolReturnPart) -> ToolReturn:
    return ToolReturn(part.content, part.status, part.tool_call_id, part.stdout or None, part.stderr or None)


def _text(part: ToolReturnPart) -> str:
    if isinstance(part.content, str):
        return part.content
    return "\n".join(piece.text for piece in part.content if isinstance(piece, TextPart))


def is_spoken(tool_name: str, config: RequestConfig) -> bool:
    """Whether calls of this tool are how the agent speaks (``send_message`` of older agent types)."""
    return config.use_assistant_message and tool_name == config.assistant_message_tool_name


def spoken_text(tool_name: str, arguments: str, config: RequestConfig) -> str | None:
    """What an agent says by calling its message tool; None for any other call, and for arguments that say nothing."""
    if not is_spoken(tool_name, config):
        return None
    try:
        parsed = decoded(arguments)
    except NotJson:
        return None
    return text_in(parsed, config.assistant_message_tool_kwarg)


def text_in(arguments: Any, kwarg: str) -> str | None:
    """The text in the parsed arguments of the message tool."""
    said = cast("dict[str, Any]", arguments).get(kwarg) if isinstance(arguments, dict) else None
    return said if isinstance(said, str) else None


def _is_spoken_return(part: ToolReturnPart, config: RequestConfig) -> bool:
    """The return of speaking tells the client nothing, unless it failed."""
    return part.status == "success" and is_spoken(part.name, config)
