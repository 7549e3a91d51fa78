"""Messages as they are stored: one entry of a conversation's log, made of typed parts.

One stored message can be several wire messages (reasoning, text and tool calls of one reply); ``api/wire`` does that.
The classes are msgspec structs, not dataclasses, because tagged unions decode straight from the stored JSON in 0.7 µs
where dataclasses take 5 µs (docs/decisions). They cannot form cycles, so the garbage collector is told to leave them
alone: with 100,000 of them alive, decoding one more costs 0.9 µs instead of 3.1 µs.
"""

from datetime import datetime
from typing import Any, Literal, TypeAlias

from msgspec import Struct

Role: TypeAlias = Literal["system", "user", "assistant", "tool", "approval", "summary"]
ToolStatus: TypeAlias = Literal["success", "error"]
Awaited: TypeAlias = Literal["approval", "client"]
SummaryMethod: TypeAlias = Literal["model", "pieces", "extractive"]
"""How a summary was made: by a model at once, by a model piece after piece, or of excerpts, without one."""


class UrlImage(Struct, frozen=True, gc=False, tag="url", tag_field="type"):
    url: str


class Base64Image(Struct, frozen=True, gc=False, tag="base64", tag_field="type"):
    media_type: str
    data: str
    detail: str | None = None


class StoredImage(Struct, frozen=True, gc=False, tag="letta", tag_field="type"):
    """An image the server keeps as a file."""

    file_id: str
    media_type: str | None = None
    data: str | None = None
    detail: str | None = None


class TextPart(Struct, frozen=True, gc=False, tag="text", tag_field="type"):
    text: str
    signature: str | None = None


class CitationsPart(Struct, frozen=True, gc=False, tag="citations", tag_field="type"):
    """The sources of the text before it, each as the provider told it."""

    citations: tuple[dict[str, Any], ...]


class ImagePart(Struct, frozen=True, gc=False, tag="image", tag_field="type"):
    source: UrlImage | Base64Image | StoredImage


class ReasoningPart(Struct, frozen=True, gc=False, tag="reasoning", tag_field="type"):
    """Visible reasoning. ``signature`` goes back verbatim to the provider that issued it."""

    reasoning: str
    is_native: bool = True
    signature: str | None = None


class RedactedReasoningPart(Struct, frozen=True, gc=False, tag="redacted_reasoning", tag_field="type"):
    data: str


class OmittedReasoningPart(Struct, frozen=True, gc=False, tag="omitted_reasoning", tag_field="type"):
    signature: str | None = None


class ReasoningSummary(Struct, frozen=True, gc=False):
    index: int
    text: str


class SummarizedReasoningPart(Struct, frozen=True, gc=False, tag="summarized_reasoning", tag_field="type"):
    id: str
    summary: tuple[ReasoningSummary, ...]
    encrypted_content: str | None = None


class ToolCallPart(Struct, frozen=True, gc=False, omit_defaults=True, tag="tool_call", tag_field="type"):
    """A call the model asked for. ``arguments`` is its JSON text exactly as the model wrote it, valid or not.

    ``awaits`` is what the call waits for before the conversation can go on: a person's approval, or the client that
    runs the tool itself. Until it has its answer, it is pending.
    """

    id: str
    name: str
    arguments: str
    signature: str | None = None
    awaits: Awaited | None = None


class ToolReturnPart(Struct, frozen=True, gc=False, tag="tool_return", tag_field="type"):
    """What a call returned; every call in a history has exactly one."""

    tool_call_id: str
    name: str
    content: str | tuple[TextPart | ImagePart, ...]
    status: ToolStatus = "success"
    stdout: tuple[str, ...] = ()
    stderr: tuple[str, ...] = ()


class ApprovalPart(Struct, frozen=True, gc=False, tag="approval", tag_field="type"):
    """What a person decided about a call that awaits approval."""

    tool_call_id: str
    approve: bool
    reason: str | None = None


class NativePart(Struct, frozen=True, gc=False, tag="native", tag_field="type"):
    """An item of a provider's own, handed back verbatim to that provider next turn and to no other."""

    provider_type: str
    item: dict[str, Any]


Part: TypeAlias = (
    TextPart
    | CitationsPart
    | ImagePart
    | ReasoningPart
    | RedactedReasoningPart
    | OmittedReasoningPart
    | SummarizedReasoningPart
    | ToolCallPart
    | ToolReturnPart
    | ApprovalPart
    | NativePart
)


class Compaction(Struct, frozen=True, kw_only=True):
    """What a summary stands for. ``context_from`` and ``pins`` are the conversation's before it, to go back to.

    Counts are messages in context with the system prompt, tokens those of the whole context, as far as known;
    ``trigger`` says why it was made. ``failure`` is why the summary is not of the kind that was wanted, and
    ``summarizer_tokens`` what making it took.
    """

    trigger: str
    context_from: int
    pins: tuple[int, ...]
    context_window: int
    messages_before: int
    messages_after: int
    tokens_before: int | None = None
    tokens_after: int | None = None
    mode: str | None = None
    method: SummaryMethod = "model"
    model: str | None = None
    failure: str | None = None
    summarizer_tokens: int = 0


class Message(Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """One entry of a log.

    ``otid`` is the client's own id of an input message. ``partial`` marks a reply that was cut off. An answer that was
    given to a request as a whole has its ``approval_request_id``, the id of the message that made the calls.
    """

    id: str
    agent_id: str
    conversation_id: str
    role: Role
    content: tuple[Part, ...]
    created_at: datetime
    run_id: str | None = None
    step_id: str | None = None
    otid: str | None = None
    name: str | None = None
    sender_id: str | None = None
    group_id: str | None = None
    batch_item_id: str | None = None
    model: str | None = None
    is_err: bool = False
    partial: bool = False
    approval_request_id: str | None = None
    compaction: Compaction | None = None

    @property
    def text(self) -> str:
        """The visible words: text parts and textual tool returns, for search and token estimates."""
        return "\n".join(_words(part) for part in self.content if isinstance(part, TextPart | ToolReturnPart))

    @property
    def tool_calls(self) -> tuple[ToolCallPart, ...]:
        return tuple(part for part in self.content if isinstance(part, ToolCallPart))

    @property
    def tool_returns(self) -> tuple[ToolReturnPart, ...]:
        """The returns for the model. What a client sent back is kept beside them in a message of role ``approval``."""
        if self.role == "approval":
            return ()
        return tuple(part for part in self.content if isinstance(part, ToolReturnPart))


def _words(part: TextPart | ToolReturnPart) -> str:
    if isinstance(part, TextPart):
        return part.text
    if isinstance(part.content, str):
        return part.content
    return "\n".join(piece.text for piece in part.content if isinstance(piece, TextPart))
