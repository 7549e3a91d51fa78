"""The chunks of a Gemini stream, from JSON to the port's events; does no input or output.

A chunk is a reply of its own that holds the next parts. A part is a piece of text or of thought, a whole tool call, or
something else, which is kept as it is. There is no last event: a reason to finish says that nothing is missing.
"""

from typing import Any, Final
from uuid import uuid4

import msgspec
from msgspec import Struct

from tertulia.domain.errors import (
    ProviderBadRequest,
    ProviderContentFiltered,
    ProviderError,
    ProviderMalformedReply,
    ProviderPermissionError,
)
from tertulia.domain.json_values import NotJson, decoded
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
from tertulia.providers.gemini.encoding import SIGNED_PART, UNNAMED
from tertulia.providers.gemini.errors import error_in_reply


class UnusableReply(ProviderMalformedReply):
    """The model wrote what nobody can use; asked again, it writes something else."""

    may_pass = True


class _Call(Struct):
    id: str | None = None
    name: str | None = None
    args: msgspec.Raw = msgspec.Raw(b"{}")


class _Part(Struct, rename="camel"):
    text: str | None = None
    thought: bool | None = None
    thought_signature: str | None = None
    function_call: _Call | None = None


class _Content(Struct):
    parts: list[msgspec.Raw] | None = None


class _Candidate(Struct, rename="camel"):
    content: _Content | None = None
    finish_reason: str | None = None
    finish_message: str | None = None
    citation_metadata: dict[str, Any] | None = None
    grounding_metadata: dict[str, Any] | None = None
    url_context_metadata: dict[str, Any] | None = None


class _Chunk(Struct, rename="camel"):
    candidates: list[_Candidate] | None = None
    prompt_feedback: dict[str, Any] | None = None
    usage_metadata: dict[str, Any] | None = None
    model_version: str | None = None
    response_id: str | None = None
    error: Any = None


_decode: Final = msgspec.json.Decoder(_Chunk).decode
_decode_part: Final = msgspec.json.Decoder(_Part).decode
_decode_item: Final = msgspec.json.Decoder(dict[str, Any]).decode

_NOT_YET: Final = "FINISH_REASON_UNSPECIFIED"
_REASONS: Final[dict[str, FinishReason]] = {
    "MAX_TOKENS": "length",
    "CONTINUATION": "length",
    "SAFETY": "content_filter",
    "RECITATION": "content_filter",
    "LANGUAGE": "content_filter",
    "BLOCKLIST": "content_filter",
    "PROHIBITED_CONTENT": "content_filter",
    "SPII": "content_filter",
    "IMAGE_SAFETY": "content_filter",
    "IMAGE_PROHIBITED_CONTENT": "content_filter",
    "IMAGE_RECITATION": "content_filter",
    "MODEL_ARMOR": "content_filter",
    "ESCALATION": "content_filter",
}
"""Every other reason (``STOP``, ``OTHER``, …) means that the model stopped, if it is not one of a failure."""

_FAILURES: Final = {
    "MALFORMED_FUNCTION_CALL": "the model wrote a tool call that cannot be read",
    "UNEXPECTED_TOOL_CALL": "the model called a tool that it was not given",
    "TOO_MANY_TOOL_CALLS": "the model called too many tools",
    "MALFORMED_RESPONSE": "the model wrote something that cannot be read",
}


class ReplyReader:
    """Reads the chunks of one reply and keeps what the reply came to."""

    done = False
    """There is no last event: what is the last one, the end of the stream says."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._head: dict[str, Any] = {}
        self._parts: list[dict[str, Any]] = []
        self._usage: dict[str, Any] = {}
        self._about: dict[str, Any] = {}
        self._reason: str | None = None
        self._calls = 0
        # What is open of a text or a thought: its pieces that have no signature yet.
        self._unsigned: list[str] = []
        self._thinks = False
        self.started = False

    @property
    def complete(self) -> bool:
        """Whether nothing is missing, even if the connection breaks now."""
        return self._reason is not None

    def read(self, data: bytes) -> list[ProviderEvent]:
        """What one chunk brought.

        :raises ProviderError: if it reports a failure.
        :raises ProviderMalformedReply: if it is none of this protocol.
        """
        try:
            chunk = _decode(data)
            if chunk.error is None and chunk.candidates is None:
                self._read_frame(chunk)
                return []
            return self._read(chunk)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return self._read_undecodable(data, error)

    def finish(self, request_id: str | None = None) -> list[ProviderEvent]:
        """The last events, when the stream is over.

        :raises ProviderMalformedReply: if nothing came, or what the model wrote is unusable.
        :raises ProviderConnectionLost: if the stream ended before the reply did.
        """
        check_ended(self._subject, started=self.started, complete=self.complete)
        told = self._reason or _NOT_YET
        failure = self._failure(told)
        if failure is not None:
            raise failure
        reason = _REASONS.get(told, "stop")
        events: list[ProviderEvent] = []
        citations = _citations(self._about)
        if citations:
            events.append(CitationsPiece(citations))
        events.append(
            Finished(
                reason="tool_calls" if reason == "stop" and self._calls else reason,
                usage=usage_of(self._usage) if self._usage else None,
                reply=self._reply(),
                request_id=request_id or self._head.get("responseId"),
            )
        )
        return events

    def _read_undecodable(self, data: bytes, error: Exception) -> list[ProviderEvent]:
        stripped = data.strip()
        if not stripped or stripped == b"[DONE]":  # which is OpenAI's way to end, and some servers add
            return []
        raise ProviderMalformedReply(
            f"{self._subject.name} sent something that is not a part of a reply.",
            detail=f"{error}: {stripped[:500].decode(errors='replace')}",
        ) from error

    def _read(self, chunk: _Chunk) -> list[ProviderEvent]:
        if chunk.error is not None:
            raise error_in_reply(chunk.error, self._subject)
        self._read_frame(chunk)
        events: list[ProviderEvent] = []
        for candidate in (chunk.candidates or ())[:1]:  # one is asked for
            for raw in (candidate.content and candidate.content.parts) or ():
                events += self._read_part(raw)
            self._read_end(candidate)
        return events

    def _read_frame(self, chunk: _Chunk) -> None:
        """What a chunk says of the reply as a whole.

        :raises ProviderContentFiltered: if there is to be none.
        """
        known = {"responseId": chunk.response_id, "modelVersion": chunk.model_version}
        self._head |= {key: value for key, value in known.items() if value is not None}
        if chunk.usage_metadata is not None:
            self._usage |= chunk.usage_metadata  # counts are of the whole reply so far
        blocked = (chunk.prompt_feedback or {}).get("blockReason")
        if blocked and blocked != "BLOCKED_REASON_UNSPECIFIED":
            raise ProviderContentFiltered(
                f"The content filter of {self._subject.name} stopped this request ({blocked}).",
                detail=str(chunk.prompt_feedback),
            )
        self.started = self.started or chunk.candidates is not None or chunk.usage_metadata is not None

    def _read_end(self, candidate: _Candidate) -> None:
        if candidate.finish_reason and candidate.finish_reason != _NOT_YET:
            self._reason = candidate.finish_reason
        about = {
            "finishMessage": candidate.finish_message,
            "citationMetadata": candidate.citation_metadata,
            "groundingMetadata": candidate.grounding_metadata,
            "urlContextMetadata": candidate.url_context_metadata,
        }
        self._about |= {key: value for key, value in about.items() if value is not None}

    def _read_part(self, raw: msgspec.Raw) -> list[ProviderEvent]:
        part = _decode_part(raw)
        if part.function_call is not None:
            return [self._called(part.function_call, part.thought_signature)]
        if part.text is None:
            item = _decode_item(raw)
            self._add(item)
            return [NativeItem(item)] if item else []
        if not part.text and part.thought_signature is None:
            return []
        signature = self._signature(part)
        return [ReasoningPiece(part.text, signature) if part.thought else TextPiece(part.text, signature)]

    def _signature(self, part: _Part) -> str | None:
        """The signature of the text or thought that the part is of, saying how much of it was signed if not all."""
        text, signature, thinks = part.text or "", part.thought_signature, bool(part.thought)
        if thinks is not self._thinks:
            self._end_text()
            self._thinks = thinks
        if signature is None:
            self._unsigned.append(text)
            return None
        in_part = bool(self._unsigned)
        self._end_text()
        self._parts.append(_text(text, thinks=thinks) | {"thoughtSignature": signature})
        return f"{signature}{SIGNED_PART}{len(text)}" if in_part else signature

    def _called(self, call: _Call, signature: str | None) -> ToolCallPiece:
        if not call.name:
            raise ProviderMalformedReply(f"{self._subject.name} sent a tool call without a name.")
        arguments = bytes(call.args).decode()
        arguments = "{}" if arguments == "null" else arguments
        try:
            item: dict[str, Any] = {"functionCall": {"name": call.name, "args": decoded(arguments)}}
        except NotJson as error:
            raise ProviderMalformedReply(
                f"{self._subject.name} sent a tool call whose arguments cannot be used: {error}."
            ) from None
        if call.id:
            item["functionCall"]["id"] = call.id
        if signature is not None:
            item["thoughtSignature"] = signature
        self._add(item)
        index, self._calls = self._calls, self._calls + 1
        return ToolCallPiece(index, arguments, call.id or f"{UNNAMED}{uuid4().hex}", call.name, signature)

    def _add(self, item: dict[str, Any]) -> None:
        """A part that is no text, which ends the text before it."""
        self._end_text()
        self._parts.append(item)

    def _end_text(self) -> None:
        if self._unsigned:
            self._parts.append(_text("".join(self._unsigned), thinks=self._thinks))
            self._unsigned.clear()

    def _failure(self, reason: str) -> ProviderError | None:
        name, detail = self._subject.name, str(self._about.get("finishMessage") or reason)
        if reason in _FAILURES:
            return UnusableReply(f"{name} interrupted its reply: {_FAILURES[reason]}. Try again.", detail=detail)
        if reason == "MISSING_THOUGHT_SIGNATURE":
            return ProviderBadRequest(f"{name} requires a thought signature that the history lacks.", detail=detail)
        if reason == "PUP_LIMITED_DISABLED":
            return ProviderPermissionError(f"{name} has limited or disabled this account.", detail=detail)
        return None

    def _reply(self) -> dict[str, Any]:
        """The reply as it would have come without streaming."""
        self._end_text()
        candidate = {"content": {"role": "model", "parts": self._parts}, "finishReason": self._reason, **self._about}
        return {**self._head, "candidates": [candidate], "usageMetadata": self._usage}


def _text(text: str, *, thinks: bool) -> dict[str, Any]:
    return {"text": text, "thought": True} if thinks else {"text": text}


def usage_of(usage: dict[str, Any]) -> Usage:
    """Token counts. What the model thought is counted apart from what it said, what tools of Google's told it too."""
    prompt = (_number(usage, "promptTokenCount") or 0) + (_number(usage, "toolUsePromptTokenCount") or 0)
    thought = _number(usage, "thoughtsTokenCount")
    completion = (_number(usage, "candidatesTokenCount") or 0) + (thought or 0)
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        total_tokens=_number(usage, "totalTokenCount") or prompt + completion,
        cached_input_tokens=_number(usage, "cachedContentTokenCount"),
        reasoning_tokens=thought,
    )


def _number(counts: dict[str, Any], name: str) -> int | None:
    value = counts.get(name)
    return int(value) if isinstance(value, int | float) else None


def _citations(about: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    """The sources, each as Google tells it: those quoted one by one, those searched with what they support."""
    quoted: dict[str, Any] = about.get("citationMetadata") or {}
    sources = quoted.get("citations") or quoted.get("citationSources") or ()
    searched = [{name: about[name]} for name in ("groundingMetadata", "urlContextMetadata") if about.get(name)]
    return (*sources, *searched)
