"""A strict, scriptable endpoint that speaks OpenAI Chat Completions, for tests. It holds no model."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from tests.support.openai_requests import find_violations
from tests.support.scripted_endpoint import TIMEOUT, Delay, Drop, Gate, Pause, Raw, Received, Refuse, ScriptedEndpoint

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "MODELS",
    "TIMEOUT",
    "Act",
    "ChatRequest",
    "Delay",
    "Drop",
    "Finish",
    "Gate",
    "OpenAIEndpoint",
    "Pause",
    "Raw",
    "Refuse",
    "Reply",
    "Send",
    "call",
    "calls",
    "text",
    "think",
    "usage",
]

MODELS = ("gpt-4o-mini", "gpt-4o", "gpt-5-mini", "o3-mini")


@dataclass(frozen=True, slots=True)
class Send:
    """One chunk with this delta."""

    delta: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Finish:
    """The chunk with the finish reason and, where asked for, the one with the usage."""

    reason: str = "stop"
    usage: dict[str, Any] | None = None


Act: TypeAlias = Send | Pause | Delay | Finish | Raw | Drop | Refuse
Reply: TypeAlias = list[Act]


def usage(prompt: int = 20, completion: int = 5, cached: int = 0, reasoning: int = 0) -> dict[str, Any]:
    """A usage object as the service writes it; counts are tokens."""
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": reasoning, "audio_tokens": 0},
    }


def text(*pieces: str, usage: dict[str, Any] | None = None) -> Reply:
    """A reply of text, one chunk a piece."""
    return [*(Send({"content": piece}) for piece in pieces), Finish(usage=usage)]


def think(*thoughts: str, answer: str) -> Reply:
    """A reply with `reasoning_content` before the text."""
    return [*(Send({"reasoning_content": thought}) for thought in thoughts), Send({"content": answer}), Finish()]


def call(name: str, arguments: dict[str, Any] | str, call_id: str = "call_1") -> tuple[str, str, str]:
    """One tool call; a string is sent as the arguments as it is, valid JSON or not."""
    return name, arguments if isinstance(arguments, str) else json.dumps(arguments), call_id


def calls(*tool_calls: tuple[str, str, str], say: str = "") -> Reply:
    """A reply of tool calls: each opened with its name, then its arguments in two pieces, all interleaved."""
    acts: Reply = [Send({"content": say})] if say else []
    for index, (name, _arguments, call_id) in enumerate(tool_calls):
        opening = {"index": index, "id": call_id, "type": "function", "function": {"name": name, "arguments": ""}}
        acts.append(Send({"tool_calls": [opening]}))
    for half in (0, 1):
        for index, (_name, arguments, _call_id) in enumerate(tool_calls):
            middle = len(arguments) // 2
            piece = arguments[middle:] if half else arguments[:middle]
            acts.append(Send({"tool_calls": [{"index": index, "function": {"arguments": piece}}]}))
    return [*acts, Finish("tool_calls")]


class ChatRequest(Received):
    """One request as it came."""

    @property
    def system(self) -> str:
        return "\n".join(str(m["content"]) for m in self.messages if m["role"] in {"system", "developer"})

    @property
    def messages(self) -> list[dict[str, Any]]:
        return self.body["messages"]

    @property
    def last_user_text(self) -> str:
        content = [m["content"] for m in self.messages if m["role"] == "user"][-1]
        return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)

    @property
    def tool_names(self) -> list[str]:
        return [tool["function"]["name"] for tool in self.body.get("tools", [])]

    @property
    def tool_results(self) -> dict[str, str]:
        """The text of each tool message by the id of its call."""
        return {m["tool_call_id"]: str(m["content"]) for m in self.messages if m["role"] == "tool"}


class OpenAIEndpoint(ScriptedEndpoint[ChatRequest]):
    """Use as a context manager. `url` is the base URL to configure; `reset()` makes it new for the next test."""

    base_path = "/v1"
    post_path = "/chat/completions"
    default_models = MODELS

    def received(self, path: str, headers: dict[str, str], body: dict[str, Any]) -> ChatRequest:
        return ChatRequest(path, headers, body)

    def find_violations(self, request: ChatRequest) -> list[str]:
        return find_violations(request.path, request.headers, request.body)

    def encoder(self, request: ChatRequest) -> _Chunks:
        return _Chunks(request.body)

    def error_body(self, refusal: Refuse) -> dict[str, Any]:
        error = {"message": refusal.message, "type": refusal.type, "param": None, "code": refusal.code}
        return {"error": error}

    def model_list(self) -> dict[str, Any]:
        rows = [{"id": name, "object": "model", "created": 1, "owned_by": "tests"} for name in self.models]
        return {"object": "list", "data": rows}

    def ok(self) -> Reply:
        return text("ok")


class _Chunks:
    """Encodes acts as the service's chunks. The first carries the role, as it always does there."""

    def __init__(self, body: dict[str, Any]) -> None:
        self._model: str = body.get("model", "")
        stream_options: dict[str, Any] = body.get("stream_options", {})
        self._with_usage = stream_options.get("include_usage") is True
        self._opened = False

    def encode(self, act: Act) -> Iterator[bytes]:
        if not self._opened and isinstance(act, Send):
            self._opened = True
            yield self._chunk({"role": "assistant", "content": ""})
        if isinstance(act, Send):
            yield self._chunk(act.delta)
        elif isinstance(act, Raw):
            yield act.data
        elif isinstance(act, Finish):
            yield self._chunk({}, finish=act.reason)
            if self._with_usage:
                yield self._event({"choices": [], "usage": act.usage or usage()})
            yield b"data: [DONE]\n\n"

    def _chunk(self, delta: dict[str, Any], finish: str | None = None) -> bytes:
        return self._event({"choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]})

    def _event(self, fields: dict[str, Any]) -> bytes:
        base = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": self._model}
        return b"data: " + json.dumps(base | fields).encode() + b"\n\n"
