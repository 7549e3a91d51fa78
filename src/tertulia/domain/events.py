"""What happens in a run, in order: the one log that streaming, blocking and resumed replies all read.

The text of a reply is in the log once, as deltas; a reader that wants whole messages joins the deltas that share an
``otid``. Everything else that a reader shows comes as a whole message. Deltas hold no containers, so the garbage
collector is told to leave them alone: there may be very many.
"""

from typing import Any, TypeAlias

from msgspec import Struct

from tertulia.domain.messages import Awaited, Message
from tertulia.domain.runs import StopReason, Usage


class RunStarted(Struct, frozen=True, tag="started", tag_field="e"):
    """The first event of every run. ``at`` is seconds since the epoch."""

    run_id: str
    at: float


class Resumed(Struct, frozen=True, tag="resumed", tag_field="e"):
    """Another worker resumed the run, whose own died or was stopped. ``at`` is seconds since the epoch.

    The replies ``discarded``, ids of messages, were cut off and are made again: their deltas are void.
    """

    run_id: str
    at: float
    discarded: tuple[str, ...] = ()


class TextDelta(Struct, frozen=True, gc=False, tag="text", tag_field="e"):
    """New text of the reply. ``at`` is the message's creation, in seconds since the epoch."""

    message_id: str
    otid: str
    step_id: str
    at: float
    text: str


class ReasoningDelta(Struct, frozen=True, gc=False, tag="reasoning", tag_field="e"):
    """New visible reasoning; ``signature`` comes with the last piece where a provider signs it."""

    message_id: str
    otid: str
    step_id: str
    at: float
    text: str
    signature: str | None = None


class HiddenReasoning(Struct, frozen=True, gc=False, tag="hidden", tag_field="e"):
    """Reasoning that the provider withholds; ``data`` is None when omitted rather than redacted."""

    message_id: str
    otid: str
    step_id: str
    at: float
    data: str | None = None


class ToolCallDelta(Struct, frozen=True, gc=False, tag="call", tag_field="e"):
    """A new piece of a tool call's arguments. All but ``arguments`` is the same on every piece."""

    message_id: str
    otid: str
    step_id: str
    at: float
    tool_call_id: str
    name: str
    arguments: str
    awaits: Awaited | None = None


class MessageAdded(Struct, frozen=True, tag="message", tag_field="e"):
    """A whole message that was not streamed in pieces, such as a tool's return."""

    message: Message


class CompactionBegun(Struct, frozen=True, tag="compaction", tag_field="e"):
    """The history is being summarised; the summary follows as a message of the id ``message_id``, if it comes to that.

    ``at`` is seconds since the epoch. ``messages`` and ``tokens`` are what is in context before.
    """

    message_id: str
    at: float
    trigger: str
    mode: str
    context_window: int
    messages: int
    tokens: int


class Stopped(Struct, frozen=True, tag="stopped", tag_field="e"):
    """Why the run ended."""

    stop_reason: StopReason


class UsageReported(Struct, frozen=True, tag="usage", tag_field="e"):
    """What the whole run cost. ``context_tokens`` is the estimate for the next request.

    ``logprobs`` are those of the last reply, where they were asked for.
    """

    usage: Usage
    step_count: int
    context_tokens: int | None = None
    logprobs: dict[str, Any] | None = None


class Failed(Struct, frozen=True, tag="failed", tag_field="e"):
    """The failure that ended the run, in the API's words. ``retry_after`` is seconds."""

    error_type: str
    message: str
    detail: str
    retry_after: float | None = None


class Ended(Struct, frozen=True, tag="ended", tag_field="e"):
    """The last event of every run."""


Delta: TypeAlias = TextDelta | ReasoningDelta | HiddenReasoning | ToolCallDelta
Event: TypeAlias = (
    RunStarted | Resumed | Delta | MessageAdded | CompactionBegun | Stopped | UsageReported | Failed | Ended
)
