"""The events of a Responses stream, from JSON to the port's events; does no input or output.

A reply is a list of items — reasoning, messages, calls — each begun, filled by deltas and ended. Kinds of event that
are not known are passed over; items of kinds that are not known are kept as they are.
"""

from collections.abc import Callable
from typing import Any, Final, TypeGuard, cast

import msgspec
from msgspec import Struct

from tertulia.domain.errors import ProviderMalformedReply
from tertulia.domain.ids import new_tool_call_id
from tertulia.domain.runs import Usage
from tertulia.ports.provider import (
    CitationsPiece,
    Finished,
    FinishReason,
    HiddenReasoningPiece,
    NativeItem,
    ProviderEvent,
    ReasoningPiece,
    TextPiece,
    ToolCallPiece,
)
from tertulia.providers.failures import Subject, check_ended
from tertulia.providers.openai.responses_errors import error_in_response


class _Event(Struct):
    """Everything but the type is loose: an event of a kind not known may hold anything under a name that is."""

    type: str | None = None
    output_index: Any = None
    item_id: Any = None
    summary_index: Any = None
    content_index: Any = None
    delta: Any = None
    annotation: Any = None
    item: Any = None
    response: Any = None
    error: Any = None
    code: Any = None
    message: Any = None
    object: Any = None


_decode: Final = msgspec.json.Decoder(_Event).decode

_INCOMPLETE: Final[dict[str, FinishReason]] = {"max_output_tokens": "length", "content_filter": "content_filter"}
"""Why a response is incomplete; for every other word the model stopped."""

_ECHO: Final = frozenset({"instructions", "tools"})
"""What a response repeats of its request, as long as the prompt itself."""


class _Item:
    """One item being put together. ``call`` numbers the calls of a reply from 0; ``pieces`` is what came of its text.

    ``part`` is the paragraph of reasoning that the last piece was of; ``whole`` the item as its last event told it.
    """

    __slots__ = ("call", "citations", "kind", "part", "pieces", "whole")

    def __init__(self, kind: str, call: int) -> None:
        self.kind = kind
        self.call = call
        self.part: tuple[Any, ...] | None = None
        self.pieces: list[str] = []
        self.citations: list[dict[str, Any]] = []
        self.whole: dict[str, Any] | None = None


class ReplyReader:
    """Reads the events of one reply and keeps what the reply came to. ``done`` is set once its last event came."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._items: dict[Any, _Item] = {}
        self._calls = 0
        self._response: dict[str, Any] = {}
        self._handlers: dict[str, Callable[[_Event], list[ProviderEvent]]] = {
            "response.output_text.delta": self._text,
            "response.refusal.delta": self._text,
            "response.reasoning_summary_text.delta": self._thought,
            "response.reasoning_text.delta": self._thought,
            "response.function_call_arguments.delta": self._arguments,
            "response.output_text.annotation.added": self._annotated,
            "response.output_item.added": self._added,
            "response.output_item.done": self._item_done,
            "response.completed": self._completed,
            "response.incomplete": self._completed,
            "response.done": self._completed,
            "response.failed": self._failed,
            "error": self._error,
        }
        self.started = False
        self.done = False

    @property
    def complete(self) -> bool:
        """Whether nothing is missing, even if the connection breaks now."""
        return self.done

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
        if event.type is None:
            return self._read_untyped(event, data)
        handler = self._handlers.get(event.type)
        return handler(event) if handler is not None else []

    def finish(self, request_id: str | None = None) -> list[ProviderEvent]:
        """The last events, when the stream is over.

        :raises ProviderMalformedReply: if nothing came.
        :raises ProviderConnectionLost: if the stream ended before the reply did.
        """
        check_ended(self._subject, started=self.started, complete=self.done)
        # A call without arguments may come with none at all; to the reader it is still a JSON object.
        events: list[ProviderEvent] = [
            ToolCallPiece(item.call, "{}") for item in self._items.values() if item.call >= 0 and not item.pieces
        ]
        for item in self._items.values():  # of servers that forget to end them
            events += _cited(item)
        usage = self._response.get("usage")
        events.append(
            Finished(
                reason=self._reason(),
                usage=usage_of(cast("dict[str, Any]", usage)) if isinstance(usage, dict) else None,
                reply=self._reply(),
                request_id=request_id,
            )
        )
        return events

    def _read_undecodable(self, data: bytes, error: Exception) -> list[ProviderEvent]:
        """The end as Chat Completions has it, or several events whose empty line between them is missing."""
        stripped = data.strip()
        if not stripped or stripped == b"[DONE]":
            return []
        if b"\n" in stripped:
            return [event for line in stripped.split(b"\n") for event in self.read(line)]
        raise ProviderMalformedReply(
            f"{self._subject.name} sent something that is not an event of a reply.",
            detail=f"{error}: {stripped[:500].decode(errors='replace')}",
        ) from error

    def _read_untyped(self, event: _Event, data: bytes) -> list[ProviderEvent]:
        """A failure without the form of an event, or the whole reply of a server that does not stream."""
        if event.object == "response":
            event.response = msgspec.json.decode(data)
            return self._failed(event) if event.response.get("status") == "failed" else self._completed(event)
        return self._error(event) if event.error is not None else []

    def _text(self, event: _Event) -> list[ProviderEvent]:
        """A refusal is the model's answer as well; the reader sees it as such."""
        if not isinstance(event.delta, str) or not event.delta:
            return []
        self._item(event, "message").pieces.append(event.delta)
        return [TextPiece(event.delta)]

    def _thought(self, event: _Event) -> list[ProviderEvent]:
        """More of a summary, or of the reasoning itself. Their parts are paragraphs."""
        if not isinstance(event.delta, str) or not event.delta:
            return []
        item = self._item(event, "reasoning")
        part = (event.type, event.summary_index, event.content_index)
        text = event.delta if item.part in {None, part} else "\n\n" + event.delta
        item.part = part
        item.pieces.append(text)
        return [ReasoningPiece(text)]

    def _arguments(self, event: _Event) -> list[ProviderEvent]:
        item = self._items.get(_key(event))
        if item is None or item.call < 0 or not isinstance(event.delta, str) or not event.delta:
            return []
        item.pieces.append(event.delta)
        return [ToolCallPiece(item.call, event.delta)]

    def _annotated(self, event: _Event) -> list[ProviderEvent]:
        if isinstance(event.annotation, dict):
            self._item(event, "message").citations.append(cast("dict[str, Any]", event.annotation))
        return []

    def _added(self, event: _Event) -> list[ProviderEvent]:
        return self._announce(_key(event), event.item) if _is_item(event.item) else []

    def _item(self, event: _Event, kind: str) -> _Item:
        key = _key(event)
        return self._items.get(key) or self._begin(key, kind)

    def _announce(self, key: Any, fields: dict[str, Any]) -> list[ProviderEvent]:
        """An item begins. Of a message its phase is kept, which the API wants back with it."""
        item = self._begin(key, fields["type"])
        if item.kind == "message" and fields.get("phase"):
            return [NativeItem({"type": "message", "phase": fields["phase"]})]
        if item.call < 0:
            return []
        name = fields.get("name")
        if not name:
            raise ProviderMalformedReply(
                f"{self._subject.name} sent a tool call without a name.", detail=str(fields)[:500]
            )
        return [ToolCallPiece(item.call, "", str(fields.get("call_id") or new_tool_call_id()), str(name))]

    def _begin(self, key: Any, kind: str) -> _Item:
        item = self._items[key] = _Item(kind, self._calls if kind == "function_call" else -1)
        if item.call >= 0:
            self._calls += 1
        return item

    def _item_done(self, event: _Event) -> list[ProviderEvent]:
        return self._end(_key(event), event.item) if _is_item(event.item) else []

    def _end(self, key: Any, fields: dict[str, Any]) -> list[ProviderEvent]:
        """What can only be said when an item is whole, and what no delta brought of it."""
        events: list[ProviderEvent] = []
        if key not in self._items:
            events = self._announce(key, fields)
        item = self._items[key]
        item.whole = fields
        if item.kind == "message":
            if not item.pieces:
                events += self._take(item, _said_in(fields))
            item.citations = item.citations or _citations_in(fields)
            return events + _cited(item)
        if item.kind == "function_call":
            return events + self._take(item, str(fields.get("arguments") or ""))
        if item.kind == "reasoning" and not item.pieces:
            events += self._take(item, _thought_in(fields)) or [HiddenReasoningPiece()]
        return [*events, NativeItem(fields)]

    def _take(self, item: _Item, text: str) -> list[ProviderEvent]:
        """The text of an item of which no delta came."""
        if item.pieces or not text:
            return []
        item.pieces.append(text)
        if item.call >= 0:
            return [ToolCallPiece(item.call, text)]
        return [ReasoningPiece(text) if item.kind == "reasoning" else TextPiece(text)]

    def _completed(self, event: _Event) -> list[ProviderEvent]:
        """The end. Where no event told of an item before, all are taken from it."""
        self.done = True
        if not isinstance(event.response, dict):
            return []
        self._response = cast("dict[str, Any]", event.response)
        if self._items:
            return []
        return [
            piece
            for place, item in enumerate(_dicts(self._response.get("output")))
            if _is_item(item)
            for piece in self._end(place, item)
        ]

    def _failed(self, event: _Event) -> list[ProviderEvent]:
        response = cast("dict[str, Any]", event.response) if isinstance(event.response, dict) else {}
        raise error_in_response(response.get("error") or response, self._subject)

    def _error(self, event: _Event) -> list[ProviderEvent]:
        flat = {"code": event.code, "message": event.message}
        raise error_in_response(event.error if event.error is not None else flat, self._subject)

    def _reason(self) -> FinishReason:
        details = self._response.get("incomplete_details")
        word = cast("dict[str, Any]", details).get("reason") if isinstance(details, dict) else None
        reason = _INCOMPLETE.get(str(word), "stop")
        return "tool_calls" if reason == "stop" and self._calls else reason

    def _reply(self) -> dict[str, Any]:
        """The reply as it would have come without streaming, and without what it repeats of the request."""
        reply = {key: value for key, value in self._response.items() if key not in _ECHO}
        if not reply.get("output"):
            reply["output"] = [item.whole for item in self._items.values() if item.whole is not None]
        return reply


def _key(event: _Event) -> Any:
    """What tells an event's item from the others of its reply."""
    if event.output_index is not None:
        return event.output_index
    return event.item_id or (event.item.get("id") if isinstance(event.item, dict) else None)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]


def _is_item(value: Any) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict) and isinstance(cast("dict[str, Any]", value).get("type"), str)


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [item for item in cast("list[Any]", value) if isinstance(item, dict)] if isinstance(value, list) else []


def _said_in(message: dict[str, Any]) -> str:
    return "".join(str(part.get("text") or part.get("refusal") or "") for part in _dicts(message.get("content")))


def _citations_in(message: dict[str, Any]) -> list[dict[str, Any]]:
    return [citation for part in _dicts(message.get("content")) for citation in _dicts(part.get("annotations"))]


def _thought_in(reasoning: dict[str, Any]) -> str:
    """The summary, or else the reasoning itself."""
    for name in ("summary", "content"):
        parts = [str(part.get("text") or "") for part in _dicts(reasoning.get(name))]
        if any(parts):
            return "\n\n".join(parts)
    return ""


def _cited(item: _Item) -> list[ProviderEvent]:
    """The sources of a message, all at its end: their places are counted in its whole text."""
    if not item.citations:
        return []
    citations, item.citations = tuple(item.citations), []
    return [CitationsPiece(citations)]


def usage_of(usage: dict[str, Any]) -> Usage:
    """Token counts. What the prompt cache held is part of the input."""
    prompt, completion = _count(usage, "input_tokens") or 0, _count(usage, "output_tokens") or 0
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        total_tokens=_count(usage, "total_tokens") or prompt + completion,
        cached_input_tokens=_count(usage.get("input_tokens_details"), "cached_tokens"),
        cache_write_tokens=_count(usage.get("input_tokens_details"), "cache_write_tokens"),
        reasoning_tokens=_count(usage.get("output_tokens_details"), "reasoning_tokens"),
    )


def _count(counts: Any, name: str) -> int | None:
    value = cast("dict[str, Any]", counts).get(name) if isinstance(counts, dict) else None
    return int(value) if isinstance(value, int | float) else None
