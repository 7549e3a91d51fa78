"""A strict, scriptable endpoint that speaks Bedrock's Converse and its list of models, for tests. It holds no model.

Streams are frames of `application/vnd.amazon.eventstream` with their checksums. Reasoning is signed here, and a request
that brings back other reasoning than was issued is refused, as one whose signature is not the secret key's.
"""

from __future__ import annotations

import base64
import json
import struct
from binascii import crc32
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import parse_qs, unquote

from tests.support.aws_signature import find_flaw
from tests.support.bedrock_requests import find_violations
from tests.support.scripted_endpoint import Delay, Drop, Pause, Raw, Received, Refuse, ScriptedEndpoint, Whole
from tests.support.wire_json import as_json

if TYPE_CHECKING:
    from collections.abc import Iterator

MODEL = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
ACCESS_KEY = "AKIDEXAMPLE"
SECRET_KEY = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
API_KEY = "bedrock-api-key-example"
_PAGE = 2  # profiles a page of the list


@dataclass(frozen=True, slots=True)
class Event:
    """One event of the stream."""

    kind: str
    fields: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Failure:
    """An exception in the stream, such as `throttlingException`; with `crashed`, one outside of the protocol."""

    type: str
    message: str
    crashed: bool = False


@dataclass(frozen=True, slots=True)
class Finish:
    """The reply's end; `usage` are the counts that `metadata` tells."""

    reason: str = "end_turn"
    usage: dict[str, Any] | None = None


Act: TypeAlias = Event | Failure | Finish | Pause | Delay | Raw | Drop | Refuse | Whole
Reply: TypeAlias = list[Act]


def usage(fresh: int = 12, output: int = 5, *, read: int | None = 8, written: int | None = 0) -> dict[str, Any]:
    """A usage object as the service writes it; counts are tokens."""
    counts = {"inputTokens": fresh, "outputTokens": output}
    if read is not None:
        counts["cacheReadInputTokens"] = read
    if written is not None:
        counts["cacheWriteInputTokens"] = written
    return {**counts, "totalTokens": sum(counts.values())}


def begin(index: int, call_id: str, name: str) -> Event:
    start = {"toolUse": {"toolUseId": call_id, "name": name}}
    return Event("contentBlockStart", {"contentBlockIndex": index, "start": start})


def fill(index: int, delta: dict[str, Any]) -> Event:
    return Event("contentBlockDelta", {"contentBlockIndex": index, "delta": delta})


def end(index: int) -> Event:
    return Event("contentBlockStop", {"contentBlockIndex": index})


def said(index: int, *pieces: str) -> Reply:
    """A block of text, one delta a piece; the service does not say where one begins."""
    return [*(fill(index, {"text": piece}) for piece in pieces), end(index)]


def thought(index: int, *pieces: str, signature: str | None = None) -> Reply:
    """A block of reasoning with its signature, which comes last."""
    deltas = [fill(index, {"reasoningContent": {"text": piece}}) for piece in pieces]
    signed = fill(index, {"reasoningContent": {"signature": signature or sign("".join(pieces))}})
    return [*deltas, signed, end(index)]


def redacted(index: int, data: bytes) -> Reply:
    return [fill(index, {"reasoningContent": {"redactedContent": base64.b64encode(data).decode()}}), end(index)]


def called(index: int, call_id: str, name: str, arguments: dict[str, Any] | str) -> Reply:
    """A tool call, its arguments in two pieces; a string is sent as it is, valid JSON or not."""
    whole = arguments if isinstance(arguments, str) else json.dumps(arguments)
    middle = len(whole) // 2
    pieces = ["", whole[:middle], whole[middle:]] if whole else []
    return [begin(index, call_id, name), *(fill(index, {"toolUse": {"input": piece}}) for piece in pieces), end(index)]


def reply(*blocks: Reply, reason: str = "end_turn", usage: dict[str, Any] | None = None) -> Reply:
    return [*(act for block in blocks for act in block), Finish(reason, usage)]


def text(*pieces: str, usage: dict[str, Any] | None = None) -> Reply:
    return reply(said(0, *pieces), usage=usage)


def sign(reasoning: str) -> str:
    """The signature of some reasoning: opaque, long, and of characters that JSON escapes in more than one way."""
    return f"Sig/{sha256(reasoning.encode()).hexdigest()}+/=\u00e9"


def refuse(status: int, kind: str, message: str, *headers: tuple[str, str]) -> Refuse:
    """An HTTP error as the service words it."""
    return Refuse(status, message, kind, headers=headers)


def frame(headers: dict[str, str], payload: bytes) -> bytes:
    """One message of an event stream: lengths, their checksum, headers, payload, and the checksum of it all."""
    encoded = b"".join(
        struct.pack("!B", len(name)) + name.encode() + b"\x07" + struct.pack("!H", len(value)) + value.encode()
        for name, value in headers.items()
    )
    prelude = struct.pack("!II", len(encoded) + len(payload) + 16, len(encoded))
    message = prelude + struct.pack("!I", crc32(prelude)) + encoded + payload
    return message + struct.pack("!I", crc32(message))


def event(kind: str, **fields: Any) -> bytes:
    """One event as the service writes it, with padding that hides how long a token is."""
    payload = as_json({**fields, "p": "abcdefghijkl"}).encode()
    return frame({":event-type": kind, ":content-type": "application/json", ":message-type": "event"}, payload)


class ConverseRequest(Received):
    """One request as it came."""

    @property
    def model(self) -> str:
        return unquote(self.path.split("/")[2])

    @property
    def messages(self) -> list[dict[str, Any]]:
        return self.body["messages"]

    def blocks(self, kind: str) -> list[dict[str, Any]]:
        """All blocks of one kind in the history, without the name of it."""
        return [block[kind] for message in self.messages for block in message["content"] if kind in block]


def foundation_model(id_: str, name: str, **fields: Any) -> dict[str, Any]:
    """A row of the list of foundation models."""
    return {
        "modelArn": f"arn:aws:bedrock:us-east-1::foundation-model/{id_}",
        "modelId": id_,
        "modelName": name,
        "providerName": id_.partition(".")[0],
        "inputModalities": ["TEXT"],
        "outputModalities": ["TEXT"],
        "responseStreamingSupported": True,
        "customizationsSupported": [],
        "inferenceTypesSupported": ["ON_DEMAND"],
        "modelLifecycle": {"status": "ACTIVE"},
        **fields,
    }


def profile(id_: str, name: str, model: str, **fields: Any) -> dict[str, Any]:
    """A row of the list of inference profiles."""
    return {
        "inferenceProfileName": name,
        "inferenceProfileArn": f"arn:aws:bedrock:us-east-1:123456789012:inference-profile/{id_}",
        "inferenceProfileId": id_,
        "models": [{"modelArn": f"arn:aws:bedrock:us-east-1::foundation-model/{model}"}],
        "status": "ACTIVE",
        "type": "SYSTEM_DEFINED",
        **fields,
    }


class BedrockEndpoint(ScriptedEndpoint[ConverseRequest]):
    """Use as a context manager. `url` is the base URL to configure; `reset()` makes it new for the next test."""

    request_id_header = "x-amzn-requestid"
    stream_type = "application/vnd.amazon.eventstream"

    def __init__(self) -> None:
        super().__init__()
        self.issued: dict[str, str] = {}
        self.listed: list[str] = []
        self.foundation_models = [foundation_model("amazon.nova-lite-v1:0", "Nova Lite")]
        self.profiles: list[dict[str, Any]] = []

    def received(self, path: str, headers: dict[str, str], body: dict[str, Any]) -> ConverseRequest:
        return ConverseRequest(path, headers, body)

    def find_violations(self, request: ConverseRequest) -> list[str]:
        headers = request.headers
        if headers.get("authorization") == f"Bearer {API_KEY}":
            flaw = None
        else:
            flaw = find_flaw("POST", request.path, headers, request.content, SECRET_KEY)
        if headers.get("content-type") != "application/json":
            flaw = flaw or f"content-type: {headers.get('content-type')}"
        if request.path.rpartition("/")[2] not in {"converse", "converse-stream"}:
            flaw = flaw or f"no operation {request.path}"
        return [flaw] if flaw else find_violations(request.model, request.body, self.issued)

    def encoder(self, request: ConverseRequest) -> _Frames:
        return _Frames(self.issued)

    def error_body(self, refusal: Refuse) -> dict[str, Any]:
        return {"message": refusal.message}

    def error_headers(self, refusal: Refuse) -> tuple[tuple[str, str], ...]:
        kind = "ValidationException" if refusal.type == "invalid_request_error" else refusal.type
        named = f"{kind}:http://internal.amazon.com/coral/com.amazon.bedrock/"
        return (("x-amzn-errortype", named), ("x-amzn-requestid", "req_1"), *refusal.headers)

    def model_list(self) -> dict[str, Any]:
        return {"modelSummaries": self.foundation_models}

    def listing(self, path: str) -> dict[str, Any] | None:
        self.listed.append(path)
        bare, _, query = path.partition("?")
        if bare == "/foundation-models":
            return self.model_list()
        if bare != "/inference-profiles":
            return None
        start = int(parse_qs(query).get("nextToken", ["0"])[0])
        page = self.profiles[start : start + _PAGE]
        more = {"nextToken": str(start + _PAGE)} if start + _PAGE < len(self.profiles) else {}
        return {"inferenceProfileSummaries": page, **more}

    def ok(self) -> Reply:
        return text("ok")


class _Frames:
    """Encodes acts as the service's frames, and remembers what was signed."""

    def __init__(self, issued: dict[str, str]) -> None:
        self._issued = issued
        self._opened = False
        self._reasoning: dict[int, str] = {}

    def encode(self, act: Act) -> Iterator[bytes]:
        if isinstance(act, Raw):
            yield act.data
            return
        if not self._opened:
            self._opened = True
            yield event("messageStart", role="assistant")
        match act:
            case Event(kind, fields):
                self._remember(fields)
                yield event(kind, **fields)
            case Failure(kind, message, crashed=True):
                yield frame({":message-type": "error", ":error-code": kind, ":error-message": message}, b"")
            case Failure(kind, message):
                headers = {":exception-type": kind, ":content-type": "application/json", ":message-type": "exception"}
                yield frame(headers, json.dumps({"message": message}).encode())
            case Finish(reason, counts):
                yield event("messageStop", stopReason=reason)
                yield event("metadata", usage=counts or usage(), metrics={"latencyMs": 7})
            case _:
                pass

    def _remember(self, fields: dict[str, Any]) -> None:
        index = fields.get("contentBlockIndex", -1)
        reasoning: dict[str, str] = fields.get("delta", {}).get("reasoningContent", {})
        if "redactedContent" in reasoning:
            self._issued[reasoning["redactedContent"]] = ""
        self._reasoning[index] = self._reasoning.get(index, "") + reasoning.get("text", "")
        if "signature" in reasoning:
            self._issued[reasoning["signature"]] = self._reasoning[index]
