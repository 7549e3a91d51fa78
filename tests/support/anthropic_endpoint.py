"""A strict, scriptable endpoint that speaks Anthropic's Messages, for tests. It holds no model.

Thinking is signed here, and a request that brings back other thinking than was issued is refused.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, TypeAlias

from tests.support.anthropic_requests import find_violations
from tests.support.scripted_endpoint import Delay, Drop, Pause, Raw, Received, Refuse, ScriptedEndpoint
from tests.support.wire_json import as_json

if TYPE_CHECKING:
    from collections.abc import Iterator

MODELS = ("claude-sonnet-4-5", "claude-opus-5-5")


@dataclass(frozen=True, slots=True)
class Begin:
    """A content block begins."""

    index: int
    block: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Fill:
    """A content block gets more."""

    index: int
    delta: dict[str, Any]


@dataclass(frozen=True, slots=True)
class End:
    index: int


@dataclass(frozen=True, slots=True)
class Finish:
    """The reply's end; `usage` are the counts that `message_delta` tells."""

    reason: str = "end_turn"
    usage: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """An `error` event in the middle of the stream."""

    type: str
    message: str


Act: TypeAlias = Begin | Fill | End | Finish | Failure | Pause | Delay | Raw | Drop | Refuse
Reply: TypeAlias = list[Act]


def usage(fresh: int = 12, output: int = 5, *, read: int | None = 8, written: int | None = 0) -> dict[str, Any]:
    """A usage object as the service writes it; counts are tokens."""
    counts: dict[str, Any] = {"input_tokens": fresh, "output_tokens": output}
    if read is not None:
        counts["cache_read_input_tokens"] = read
    if written is not None:
        counts["cache_creation_input_tokens"] = written
    return counts


def said(index: int, *pieces: str) -> Reply:
    """A block of text, one delta a piece."""
    deltas = [Fill(index, {"type": "text_delta", "text": piece}) for piece in pieces]
    return [Begin(index, {"type": "text", "text": ""}), *deltas, End(index)]


def thought(index: int, *pieces: str, signature: str | None = None) -> Reply:
    """A block of thinking with its signature, which comes last."""
    deltas = [Fill(index, {"type": "thinking_delta", "thinking": piece}) for piece in pieces]
    signed = Fill(index, {"type": "signature_delta", "signature": signature or sign("".join(pieces))})
    return [Begin(index, {"type": "thinking", "thinking": "", "signature": ""}), *deltas, signed, End(index)]


def redacted(index: int, data: str) -> Reply:
    return [Begin(index, {"type": "redacted_thinking", "data": data}), End(index)]


def called(index: int, call_id: str, name: str, arguments: dict[str, Any] | str) -> Reply:
    """A tool call, its arguments in two pieces; a string is sent as it is, valid JSON or not."""
    whole = arguments if isinstance(arguments, str) else json.dumps(arguments)
    middle = len(whole) // 2
    pieces = ["", whole[:middle], whole[middle:]] if whole else []
    deltas = [Fill(index, {"type": "input_json_delta", "partial_json": piece}) for piece in pieces]
    return [Begin(index, {"type": "tool_use", "id": call_id, "name": name, "input": {}}), *deltas, End(index)]


def reply(*blocks: Reply, reason: str = "end_turn", usage: dict[str, Any] | None = None) -> Reply:
    return [*(act for block in blocks for act in block), Finish(reason, usage)]


def text(*pieces: str, usage: dict[str, Any] | None = None) -> Reply:
    return reply(said(0, *pieces), usage=usage)


def sign(thinking: str) -> str:
    """The signature of some thinking: opaque, long, and of characters that JSON escapes in more than one way."""
    return f"Sig/{sha256(thinking.encode()).hexdigest()}+/=\u00e9"


class MessagesRequest(Received):
    """One request as it came."""

    @property
    def messages(self) -> list[dict[str, Any]]:
        return self.body["messages"]

    @property
    def system(self) -> str:
        return "".join(block["text"] for block in self.body.get("system", []))

    def blocks(self, kind: str) -> list[dict[str, Any]]:
        """All blocks of one type in the history, without their cache marks."""
        return [
            {key: value for key, value in block.items() if key != "cache_control"}
            for message in self.messages
            for block in message["content"]
            if block["type"] == kind
        ]


class AnthropicEndpoint(ScriptedEndpoint[MessagesRequest]):
    """Use as a context manager. `url` is the base URL to configure; `reset()` makes it new for the next test."""

    post_path = "/v1/messages"
    request_id_header = "request-id"
    default_models = MODELS

    def __init__(self) -> None:
        super().__init__()
        self.issued: dict[str, str] = {}

    def received(self, path: str, headers: dict[str, str], body: dict[str, Any]) -> MessagesRequest:
        return MessagesRequest(path, headers, body)

    def find_violations(self, request: MessagesRequest) -> list[str]:
        return find_violations(request.headers, request.body, self.issued)

    def encoder(self, request: MessagesRequest) -> _Events:
        return _Events(request.body, self.issued)

    def error_body(self, refusal: Refuse) -> dict[str, Any]:
        error = {"type": refusal.type, "message": refusal.message}
        return {"type": "error", "error": error, "request_id": "req_1"}

    def model_list(self) -> dict[str, Any]:
        rows = [
            {
                "type": "model",
                "id": name,
                "display_name": name.replace("-", " ").title(),
                "created_at": "2026-01-01T00:00:00Z",
                "max_input_tokens": 150_000,
                "max_tokens": 50_000,
            }
            for name in self.models
        ]
        return {"data": rows, "has_more": False, "first_id": rows[0]["id"], "last_id": rows[-1]["id"]}

    def ok(self) -> Reply:
        return text("ok")


class _Events:
    """Encodes acts as the service's events, and remembers what was signed."""

    def __init__(self, body: dict[str, Any], issued: dict[str, str]) -> None:
        self._model = body.get("model")
        self._issued = issued
        self._opened = False
        self._thinking: dict[int, str] = {}

    def encode(self, act: Act) -> Iterator[bytes]:
        if isinstance(act, Raw):
            yield act.data
            return
        if not self._opened:
            self._opened = True
            yield self._start()
            yield _event("ping")
        match act:
            case Begin(index, block):
                if block["type"] == "redacted_thinking":
                    self._issued[block["data"]] = block["data"]
                self._thinking[index] = ""
                yield _event("content_block_start", index=index, content_block=block)
            case Fill(index, delta):
                self._thinking[index] = self._thinking.get(index, "") + delta.get("thinking", "")
                if "signature" in delta:
                    self._issued[delta["signature"]] = self._thinking[index]
                yield _event("content_block_delta", index=index, delta=delta)
            case End(index):
                yield _event("content_block_stop", index=index)
            case Failure(kind, message):
                yield _event("error", error={"type": kind, "message": message}, request_id="req_1")
            case Finish(reason, counts):
                stop = {"stop_reason": reason, "stop_sequence": None, "stop_details": None}
                yield _event("message_delta", delta=stop, usage=counts or usage())
                yield _event("message_stop")
            case _:
                pass

    def _start(self) -> bytes:
        message: dict[str, Any] = {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": self._model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {"input_tokens": 1, "output_tokens": 1, "service_tier": "standard"},
        }
        return _event("message_start", message=message)


def _event(kind: str, **fields: Any) -> bytes:
    data = as_json({"type": kind, **fields})
    return f"event: {kind}\ndata: {data}\n\n".encode()
