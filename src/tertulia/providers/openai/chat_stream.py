"""The chunks of a Chat Completions stream, from JSON to the port's events; does no input or output.

Servers that call themselves compatible differ in small things. Each one met is taken here: tool calls without an
index or an id, whole calls in one chunk, reasoning under two names, content as a list of parts, usage anywhere.
"""

import json
from typing import Any, Final, cast

import msgspec
from msgspec import Struct

from tertulia.domain.errors import ProviderMalformedReply
from tertulia.domain.ids import new_tool_call_id
from tertulia.domain.runs import Usage
from tertulia.ports.provider import (
    CitationsPiece,
    Finished,
    FinishReason,
    NativeItem,
    ProviderEvent,
    ReasoningPiece,
    TextPiece,
    ToolCallPiece,
)
from tertulia.providers.failures import Subject, check_ended
from tertulia.providers.openai.errors import error_in_reply


class _Function(Struct, gc=False):
    name: str | None = None
    arguments: str | dict[str, Any] | None = None


class _ToolCall(Struct, gc=False):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None


class _Delta(Struct):
    content: str | list[Any] | None = None
    reasoning_content: str | None = None
    reasoning: Any = None
    refusal: str | None = None
    tool_calls: list[_ToolCall] | None = None
    annotations: list[Any] | None = None
    reasoning_details: list[Any] | None = None


class _Choice(Struct):
    index: int | None = 0
    delta: _Delta | None = None
    message: _Delta | None = None
    finish_reason: str | None = None
    error: Any = None
    logprobs: Any = None


class _Chunk(Struct):
    id: str | None = None
    created: int | float | None = None
    model: str | None = None
    system_fingerprint: str | None = None
    service_tier: str | None = None
    choices: list[_Choice] | None = None
    usage: dict[str, Any] | None = None
    error: Any = None
    # An old way to report a failure: {"object": "error", "message": …}.
    object: str | None = None
    message: Any = None


_decode: Final = msgspec.json.Decoder(_Chunk, strict=False).decode

_REASONS: Final[dict[str, FinishReason]] = {
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
    "content_filter": "content_filter",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
}
"""Finish reasons; every other word means that the model stopped by itself."""


_LOGPROBS: Final = ("content", "refusal")
_PIECEMEAL: Final = frozenset({"text", "summary", "data"})  # what of a detail of reasoning comes in pieces


class _Call:
    """One tool call being put together. ``held`` is what came before its name was known."""

    __slots__ = ("arguments", "held", "id", "index", "name")

    def __init__(self, index: int, id_: str | None) -> None:
        self.index = index
        self.id = id_ or new_tool_call_id()
        self.name: str | None = None
        self.arguments: list[str] = []
        self.held = ""


class ReplyReader:
    """Reads the chunks of one reply and keeps what the reply came to. ``done`` is set once ``[DONE]`` came.

    With ``keeps_details`` the server wants ``reasoning_details`` back as they came.
    """

    def __init__(self, subject: Subject, *, keeps_details: bool = False) -> None:
        self._subject = subject
        self._keeps_details = keeps_details
        self._details: list[dict[str, Any]] = []
        self._head: dict[str, Any] = {}
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._refusal: list[str] = []
        self._calls: list[_Call] = []
        self._call_by_index: dict[int, _Call] = {}
        self._logprobs: dict[str, list[Any]] = {}
        self._finish_reason: str | None = None
        self._usage: dict[str, Any] | None = None
        self._chunks = 0
        self.done = False

    @property
    def started(self) -> bool:
        """Whether anything of the reply came."""
        return self._chunks > 0

    @property
    def complete(self) -> bool:
        """Whether nothing is missing, even if the connection breaks now."""
        return self.done or self._finish_reason is not None

    def read(self, data: bytes) -> list[ProviderEvent]:
        """The events of one chunk.

        :raises ProviderError: if the chunk reports a failure.
        :raises ProviderMalformedReply: if it is no chunk of this protocol.
        """
        try:
            chunk = _decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return self._read_undecodable(data, error)
        if not self._chunks:
            self._read_head(chunk)
        self._chunks += 1
        if chunk.error is not None or chunk.object == "error":
            failure = chunk.error if chunk.error is not None else msgspec.json.decode(data)
            raise error_in_reply(failure, self._subject)
        if chunk.usage is not None:
            self._usage = chunk.usage
        events: list[ProviderEvent] = []
        for choice in chunk.choices or ():
            if choice.error is not None:
                raise error_in_reply(choice.error, self._subject)
            # A server that ignores `stream` answers with one object that has a message in place of deltas.
            delta = choice.delta if choice.delta is not None else choice.message
            if delta is not None:
                self._read_delta(delta, events)
            if choice.logprobs is not None:
                self._read_logprobs(choice.logprobs)
            if choice.finish_reason:
                self._finish_reason = choice.finish_reason
        return events

    def finish(self, request_id: str | None = None) -> list[ProviderEvent]:
        """The last events, when the stream is over.

        :raises ProviderMalformedReply: if nothing came, or a tool call has no name.
        :raises ProviderConnectionLost: if the stream ended before the reply did.
        """
        check_ended(self._subject, started=self.started or self.done, complete=self.complete)
        events: list[ProviderEvent] = []
        for call in self._calls:
            if call.name is None:
                raise ProviderMalformedReply(
                    f"{self._subject.name} sent a tool call without a name.",
                    detail=f"tool call {call.id} with arguments {call.held!r}",
                )
            if not call.arguments:
                # A call without arguments may come with none at all; to the reader it is still a JSON object.
                call.arguments.append("{}")
                events.append(ToolCallPiece(call.index, "{}"))
        if self._details:
            events.append(NativeItem({"reasoning_details": self._details}))
        events.append(
            Finished(
                reason=self._reason(),
                usage=usage_of(self._usage) if self._usage is not None else None,
                reply=self._reply(),
                request_id=request_id,
                logprobs={name: self._logprobs.get(name) for name in _LOGPROBS} if self._logprobs else None,
            )
        )
        return events

    def _read_undecodable(self, data: bytes, error: Exception) -> list[ProviderEvent]:
        """``[DONE]``, or several chunks whose empty line between them is missing; otherwise a failure."""
        stripped = data.strip()
        if stripped == b"[DONE]":
            self.done = True
            return []
        if not stripped:
            return []
        if b"\n" in stripped:
            return [event for line in stripped.split(b"\n") for event in self.read(line)]
        if (repaired := _with_whole_characters(stripped)) != stripped:
            return self.read(repaired)
        raise ProviderMalformedReply(
            f"{self._subject.name} sent something that is not a chunk of a reply.",
            detail=f"{error}: {stripped[:500].decode(errors='replace')}",
        ) from error

    def _read_head(self, chunk: _Chunk) -> None:
        self._head = {
            key: value
            for key in ("id", "created", "model", "system_fingerprint", "service_tier")
            if (value := getattr(chunk, key)) is not None
        }

    def _read_delta(self, delta: _Delta, events: list[ProviderEvent]) -> None:
        # Both names of the same words may come in one delta; they are read once.
        reasoning = delta.reasoning_content or delta.reasoning
        if reasoning and isinstance(reasoning, str):
            self._reasoning.append(reasoning)
            events.append(ReasoningPiece(reasoning))
        content = delta.content
        if content:
            if isinstance(content, str):
                self._text.append(content)
                events.append(TextPiece(content))
            else:
                self._read_parts(content, events)
        if delta.refusal:
            # A refusal is the model's answer; the reader sees it as such.
            self._refusal.append(delta.refusal)
            events.append(TextPiece(delta.refusal))
        if delta.tool_calls:
            for piece in delta.tool_calls:
                self._read_call(piece, events)
        if delta.annotations:
            sources = tuple(cast("dict[str, Any]", source) for source in delta.annotations if isinstance(source, dict))
            events.append(CitationsPiece(sources))
        if delta.reasoning_details and self._keeps_details:
            self._read_details(delta.reasoning_details)

    def _read_details(self, details: list[Any]) -> None:
        """Pieces of one detail come one after the other; what they have of text is put together."""
        for detail in details:
            if not isinstance(detail, dict):
                continue
            piece = cast("dict[str, Any]", detail)
            last = self._details[-1] if self._details else None
            if last is None or any(last.get(key) != piece.get(key) for key in ("type", "index")):
                self._details.append(dict(piece))
                continue
            for key, value in piece.items():
                if key in _PIECEMEAL and isinstance(value, str) and isinstance(last.get(key), str):
                    last[key] += value
                elif value is not None:
                    last[key] = value

    def _read_logprobs(self, logprobs: Any) -> None:
        """A chunk has those of its own tokens, of the text or of a refusal."""
        if isinstance(logprobs, dict):
            for name in _LOGPROBS:
                tokens: Any = cast("dict[str, Any]", logprobs).get(name)
                if isinstance(tokens, list):
                    self._logprobs.setdefault(name, []).extend(cast("list[Any]", tokens))

    def _read_parts(self, parts: list[Any], events: list[ProviderEvent]) -> None:
        """Content as a list: Mistral's way to tell thinking from text."""
        for part in parts:
            match part:
                case {"type": "text", "text": str(text)}:
                    self._read_delta(_Delta(content=text), events)
                case {"type": "thinking", "thinking": list()}:
                    for thought in cast("list[Any]", part["thinking"]):
                        if isinstance(thought, dict):
                            self._read_delta(_Delta(reasoning_content=str(thought.get("text") or "")), events)  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
                case _:
                    raise ProviderMalformedReply(
                        f"{self._subject.name} sent a content part of an unknown kind.", detail=str(part)[:500]
                    )

    def _read_call(self, piece: _ToolCall, events: list[ProviderEvent]) -> None:
        function = piece.function
        name = function.name if function else None
        call = self._call_of(piece, name)
        arguments = function.arguments if function else None
        text = msgspec.json.encode(arguments).decode() if isinstance(arguments, dict) else arguments or ""
        if call.name is None and name:
            call.name = name
            text, call.held = call.held + text, ""
            events.append(ToolCallPiece(call.index, text, call.id, name))
        elif call.name is None:
            call.held += text
            return
        elif text:
            events.append(ToolCallPiece(call.index, text))
        if text:
            call.arguments.append(text)

    def _call_of(self, piece: _ToolCall, name: str | None) -> _Call:
        """The call a piece belongs to; a new one when it is not of any seen before."""
        known = self._known_call(piece, name)
        if known is not None:
            return known
        call = _Call(len(self._calls), piece.id)
        self._calls.append(call)
        if piece.index is not None:
            self._call_by_index[piece.index] = call
        return call

    def _known_call(self, piece: _ToolCall, name: str | None) -> _Call | None:
        if piece.index is None:
            if piece.id:
                return next((call for call in self._calls if call.id == piece.id), None)
            return None if name or not self._calls else self._calls[-1]
        call = self._call_by_index.get(piece.index)
        # Some servers give every call of a reply the index 0 and tell them apart by id alone.
        if call is not None and piece.id and name and call.name is not None and piece.id != call.id:
            return next((other for other in self._calls if other.id == piece.id), None)
        return call

    def _reason(self) -> FinishReason:
        reason = _REASONS.get(self._finish_reason or "stop", "stop")
        if reason in {"stop", "tool_calls"}:
            return "tool_calls" if self._calls else "stop"
        return reason

    def _reply(self) -> dict[str, Any]:
        """The reply as it would have come without streaming."""
        message: dict[str, Any] = {"role": "assistant", "content": "".join(self._text) or None}
        if self._reasoning:
            message["reasoning_content"] = "".join(self._reasoning)
        if self._details:
            message["reasoning_details"] = self._details
        if self._refusal:
            message["refusal"] = "".join(self._refusal)
        if self._calls:
            message["tool_calls"] = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": "".join(call.arguments)},
                }
                for call in self._calls
            ]
        choice = {"index": 0, "message": message, "finish_reason": self._finish_reason or "stop"}
        reply = {**self._head, "object": "chat.completion", "choices": [choice]}
        if self._usage is not None:
            reply["usage"] = self._usage
        return reply


def _with_whole_characters(data: bytes) -> bytes:
    """The chunk with U+FFFD for halves of characters, which servers send that cut text between bytes or code units."""
    try:
        chunk = json.loads(data.decode(errors="replace"))
    except ValueError:
        return data
    text = json.dumps(chunk, ensure_ascii=False)
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


def usage_of(usage: dict[str, Any]) -> Usage:
    """Token counts under the names that the servers of this dialect use."""
    prompt = _count(usage, "prompt_tokens") or 0
    completion = _count(usage, "completion_tokens") or 0
    cached = _count(usage.get("prompt_tokens_details"), "cached_tokens")
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        total_tokens=_count(usage, "total_tokens") or prompt + completion,
        cached_input_tokens=cached if cached is not None else _count(usage, "prompt_cache_hit_tokens"),
        reasoning_tokens=_count(usage.get("completion_tokens_details"), "reasoning_tokens"),
    )


def _count(counts: Any, name: str) -> int | None:
    value = cast("dict[str, Any]", counts).get(name) if isinstance(counts, dict) else None
    return int(value) if isinstance(value, int | float) else None
