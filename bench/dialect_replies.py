"""The same reply in each dialect, event by event as the services write them; nothing of it is made while it is sent."""

import binascii
import json
import re
import struct
from functools import cache
from typing import Any, TypeAlias

from bench.endpoint_replies import http_chunk, words

DIALECTS = ("openai_chat", "openai_responses", "anthropic", "google", "bedrock")

_ASKED = re.compile(rb"POST /(\w+)/(\d+)tokens/(\d+)us/")
_PAD = "abcdefghijklm"  # services pad their events against eavesdroppers who count bytes


def asked(head: bytes) -> tuple[str, int, float] | None:
    """The dialect, the tokens and the seconds between them that a request's path asks for, if it does."""
    found = _ASKED.match(head)
    if found is None or found[1].decode() not in DIALECTS:
        return None
    return found[1].decode(), int(found[2]), int(found[3]) / 1e6


@cache
def writes(dialect: str, tokens: int) -> tuple[bytes, ...]:
    """The whole response: a write for the head and what opens the reply, one for each token, one for the end."""
    opening, each, closing = _EVENTS[dialect](words(tokens))
    media_type = b"application/vnd.amazon.eventstream" if dialect == "bedrock" else b"text/event-stream"
    head = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ntransfer-encoding: chunked\r\nx-request-id: req_fake\r\n\r\n"
    first = head % media_type + b"".join(map(http_chunk, opening))
    return (first, *map(http_chunk, each), b"".join(map(http_chunk, closing)) + b"0\r\n\r\n")


_Events: TypeAlias = tuple[list[bytes], list[bytes], list[bytes]]
_Fields: TypeAlias = dict[str, Any]


def _chat(tokens: tuple[str, ...]) -> _Events:
    base: _Fields = {
        "id": "chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT",
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": "gpt-5-mini-2026-08-07",
        "service_tier": "default",
        "system_fingerprint": "fp_44709d6fcb",
    }

    def event(delta: dict[str, str], finish: str | None = None) -> bytes:
        choice: _Fields = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return _data({**base, "choices": [choice], "usage": None, "obfuscation": _PAD})

    usage: _Fields = {"prompt_tokens": 10, "completion_tokens": len(tokens), "total_tokens": 10 + len(tokens)}
    closing = [event({}, "stop"), _data({**base, "choices": [], "usage": usage}), b"data: [DONE]\n\n"]
    return [event({"role": "assistant", "content": ""})], [event({"content": token}) for token in tokens], closing


def _responses(tokens: tuple[str, ...]) -> _Events:
    item = "msg_68af4030baa48193b0b43b4c2a176a1a0e6c39388cc28ce0"
    response: _Fields = {
        "id": "resp_1",
        "object": "response",
        "model": "gpt-5-mini",
        "output": [],
        "status": "in_progress",
    }
    place: _Fields = {"item_id": item, "output_index": 0, "content_index": 0}
    whole = "".join(tokens)
    part: _Fields = {"type": "output_text", "annotations": [], "logprobs": [], "text": whole}
    message: _Fields = {"id": item, "type": "message", "status": "completed", "role": "assistant", "content": [part]}
    usage: _Fields = {
        "input_tokens": 10,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": len(tokens),
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 10 + len(tokens),
    }
    number = iter(range(len(tokens) + 10))

    def event(kind: str, **fields: Any) -> bytes:
        return b"event: %b\n" % kind.encode() + _data({"type": kind, "sequence_number": next(number), **fields})

    begun: _Fields = {**message, "status": "in_progress", "content": []}
    opening = [
        event("response.created", response=response),
        event("response.in_progress", response=response),
        event("response.output_item.added", output_index=0, item=begun),
        event("response.content_part.added", **place, part={**part, "text": ""}),
    ]
    each = [
        event("response.output_text.delta", **place, delta=token, logprobs=[], obfuscation=_PAD) for token in tokens
    ]
    closing = [
        event("response.output_text.done", **place, text=whole, logprobs=[]),
        event("response.content_part.done", **place, part=part),
        event("response.output_item.done", output_index=0, item=message),
        event("response.completed", response={**response, "status": "completed", "output": [message], "usage": usage}),
    ]
    return opening, each, closing


def _anthropic(tokens: tuple[str, ...]) -> _Events:
    message: _Fields = {
        "id": "msg_01XFDUDYJgAACzvnptvVoYEL",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-4-5",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 10, "output_tokens": 1},
    }

    def event(kind: str, **fields: Any) -> bytes:
        return b"event: %b\n" % kind.encode() + _data({"type": kind, **fields})

    opening = [
        event("message_start", message=message),
        event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
        event("ping"),
    ]
    each = [event("content_block_delta", index=0, delta={"type": "text_delta", "text": token}) for token in tokens]
    end = {"stop_reason": "end_turn", "stop_sequence": None}
    closing = [
        event("content_block_stop", index=0),
        event("message_delta", delta=end, usage={"output_tokens": len(tokens)}),
        event("message_stop"),
    ]
    return opening, each, closing


def _google(tokens: tuple[str, ...]) -> _Events:
    def event(token: str, finish: str | None = None) -> bytes:
        candidate: _Fields = {"content": {"parts": [{"text": token}], "role": "model"}, "index": 0}
        if finish:
            candidate["finishReason"] = finish
        usage: _Fields = {
            "promptTokenCount": 10,
            "candidatesTokenCount": len(tokens),
            "totalTokenCount": 10 + len(tokens),
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 10}],
        }
        told = {"modelVersion": "gemini-2.5-flash", "responseId": "mLE6aPqlHpPWmtkPlKG90Qk"}
        return b"data: " + _compact({"candidates": [candidate], "usageMetadata": usage, **told}) + b"\r\n\r\n"

    return [], [event(token) for token in tokens], [event(".", "STOP")]


def _bedrock(tokens: tuple[str, ...]) -> _Events:
    usage: _Fields = {"inputTokens": 10, "outputTokens": len(tokens), "totalTokens": 10 + len(tokens)}
    each = [
        _frame("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": token}, "p": _PAD}) for token in tokens
    ]
    closing = [
        _frame("contentBlockStop", {"contentBlockIndex": 0, "p": _PAD}),
        _frame("messageStop", {"stopReason": "end_turn", "p": _PAD}),
        _frame("metadata", {"usage": usage, "metrics": {"latencyMs": 500}, "p": _PAD}),
    ]
    return [_frame("messageStart", {"role": "assistant", "p": _PAD})], each, closing


_EVENTS = {
    "openai_chat": _chat,
    "openai_responses": _responses,
    "anthropic": _anthropic,
    "google": _google,
    "bedrock": _bedrock,
}


def _data(fields: _Fields) -> bytes:
    return b"data: " + _compact(fields) + b"\n\n"


def _compact(fields: _Fields) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode()


def _frame(kind: str, fields: _Fields) -> bytes:
    """One message of the binary event stream: lengths, headers, payload and two checksums."""
    told = {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}
    headers = b"".join(
        struct.pack("!B", len(name)) + name.encode() + struct.pack("!BH", 7, len(value)) + value.encode()
        for name, value in told.items()
    )
    payload = _compact(fields)
    prelude = struct.pack("!II", 16 + len(headers) + len(payload), len(headers))
    message = prelude + struct.pack("!I", binascii.crc32(prelude)) + headers + payload
    return message + struct.pack("!I", binascii.crc32(message))
