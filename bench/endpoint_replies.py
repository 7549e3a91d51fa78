"""What the fake endpoint says: a model's name is its recipe, and every byte that can be is built in advance."""

import json
import re
from dataclasses import dataclass
from functools import cache
from typing import Literal

Fault = Literal["", "drop", "garbage"]

DEFAULT_TOKENS = 16
"""Tokens of a reply when the model's name does not say."""

# The names that `GET /v1/models` lists; any other name of the same grammar is answered too.
LISTED_MODELS = (
    "fake",
    "fake-100tokens",
    "fake-2000tokens",
    "fake-100tokens-2gap",
    "fake-500tokens-2gap",
    "fake-200latency",
)

_WORD = re.compile(r"(?P<number>\d+)(?P<unit>tokens|latency|gap|status)|(?P<fault>drop|garbage)")
_VOCABULARY = ("The ", "lamp ", "by ", "the ", "door ", "is ", "warm ", "and ", "quiet, ", "as ", "before. ")
_IDENTITY = {"id": "chatcmpl-fake", "created": 1_700_000_000, "model": "fake", "system_fingerprint": "fp_fake"}


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one reply is to be given.

    Attributes:
        tokens: how many content deltas.
        latency_ms: wait before the first byte of the answer.
        gap_ms: wait before each token; 0 sends the whole reply in one write.
        fault: `drop` closes the connection half-way, `garbage` sends half a reply and then something that is no JSON.
        status: an HTTP status; anything but 200 is answered with an error body.
    """

    tokens: int = DEFAULT_TOKENS
    latency_ms: int = 0
    gap_ms: int = 0
    fault: Fault = ""
    status: int = 200


@cache
def recipe_of(model: str) -> Recipe | None:
    """Read a model's name, `fake[-Ntokens][-Nlatency][-Ngap][-Nstatus][-drop|-garbage]`; None if it is none of ours."""
    head, *words = model.split("-")
    if head != "fake":
        return None
    numbers: dict[str, int] = {}
    fault: Fault = ""
    for word in words:
        match = _WORD.fullmatch(word)
        if match is None:
            return None
        if match["fault"]:
            fault = "drop" if match["fault"] == "drop" else "garbage"
        else:
            numbers[match["unit"]] = int(match["number"])
    return Recipe(
        tokens=numbers.get("tokens", DEFAULT_TOKENS),
        latency_ms=numbers.get("latency", 0),
        gap_ms=numbers.get("gap", 0),
        fault=fault,
        status=numbers.get("status", 200),
    )


@cache
def words(count: int) -> tuple[str, ...]:
    """The reply, a token an item."""
    return tuple(_VOCABULARY[index % len(_VOCABULARY)] for index in range(count))


def http_chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


@cache
def stream_head() -> bytes:
    return (
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
        b"transfer-encoding: chunked\r\nx-request-id: req_fake\r\n\r\n"
    )


@cache
def token_chunks(count: int) -> tuple[bytes, ...]:
    """The reply's deltas, each one an SSE frame in an HTTP chunk: the role, then a token each, then the finish."""
    deltas: list[tuple[dict[str, str], str | None]] = [({"role": "assistant", "content": ""}, None)]
    deltas += [({"content": word}, None) for word in words(count)]
    deltas.append(({}, "stop"))
    return tuple(
        _frame({"choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}], "usage": None})
        for delta, finish in deltas
    )


@cache
def joined_chunks(count: int) -> bytes:
    return b"".join(token_chunks(count))


def stream_tail(recipe: Recipe, *, usage: bool, request_bytes: int) -> bytes:
    """What ends a stream: usage when it was asked for, `[DONE]`, and the last (empty) HTTP chunk."""
    frame = _frame({"choices": [], "usage": _usage(recipe, request_bytes)}) if usage else b""
    return frame + http_chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"


def garbage_chunk() -> bytes:
    return http_chunk(b'data: {"id": "chatcmpl-fake", "choices": [{"del\n\n')


def completion(recipe: Recipe, request_bytes: int) -> bytes:
    """A whole reply for a request that does not stream."""
    message = {"role": "assistant", "content": "".join(words(recipe.tokens)), "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    body = {**_IDENTITY, "object": "chat.completion", "choices": [choice], "usage": _usage(recipe, request_bytes)}
    return http_json(200, body)


def error(status: int, message: str) -> bytes:
    """An error in the shape the vendor's endpoints use."""
    return http_json(status, {"error": {"message": message, "type": "fake_error", "param": None, "code": None}})


def model_list() -> bytes:
    data = [{"id": name, "object": "model", "created": 1_700_000_000, "owned_by": "bench"} for name in LISTED_MODELS]
    return http_json(200, {"object": "list", "data": data})


def http_json(status: int, body: object) -> bytes:
    return http_bytes(status, json.dumps(body, separators=(",", ":")).encode())


def http_bytes(status: int, data: bytes) -> bytes:
    return b"HTTP/1.1 %d .\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (
        status,
        len(data),
        data,
    )


def _frame(body: dict[str, object]) -> bytes:
    event = {**_IDENTITY, "object": "chat.completion.chunk", **body}
    return http_chunk(b"data: " + json.dumps(event, separators=(",", ":")).encode() + b"\n\n")


def _usage(recipe: Recipe, request_bytes: int) -> dict[str, int]:
    prompt = request_bytes // 4  # a usual guess for English; the endpoint has no tokenizer
    return {"prompt_tokens": prompt, "completion_tokens": recipe.tokens, "total_tokens": prompt + recipe.tokens}
