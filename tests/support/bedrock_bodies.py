"""Bodies of the Converse dialect, checked as the service checks them, and short ways to write their messages."""

from typing import Any

import msgspec
from msgspec import structs

from tertulia.domain.messages import Message, Part, ToolReturnPart
from tertulia.domain.tools import ToolSpec
from tertulia.ports.provider import ModelRequest
from tertulia.providers.bedrock.encoding import ConverseEncoder
from tests.support.bedrock_requests import find_violations
from tests.support.histories import message

CLAUDE = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
EARLY_CLAUDE = "anthropic.claude-3-5-sonnet-20240620-v1:0"
NOVA = "us.amazon.nova-pro-v1:0"
LLAMA = "meta.llama3-3-70b-instruct-v1:0"
MISTRAL = "mistral.mistral-large-2407-v1:0"
MINE = f"bedrock/{CLAUDE}"
ISSUED = {"sig+/=": "Hm.", "b3BhcXVl": ""}
POINT = {"cachePoint": {"type": "default"}}
LOOK = ToolSpec(
    id="tool-1",
    name="look",
    description="Looks.",
    parameters={"type": "object", "properties": {"at": {"type": "string"}}},
    tool_type="letta_core",
)


def encoder() -> ConverseEncoder:
    return ConverseEncoder(frozenset({"bedrock"}))


def body_of(*messages: Message, model: str = CLAUDE, **fields: Any) -> dict[str, Any]:
    """The body, which the service would take."""
    fields = {"system": "Be terse.", "tools": (LOOK,), **fields}
    body = msgspec.json.decode(encoder().encode(ModelRequest(model=model, messages=messages, **fields)))
    assert not find_violations(model, body, ISSUED)
    return body


def turns_of(*messages: Message, **fields: Any) -> list[tuple[str, list[dict[str, Any]]]]:
    """Roles and blocks, without the cache points."""
    turns = body_of(*messages, **fields)["messages"]
    return [(turn["role"], [block for block in turn["content"] if block != POINT]) for turn in turns]


def texts(*words: str) -> list[dict[str, Any]]:
    return [{"text": word} for word in words]


def written(*parts: Part | str, by: str | None = MINE) -> Message:
    return structs.replace(message("assistant", *parts), model=by)


def returned(id_: str, content: Any = "done", **fields: Any) -> Message:
    return message("tool", ToolReturnPart(tool_call_id=id_, name="look", content=content, **fields))


def result(id_: str, *content: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"toolResult": {"toolUseId": id_, "content": list(content), **fields}}
