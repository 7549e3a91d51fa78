"""Bodies of Gemini's dialect, checked as the service checks them, and short ways to write their messages."""

from collections.abc import Sequence
from typing import Any

import msgspec

from tertulia.domain.messages import Message, Part, Role, ToolCallPart, ToolReturnPart
from tertulia.ports.provider import ModelRequest
from tertulia.providers.gemini.encoding import GeminiEncoder
from tests.support import histories
from tests.support.gemini_requests import find_violations
from tests.support.tool_specs import SEARCH

MINE = "google_ai/gemini-3-pro-preview"
NEW, OLD = "gemini-3-pro-preview", "gemini-2.5-flash"


def message(role: Role, *parts: Part | str, model: str | None = None) -> Message:
    return msgspec.structs.replace(histories.message(role, *parts), model=model)


def called(id_: str, arguments: str = "{}", name: str = "search", signature: str | None = None) -> ToolCallPart:
    return ToolCallPart(id_, name, arguments, signature)


def returned(id_: str, content: Any = "found", **fields: Any) -> ToolReturnPart:
    return ToolReturnPart(tool_call_id=id_, name="search", content=content, **fields)


def new_encoder(provider_type: str = "google_ai") -> GeminiEncoder:
    return GeminiEncoder(provider_type, frozenset({provider_type}))


def body_of(
    *messages: Message,
    issued: Sequence[dict[str, Any]] = (),
    encoder: GeminiEncoder | None = None,
    model: str = NEW,
    **fields: Any,
) -> dict[str, Any]:
    """The body, which the service would take; `issued` are the parts that it signed."""
    fields = {"system": "Be terse.", "tools": (SEARCH,), **fields}
    used = encoder or new_encoder()
    body = msgspec.json.decode(used.encode(ModelRequest(model=model, messages=messages, **fields)))
    signed = {part["thoughtSignature"]: part for part in issued}
    headers = {"x-goog-api-key": "AIza"}
    path = f"/v1beta/models/{model}:streamGenerateContent?alt=sse"
    assert not find_violations(path, headers, body, signed)
    return body


def contents_of(*messages: Message, **fields: Any) -> list[tuple[str, list[dict[str, Any]]]]:
    return [(content["role"], content["parts"]) for content in body_of(*messages, **fields)["contents"]]


def texts(*words: str) -> list[dict[str, Any]]:
    return [{"text": word} for word in words]
