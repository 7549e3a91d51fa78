"""A strict, scriptable endpoint that speaks OpenAI's Responses, for tests. It holds no model.

Reasoning is issued here, and a request that brings back other reasoning, or elsewhere, is refused.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from tests.support.responses_requests import Issued, find_violations, mark_of
from tests.support.scripted_endpoint import Delay, Drop, Pause, Raw, Received, Refuse, ScriptedEndpoint
from tests.support.wire_json import as_json

if TYPE_CHECKING:
    from collections.abc import Iterator

MODELS = ("gpt-5-mini", "o3-mini", "gpt-5-codex")

Item = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Begin:
    """An item begins."""

    index: int
    item: Item


@dataclass(frozen=True, slots=True)
class Fill:
    """An item gets more. `kind` is the event's, without `response.`."""

    index: int
    kind: str
    fields: dict[str, Any]


@dataclass(frozen=True, slots=True)
class End:
    """An item is whole."""

    index: int
    item: Item


@dataclass(frozen=True, slots=True)
class Finish:
    """The reply's end. `reason` is why it is incomplete."""

    reason: str | None = None
    usage: dict[str, Any] | None = None
    extra: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Failure:
    """The reply fails: by `response.failed`, or by an event of type `error`."""

    code: str
    message: str = "it failed"
    as_event: bool = False


Act: TypeAlias = Begin | Fill | End | Finish | Failure | Pause | Delay | Raw | Drop | Refuse
Reply: TypeAlias = list[Act]


def usage(prompt: int = 20, completion: int = 5, cached: int = 0, reasoning: int = 0) -> dict[str, Any]:
    """A usage object as the service writes it; counts are tokens."""
    return {
        "input_tokens": prompt,
        "input_tokens_details": {"cached_tokens": cached},
        "output_tokens": completion,
        "output_tokens_details": {"reasoning_tokens": reasoning},
        "total_tokens": prompt + completion,
    }


def said(index: int, *pieces: str, phase: str | None = None, annotations: list[Item] | None = None) -> Reply:
    """A message, one delta a piece."""
    head = {"id": f"msg_{index}", "type": "message", "role": "assistant"} | ({"phase": phase} if phase else {})
    part = {"type": "output_text", "text": "".join(pieces), "annotations": annotations or [], "logprobs": []}
    return [
        Begin(index, {**head, "status": "in_progress", "content": []}),
        *(Fill(index, "output_text.delta", {"content_index": 0, "delta": piece, "logprobs": []}) for piece in pieces),
        *(
            Fill(index, "output_text.annotation.added", {"content_index": 0, "annotation_index": 0, "annotation": one})
            for one in annotations or ()
        ),
        Fill(index, "output_text.done", {"content_index": 0, "text": part["text"]}),
        End(index, {**head, "status": "completed", "content": [part]}),
    ]


def refused(index: int, *pieces: str) -> Reply:
    head = {"id": f"msg_{index}", "type": "message", "role": "assistant"}
    return [
        Begin(index, {**head, "status": "in_progress", "content": []}),
        *(Fill(index, "refusal.delta", {"content_index": 0, "delta": piece}) for piece in pieces),
        End(index, {**head, "status": "completed", "content": [{"type": "refusal", "refusal": "".join(pieces)}]}),
    ]


def reasoning_item(id_: str, *summary: str) -> Item:
    """The item as it is when it is whole: opaque, long, and of characters that JSON escapes in more than one way."""
    return {
        "id": id_,
        "type": "reasoning",
        "encrypted_content": f"gAAAAAB/{id_}+{'x' * 40}\u00e9\u2028==",
        "summary": [{"type": "summary_text", "text": text} for text in summary],
    }


def thought(index: int, id_: str, *summary: str) -> Reply:
    """Reasoning, with a summary of so many parts, each in two pieces."""
    acts: Reply = [Begin(index, {"id": id_, "type": "reasoning", "encrypted_content": "gAAA", "summary": []})]
    for place, text in enumerate(summary):
        where = {"summary_index": place}
        acts.append(
            Fill(index, "reasoning_summary_part.added", {**where, "part": {"type": "summary_text", "text": ""}})
        )
        middle = len(text) // 2
        acts += [
            Fill(index, "reasoning_summary_text.delta", {**where, "delta": piece})
            for piece in (text[:middle], text[middle:])
        ]
        acts.append(Fill(index, "reasoning_summary_text.done", {**where, "text": text}))
    return [*acts, End(index, reasoning_item(id_, *summary))]


def called(index: int, call_id: str, name: str, arguments: dict[str, Any] | str) -> Reply:
    """A tool call, its arguments in two pieces; a string is sent as it is, valid JSON or not."""
    whole = arguments if isinstance(arguments, str) else json.dumps(arguments)
    head = {"id": f"fc_{call_id}", "type": "function_call", "call_id": call_id, "name": name}
    middle = len(whole) // 2
    pieces = [whole[:middle], whole[middle:]] if whole else []
    return [
        Begin(index, {**head, "status": "in_progress", "arguments": ""}),
        *(Fill(index, "function_call_arguments.delta", {"delta": piece}) for piece in pieces),
        Fill(index, "function_call_arguments.done", {"arguments": whole}),
        End(index, {**head, "status": "completed", "arguments": whole}),
    ]


def reply(*items: Reply, reason: str | None = None, usage: dict[str, Any] | None = None) -> Reply:
    return [*(act for item in items for act in item), Finish(reason, usage)]


def text(*pieces: str, usage: dict[str, Any] | None = None) -> Reply:
    return reply(said(0, *pieces), usage=usage)


class ResponsesRequest(Received):
    """One request as it came."""

    @property
    def input(self) -> list[Item]:
        return self.body["input"]

    @property
    def system(self) -> str:
        return self.body.get("instructions", "")

    def items(self, kind: str) -> list[Item]:
        """All items of one type in the history."""
        return [item for item in self.input if item["type"] == kind]


class ResponsesEndpoint(ScriptedEndpoint[ResponsesRequest]):
    """Use as a context manager. `url` is the base URL to configure; `reset()` makes it new for the next test."""

    base_path = "/v1"
    post_path = "/responses"
    default_models = MODELS
    at_chatgpt = False

    def __init__(self) -> None:
        super().__init__()
        self.issued = Issued()

    def reset(self) -> None:
        super().reset()
        self.issued = Issued()

    def received(self, path: str, headers: dict[str, str], body: dict[str, Any]) -> ResponsesRequest:
        return ResponsesRequest(path, headers, body)

    def find_violations(self, request: ResponsesRequest) -> list[str]:
        return find_violations(request.headers, request.body, self.issued, at_chatgpt=self.at_chatgpt)

    def encoder(self, request: ResponsesRequest) -> Events:
        return Events(request.body, self.issued)

    def error_body(self, refusal: Refuse) -> dict[str, Any]:
        return {"error": {"message": refusal.message, "type": refusal.type, "param": None, "code": refusal.code}}

    def model_list(self) -> dict[str, Any]:
        rows = [{"id": name, "object": "model", "created": 1, "owned_by": "tests"} for name in self.models]
        return {"object": "list", "data": rows}

    def ok(self) -> Reply:
        return text("ok")


class ChatGPTEndpoint(ResponsesEndpoint):
    """The same at the ChatGPT backend, which demands more and takes less."""

    base_path = "/backend-api/codex"
    at_chatgpt = True

    def error_body(self, refusal: Refuse) -> dict[str, Any]:
        if refusal.code is None:
            return {"detail": refusal.message}
        limit = {"plan_type": "plus", "resets_in_seconds": 7} if refusal.type == "usage_limit_reached" else {}
        return {"error": super().error_body(refusal)["error"] | limit}

    def model_list(self) -> dict[str, Any]:
        shown = [
            {"slug": name, "display_name": name.upper(), "context_window": 272_000, "visibility": "list"}
            for name in self.models
        ]
        return {"models": [*shown, {"slug": "internal", "visibility": "hide"}]}


class Events:
    """Encodes acts as the service's events, and remembers what reasoning was issued and what followed it."""

    def __init__(self, body: dict[str, Any], issued: Issued) -> None:
        self._body = body
        self._issued = issued
        self._number = 0
        self._ids: dict[int, str] = {}
        self._output: list[Item] = []

    def encode(self, act: Act) -> Iterator[bytes]:
        if isinstance(act, Raw):
            yield act.data
            return
        if not self._number:
            for name in ("created", "in_progress"):
                yield self._event(f"response.{name}", response=self._response("in_progress"))
        match act:
            case Begin(index, item):
                self._ids[index] = str(item.get("id"))
                yield self._event("response.output_item.added", output_index=index, item=item)
            case Fill(index, kind, fields):
                here = {"output_index": index, "item_id": self._ids.get(index)}
                yield self._event(f"response.{kind}", **here, **fields)
            case End(index, item):
                self._issue(item)
                yield self._event("response.output_item.done", output_index=index, item=item)
            case Failure(code, message, as_event):
                error = {"code": code, "message": message}
                if as_event:
                    yield self._event("error", **error, param=None)
                else:
                    yield self._event("response.failed", response={**self._response("failed"), "error": error})
            case Finish(reason, counts, extra):
                status = "incomplete" if reason else "completed"
                details = {"incomplete_details": {"reason": reason} if reason else None}
                response = {**self._response(status), **details, "usage": counts or usage(), **extra}
                yield self._event(f"response.{status}", response=response)
            case _:
                pass

    def _issue(self, item: Item) -> None:
        before = self._output[-1] if self._output else None
        if before is not None and before["type"] == "reasoning":
            self._issued.followers[before["id"]] = mark_of(item)
        if item["type"] == "reasoning":
            self._issued.reasoning[item["id"]] = json.dumps(item)
        self._output.append(item)

    def _response(self, status: str) -> dict[str, Any]:
        return {
            "id": "resp_1",
            "object": "response",
            "created_at": 1,
            "status": status,
            "error": None,
            "incomplete_details": None,
            "instructions": self._body.get("instructions"),
            "model": self._body.get("model"),
            "output": self._output if status in {"completed", "incomplete"} else [],
            "store": False,
            "tools": self._body.get("tools", []),
            "usage": None,
        }

    def _event(self, kind: str, **fields: Any) -> bytes:
        data = as_json({"type": kind, "sequence_number": self._number, **fields})
        self._number += 1
        return f"event: {kind}\ndata: {data}\n\n".encode()
