"""The events of a ConverseStream, as the SDK reads them, to the port's events; does no input or output.

A reply is a list of blocks that come one after the other: begun where they are calls, filled by deltas, ended. The
kinds of event and of block that are not known are passed over.
"""

from base64 import b64encode
from typing import Any, Final

from tertulia.domain.errors import ProviderFailed, ProviderMalformedReply
from tertulia.domain.ids import new_tool_call_id
from tertulia.domain.json_values import NotJson, decoded
from tertulia.domain.runs import Usage
from tertulia.ports.provider import (
    CitationsPiece,
    Finished,
    FinishReason,
    HiddenReasoningPiece,
    ProviderEvent,
    ReasoningPiece,
    TextPiece,
    ToolCallPiece,
)
from tertulia.providers.failures import Subject, check_ended

Fields = dict[str, Any]

_REASONS: Final[dict[str, FinishReason]] = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
}
"""Stop reasons; every other word (``end_turn``, ``tool_use``, ``stop_sequence``, …) means that the model stopped."""

_MALFORMED: Final = frozenset({"malformed_model_output", "malformed_tool_use"})


class _Block:
    """One block being put together. ``call`` numbers the tool calls of a reply from 0, and is -1 for what is none."""

    __slots__ = ("call", "citations", "id", "name", "pieces", "reasons", "redacted", "signature")

    def __init__(self, call: int = -1, id_: str = "", name: str = "") -> None:
        self.call, self.id, self.name = call, id_, name
        self.pieces: list[str] = []
        self.signature: list[str] = []
        self.redacted: list[bytes] = []
        self.citations: list[Fields] = []
        self.reasons = False


class ReplyReader:
    """Reads the events of one reply and keeps what the reply came to."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._blocks: dict[int, _Block] = {}
        self._open: dict[int, _Block] = {}
        self._calls = 0
        self._stop: Fields = {}
        self._metadata: Fields = {}
        self.started = False

    @property
    def complete(self) -> bool:
        """Whether nothing of the reply is missing, even if the connection breaks now."""
        return bool(self._stop)

    def read(self, event: Fields) -> list[ProviderEvent]:
        """What one event brought."""
        self.started = True
        if (delta := event.get("contentBlockDelta")) is not None:
            return self._filled(delta.get("contentBlockIndex", -1), delta.get("delta") or {})
        if (start := event.get("contentBlockStart")) is not None:
            return self._begun(start.get("contentBlockIndex", -1), start.get("start") or {})
        if (stop := event.get("contentBlockStop")) is not None:
            block = self._open.pop(stop.get("contentBlockIndex", -1), None)
            return _ended(block) if block is not None else []
        if (stop := event.get("messageStop")) is not None:
            self._stop = {"stopReason": "end_turn", **stop}
        elif (metadata := event.get("metadata")) is not None:
            self._metadata = metadata
        return []

    def finish(self, request_id: str | None = None) -> list[ProviderEvent]:
        """The last events, when the stream is over.

        :raises ProviderMalformedReply: if nothing came.
        :raises ProviderConnectionLost: if the stream ended before the reply did.
        :raises ProviderFailed: if the model wrote what the service could not read.
        """
        check_ended(self._subject, started=self.started, complete=self.complete)
        name = self._subject.name
        reason = str(self._stop.get("stopReason"))
        if reason in _MALFORMED:
            what = "a tool call" if reason == "malformed_tool_use" else "a reply"
            raise ProviderFailed(f"The model wrote {what} that {name} could not read. Try again.", detail=reason)
        events = [event for block in self._open.values() for event in _ended(block)]
        self._open.clear()
        counts = self._metadata.get("usage")
        finished = Finished(
            reason=self._reason(reason),
            usage=usage_of(counts) if counts else None,
            reply=self._reply(),
            request_id=request_id,
        )
        return [*events, finished]

    def _begun(self, index: int, start: Fields) -> list[ProviderEvent]:
        call: Fields | None = start.get("toolUse")
        if call is None or call.get("type"):  # a tool of the service's own, which it runs itself
            return []
        if not call.get("name"):
            raise ProviderMalformedReply(f"{self._subject.name} sent a tool call without a name.", detail=str(start))
        block = _Block(self._calls, call.get("toolUseId") or new_tool_call_id(), call["name"])
        self._blocks[index] = self._open[index] = block
        self._calls += 1
        return [ToolCallPiece(block.call, "", block.id, block.name)]

    def _filled(self, index: int, delta: Fields) -> list[ProviderEvent]:
        block = self._open.get(index)
        if block is None:
            if "text" not in delta and "reasoningContent" not in delta:
                return []  # of a block of another kind
            block = self._blocks[index] = self._open[index] = _Block()
        if text := delta.get("text"):
            block.pieces.append(text)
            return [TextPiece(text)]
        if (call := delta.get("toolUse")) is not None and block.call >= 0:
            piece: str = call.get("input") or ""
            block.pieces.append(piece)
            return [ToolCallPiece(block.call, piece)] if piece else []
        if (reasoning := delta.get("reasoningContent")) is not None:
            return self._reasoned(block, reasoning)
        if (citation := delta.get("citation")) is not None:
            block.citations.append(citation)
        return []

    def _reasoned(self, block: _Block, reasoning: Fields) -> list[ProviderEvent]:
        block.reasons = True
        if signature := reasoning.get("signature"):
            block.signature.append(signature)
        if redacted := reasoning.get("redactedContent"):
            block.redacted.append(redacted)
        if text := reasoning.get("text"):
            block.pieces.append(text)
            return [ReasoningPiece(text)]
        return []

    def _reason(self, told: str) -> FinishReason:
        reason = _REASONS.get(told, "stop")
        return "tool_calls" if reason == "stop" and self._calls else reason

    def _reply(self) -> Fields:
        """The reply as it would have come without streaming."""
        content = [_whole(block) for _, block in sorted(self._blocks.items())]
        return {"output": {"message": {"role": "assistant", "content": content}}, **self._stop, **self._metadata}


def _ended(block: _Block) -> list[ProviderEvent]:
    """What can only be said when a block is whole."""
    events: list[ProviderEvent] = []
    if block.signature:
        events.append(ReasoningPiece("", "".join(block.signature)))
    if block.redacted:
        events.append(HiddenReasoningPiece(_redacted(block)))
    if block.citations:
        events.append(CitationsPiece(tuple(block.citations)))
    if block.call >= 0 and not any(block.pieces):  # a call without arguments comes with none at all
        block.pieces.append("{}")
        events.append(ToolCallPiece(block.call, "{}"))
    return events


def _whole(block: _Block) -> Fields:
    """The block with what its deltas brought, as JSON can say it."""
    text = "".join(block.pieces)
    if block.call >= 0:
        return {"toolUse": {"toolUseId": block.id, "name": block.name, "input": _decoded(text)}}
    if block.redacted:
        return {"reasoningContent": {"redactedContent": _redacted(block)}}
    if block.reasons:
        return {"reasoningContent": {"reasoningText": {"text": text, "signature": "".join(block.signature)}}}
    if block.citations:
        return {"citationsContent": {"content": [{"text": text}], "citations": block.citations}}
    return {"text": text}


def _decoded(arguments: str) -> object:
    try:
        return decoded(arguments)
    except NotJson:
        return arguments


def _redacted(block: _Block) -> str:
    """The bytes in the form they came in over the wire, and go back in."""
    return b64encode(b"".join(block.redacted)).decode()


def usage_of(counts: Fields) -> Usage:
    """Token counts. The service counts what the prompt cache held, or took in, apart from the rest of the prompt."""
    cached, written = _number(counts, "cacheReadInputTokens"), _number(counts, "cacheWriteInputTokens")
    prompt = (_number(counts, "inputTokens") or 0) + (cached or 0) + (written or 0)
    completion = _number(counts, "outputTokens") or 0
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        total_tokens=prompt + completion,
        cached_input_tokens=cached,
        cache_write_tokens=written,
    )


def _number(counts: Fields, name: str) -> int | None:
    value = counts.get(name)
    return int(value) if isinstance(value, int | float) else None
