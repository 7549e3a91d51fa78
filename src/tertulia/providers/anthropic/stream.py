"""The events of a Messages stream, from JSON to the port's events; does no input or output.

A reply is a list of blocks that come one after the other, each begun, filled by deltas and ended. The kinds of event
and of block that are not known are passed over and kept as they are, as the API asks of its readers.
"""

from typing import Any, Final, cast

import msgspec
from msgspec import Struct

from tertulia.domain.errors import ProviderMalformedReply
from tertulia.domain.ids import new_tool_call_id
from tertulia.domain.json_values import NotJson, decoded
from tertulia.domain.runs import Usage
from tertulia.ports.provider import (
    Finished,
    FinishReason,
    HiddenReasoningPiece,
    NativeItem,
    ProviderEvent,
    ReasoningPiece,
    TextPiece,
    ToolCallPiece,
)
from tertulia.providers.anthropic.errors import error_in_reply
from tertulia.providers.failures import Subject, check_ended


class _Delta(Struct):
    """What a block, or the message, got more of."""

    type: str | None = None
    text: str | None = None
    thinking: str | None = None
    partial_json: str | None = None
    signature: str | None = None
    citation: Any = None
    stop_reason: str | None = None
    stop_sequence: str | None = None
    stop_details: Any = None


class _Event(Struct):
    type: str = ""
    index: int = -1
    delta: _Delta | None = None
    content_block: dict[str, Any] | None = None
    message: dict[str, Any] | None = None
    usage: dict[str, Any] | None = None
    error: Any = None


_decode: Final = msgspec.json.Decoder(_Event).decode

_REASONS: Final[dict[str, FinishReason]] = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "content_filter",
}
"""Stop reasons; every other word (``end_turn``, ``tool_use``, ``pause_turn``, …) means that the model stopped."""


class _Block:
    """One block being put together. ``call`` numbers the tool calls of a reply from 0."""

    __slots__ = ("call", "fields", "kind", "pieces", "signature")

    def __init__(self, fields: dict[str, Any], call: int) -> None:
        self.kind: str = str(fields.get("type"))
        self.fields = fields
        self.call = call
        self.pieces: list[str] = []
        self.signature: list[str] = []


class ReplyReader:
    """Reads the events of one reply and keeps what the reply came to. ``done`` is set once ``message_stop`` came."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._head: dict[str, Any] = {}
        self._blocks: dict[int, _Block] = {}
        self._open: dict[int, _Block] = {}
        self._calls = 0
        self._usage: dict[str, Any] = {}
        self._stop: dict[str, Any] = {}
        self.started = False
        self.done = False

    @property
    def complete(self) -> bool:
        """Whether nothing is missing, even if the connection breaks now."""
        return self.done or self._stop.get("stop_reason") is not None

    def read(self, data: bytes) -> list[ProviderEvent]:
        """What one event brought.

        :raises ProviderError: if the event reports a failure.
        :raises ProviderMalformedReply: if it is no event of this protocol.
        """
        try:
            event = _decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return self._read_undecodable(data, error)
        self.started = True
        if event.type == "content_block_delta":
            return self._filled(event)
        if event.type == "content_block_start":
            return self._begun(event)
        if event.type == "content_block_stop":
            block = self._open.pop(event.index, None)
            return self._ended(block) if block is not None else []
        self._read_frame(event)
        return []

    def finish(self, request_id: str | None = None) -> list[ProviderEvent]:
        """The last events, when the stream is over.

        :raises ProviderMalformedReply: if nothing came.
        :raises ProviderConnectionLost: if the stream ended before the reply did.
        """
        check_ended(self._subject, started=self.started, complete=self.complete)
        events: list[ProviderEvent] = []
        for block in self._open.values():  # servers that forget to end them
            events += self._ended(block)
        self._open.clear()
        events.append(
            Finished(
                reason=self._reason(),
                usage=usage_of(self._usage) if self._usage else None,
                reply=self._reply(),
                request_id=request_id,
            )
        )
        return events

    def _read_undecodable(self, data: bytes, error: Exception) -> list[ProviderEvent]:
        stripped = data.strip()
        if not stripped or stripped == b"[DONE]":  # which is OpenAI's way to end, and some servers add
            return []
        raise ProviderMalformedReply(
            f"{self._subject.name} sent something that is not an event of a reply.",
            detail=f"{error}: {stripped[:500].decode(errors='replace')}",
        ) from error

    def _read_frame(self, event: _Event) -> None:
        """An event about the message as a whole.

        :raises ProviderError: if it says that the reply failed.
        """
        if event.type == "error" or event.error is not None:
            raise error_in_reply(event.error, self._subject)
        if event.type == "message_stop":
            self.done = True
        elif event.type == "message_start" and event.message is not None:
            self._head = {key: event.message.get(key) for key in ("id", "model") if event.message.get(key) is not None}
            self._count(event.message.get("usage"))
        elif event.type == "message_delta":
            delta = event.delta
            if delta is not None and delta.stop_reason is not None:
                self._stop = {"stop_reason": delta.stop_reason, "stop_sequence": delta.stop_sequence}
                if delta.stop_details is not None:
                    self._stop["stop_details"] = delta.stop_details
            self._count(event.usage)

    def _count(self, usage: object) -> None:
        """Counts are of the whole reply so far, so later ones replace earlier ones."""
        if isinstance(usage, dict):
            counts = cast("dict[str, Any]", usage)
            self._usage.update({key: value for key, value in counts.items() if value is not None})

    def _begun(self, event: _Event) -> list[ProviderEvent]:
        fields = event.content_block
        if fields is None:
            return []
        is_call = fields.get("type") == "tool_use"
        block = _Block(fields, self._calls if is_call else -1)
        self._blocks[event.index] = self._open[event.index] = block
        if is_call:
            self._calls += 1
            block.fields = {**fields, "id": fields.get("id") or new_tool_call_id()}
            return [ToolCallPiece(block.call, "", block.fields["id"], self._name_of(fields))]
        if block.kind == "text" and fields.get("text"):
            return self._text(block, str(fields["text"]))
        if block.kind == "thinking":
            if fields.get("signature"):
                block.signature.append(str(fields["signature"]))
            if fields.get("thinking"):
                return self._thought(block, str(fields["thinking"]))
        if block.kind == "redacted_thinking":
            return [HiddenReasoningPiece(str(fields.get("data") or ""))]
        return []

    def _filled(self, event: _Event) -> list[ProviderEvent]:
        block, delta = self._open.get(event.index), event.delta
        if block is None or delta is None:
            return []
        if delta.text is not None:
            return self._text(block, delta.text) if delta.text else []
        if delta.partial_json is not None:
            if not delta.partial_json:
                return []
            block.pieces.append(delta.partial_json)
            return [ToolCallPiece(block.call, delta.partial_json)] if block.call >= 0 else []
        if delta.thinking is not None:
            return self._thought(block, delta.thinking) if delta.thinking else []
        if delta.signature is not None:
            block.signature.append(delta.signature)
        elif delta.citation is not None:
            block.fields = {**block.fields, "citations": [*(block.fields.get("citations") or ()), delta.citation]}
        return []

    def _text(self, block: _Block, text: str) -> list[ProviderEvent]:
        block.pieces.append(text)
        return [TextPiece(text)]

    def _thought(self, block: _Block, thought: str) -> list[ProviderEvent]:
        block.pieces.append(thought)
        return [ReasoningPiece(thought)]

    def _ended(self, block: _Block) -> list[ProviderEvent]:
        """What can only be said when a block is whole."""
        if block.kind == "thinking":
            return [ReasoningPiece("", "".join(block.signature))] if any(block.signature) else []
        if block.call >= 0:
            if block.pieces:
                return []
            # A call without arguments comes with none at all; other servers may send them all with its beginning.
            arguments = msgspec.json.encode(block.fields.get("input") or {}).decode()
            block.pieces.append(arguments)
            return [ToolCallPiece(block.call, arguments)]
        return [] if block.kind in {"text", "redacted_thinking"} else [NativeItem(_whole(block))]

    def _name_of(self, fields: dict[str, Any]) -> str:
        name = fields.get("name")
        if not name:
            raise ProviderMalformedReply(
                f"{self._subject.name} sent a tool call without a name.", detail=str(fields)[:500]
            )
        return str(name)

    def _reason(self) -> FinishReason:
        reason = _REASONS.get(self._stop.get("stop_reason") or "", "stop")
        return "tool_calls" if reason == "stop" and self._calls else reason

    def _reply(self) -> dict[str, Any]:
        """The reply as it would have come without streaming."""
        return {
            **self._head,
            "type": "message",
            "role": "assistant",
            "content": [_whole(block) for _, block in sorted(self._blocks.items())],
            **self._stop,
            "usage": self._usage,
        }


def _whole(block: _Block) -> dict[str, Any]:
    """The block with what its deltas brought."""
    text = "".join(block.pieces)
    if block.kind == "text":
        return {**block.fields, "text": text}
    if block.kind == "thinking":
        return {**block.fields, "thinking": text, "signature": "".join(block.signature)}
    if not text:
        return block.fields
    try:
        return {**block.fields, "input": decoded(text)}
    except NotJson:
        return {**block.fields, "input": text}


def usage_of(usage: dict[str, Any]) -> Usage:
    """Token counts. The API counts what the prompt cache held, or took in, apart from the rest of the prompt."""
    cached, written = _number(usage, "cache_read_input_tokens"), _number(usage, "cache_creation_input_tokens")
    prompt = (_number(usage, "input_tokens") or 0) + (cached or 0) + (written or 0)
    completion = _number(usage, "output_tokens") or 0
    details = usage.get("output_tokens_details")
    thinking = _number(cast("dict[str, Any]", details), "thinking_tokens") if isinstance(details, dict) else None
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        total_tokens=prompt + completion,
        cached_input_tokens=cached,
        cache_write_tokens=written,
        reasoning_tokens=thinking,
    )


def _number(counts: dict[str, Any], name: str) -> int | None:
    value = counts.get(name)
    return int(value) if isinstance(value, int | float) else None
