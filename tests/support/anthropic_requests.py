"""What a Messages request may contain, checked the way the service checks it, and a little more strictly.

The service joins neighbours of one role; here roles must alternate. A thinking block must be one that was issued.
"""

from __future__ import annotations

import re
from typing import Any, cast

_TOP_LEVEL: dict[str, tuple[type, ...]] = {
    "model": (str,),
    "max_tokens": (int,),
    "messages": (list,),
    "stream": (bool,),
    "system": (str, list),
    "temperature": (int, float),
    "thinking": (dict,),
    "output_config": (dict,),
    "tools": (list,),
    "tool_choice": (dict,),
    "metadata": (dict,),
    "stop_sequences": (list,),
    "service_tier": (str,),
}
_REQUIRED = ("model", "max_tokens", "messages")
_VERSIONS = {"2023-06-01"}
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_CALL_ID = re.compile(r"[a-zA-Z0-9_-]+")
_CACHED = {"type": "ephemeral"}
_TOOL_FIELDS = {"name", "description", "input_schema", "strict", "cache_control"}
_BLOCKS: dict[str, dict[str, set[str]]] = {
    "user": {
        "text": {"type", "text", "cache_control"},
        "image": {"type", "source", "cache_control"},
        "tool_result": {"type", "tool_use_id", "content", "is_error", "cache_control"},
    },
    "assistant": {
        "text": {"type", "text"},
        "tool_use": {"type", "id", "name", "input"},
        "thinking": {"type", "thinking", "signature"},
        "redacted_thinking": {"type", "data"},
    },
}
_CHOICES: dict[str, set[str]] = {
    "auto": {"disable_parallel_tool_use"},
    "any": {"disable_parallel_tool_use"},
    "tool": {"disable_parallel_tool_use", "name"},
    "none": set(),
}
_IMAGES = {"image/jpeg", "image/png", "image/gif", "image/webp"}

Block = dict[str, Any]


def find_violations(headers: dict[str, str], body: Block, issued: dict[str, str]) -> list[str]:
    """Why the service would answer 400 (or 401) to this request; empty when it would not.

    `issued` has the signatures of thinking blocks, with their text, and the data of redacted ones, with itself.
    """
    found: list[str] = []
    if not headers.get("x-api-key"):
        found.append("x-api-key header is required")
    if headers.get("anthropic-version") not in _VERSIONS:
        found.append(f"anthropic-version: {headers.get('anthropic-version')!r} is not one of {sorted(_VERSIONS)}")
    found += [f"{key}: Extra inputs are not permitted" for key in body if key not in _TOP_LEVEL]
    found += [f"{key}: Field required" for key in _REQUIRED if key not in body]
    found += [
        f"{key}: wrong type: {body[key]!r}"
        for key, types in _TOP_LEVEL.items()
        if key in body and (not isinstance(body[key], types) or (isinstance(body[key], bool) and bool not in types))
    ]
    if found:
        return found
    if body.get("stream") is not True:
        found.append("tests answer streams only")
    found += _settings(body) + _system(body) + _tools(body)
    if _breakpoints(body) > 4:
        found.append("A maximum of 4 blocks with cache_control may be provided.")
    return found + _messages(body, issued)


def _settings(body: Block) -> list[str]:
    found: list[str] = []
    if body["max_tokens"] < 1:
        found.append("max_tokens: must be at least 1")
    match body.get("thinking"):
        case None | {"type": "disabled"} | {"type": "adaptive"}:
            pass
        case {"type": "enabled", "budget_tokens": int(budget)} if 1024 <= budget < body["max_tokens"]:
            pass
        case thinking:
            found.append(f"thinking: {thinking}")
    unknown = set(cast("Block", body.get("thinking", {}))) - {"type", "budget_tokens"}
    found += [f"thinking.{key}: Extra inputs are not permitted" for key in unknown]
    if "temperature" in body and not 0 <= body["temperature"] <= 1:
        found.append("temperature: range: 0..1")
    if _thinks(body) and body.get("temperature", 1) != 1:
        found.append("`temperature` may only be set to 1 when thinking is enabled")
    return found + _output(body)


def _output(body: Block) -> list[str]:
    found: list[str] = []
    output: Block = body.get("output_config", {"effort": "high"})
    if not output or set(output) - {"effort", "format"}:
        found.append(f"output_config: {output}")
    if output.get("effort", "high") not in {"low", "medium", "high", "xhigh", "max"}:
        found.append("output_config.effort: not one of low, medium, high, xhigh, max")
    match output.get("format"):
        case None:
            pass
        case {"type": "json_schema", "schema": {"type": str()}} if len(output["format"]) == 2:
            pass
        case other:
            found.append(f"output_config.format: {other}")
    return found


def _thinks(body: Block) -> bool:
    return body.get("thinking", {}).get("type", "disabled") != "disabled"


def _system(body: Block) -> list[str]:
    system = body.get("system", "-")
    blocks: list[Block] = [{"type": "text", "text": system}] if isinstance(system, str) else system
    if not blocks:
        return ["system: must not be empty"]
    return [
        f"system.{index}: {block}"
        for index, block in enumerate(blocks)
        if set(block) - _BLOCKS["user"]["text"] or block.get("type") != "text" or not block.get("text", "").strip()
    ]


def _tools(body: Block) -> list[str]:
    found: list[str] = []
    tools: list[Block] = body.get("tools", [])
    if "tools" in body and not tools:
        found.append("tools: must not be empty")
    names = [tool.get("name") for tool in tools]
    if len(set(names)) != len(names):
        found.append("tools: Tool names must be unique.")
    for index, tool in enumerate(tools):
        if set(tool) - _TOOL_FIELDS or not _NAME.fullmatch(tool.get("name", "")):
            found.append(f"tools.{index}: {sorted(tool)}, named {tool.get('name')!r}")
        schema = tool.get("input_schema", {})
        if schema.get("type") != "object":
            found.append(f"tools.{index}.input_schema.type: Field required")
        if tool.get("strict") and schema.get("additionalProperties") is not False:
            found.append(f"tools.{index}: for strict tools 'additionalProperties' must be explicitly set to false")
    return found + (_tool_choice(body) if "tool_choice" in body else [])


def _tool_choice(body: Block) -> list[str]:
    found: list[str] = []
    choice: Block = body["tool_choice"]
    if not body.get("tools"):
        found.append("tool_choice may only be specified while providing tools")
    kind = str(choice.get("type"))
    if set(choice) - {"type"} - _CHOICES.get(kind, set()) or kind not in _CHOICES:
        found.append(f"tool_choice: {choice}")
    if _thinks(body) and kind in {"any", "tool"}:
        found.append("Thinking may not be enabled when tool_choice forces tool use.")
    return found


def _breakpoints(body: Block) -> int:
    system = body.get("system", [])
    blocks: list[Block] = [*body.get("tools", []), *(system if isinstance(system, list) else [])]
    for message in body["messages"]:
        blocks += [block for block in message.get("content", []) if isinstance(block, dict)]
    return sum(1 for block in blocks if "cache_control" in block)


def _messages(body: Block, issued: dict[str, str]) -> list[str]:
    messages: list[Block] = body["messages"]
    if not messages:
        return ["messages: at least one message is required"]
    found: list[str] = []
    if messages[0].get("role") != "user":
        found.append("messages: first message must use the `user` role")
    if messages[-1].get("role") == "assistant":
        found.append("This model does not support assistant message prefill.")
    for index, message in enumerate(messages):
        if index and messages[index - 1].get("role") == message.get("role"):
            found.append(f"messages.{index}: roles must alternate")
        found += [f"messages.{index}{text}" for text in _message(message, issued)]
    return found or _pairing(body)


def _message(message: Block, issued: dict[str, str]) -> list[str]:
    role, content = message.get("role", ""), message.get("content")
    if set(message) != {"role", "content"} or role not in _BLOCKS or not isinstance(content, list) or not content:
        return [f": {message}"]
    return [
        f".content.{place}: {text}"
        for place, block in enumerate(cast("list[Block]", content))
        for text in _block(block, role, issued)
    ]


def _pairing(body: Block) -> list[str]:
    found: list[str] = []
    waiting: set[str] = set()
    seen: set[str] = set()
    for index, message in enumerate(body["messages"]):
        content: list[Block] = message["content"]
        found += [f"messages.{index}: {text}" for text in _answers(content, waiting)]
        called = [block["id"] for block in content if block["type"] == "tool_use"]
        if len(set(called)) != len(called) or seen & set(called):
            found.append(f"messages.{index}: `tool_use` ids must be unique")
        waiting = set(called)
        seen |= waiting
    if seen and not body.get("tools"):
        found.append("Requests which include `tool_use` or `tool_result` blocks must define tools.")
    return found


def _answers(content: list[Block], waiting: set[str]) -> list[str]:
    """Every call is answered in the next message, before anything else in it, and nothing else is answered."""
    kinds = [block["type"] for block in content]
    answered = [block["tool_use_id"] for block in content if block["type"] == "tool_result"]
    found: list[str] = []
    if set(answered) - waiting or len(set(answered)) != len(answered):
        found.append(f"unexpected `tool_use_id` found in `tool_result` blocks: {answered}")
    if waiting - set(answered):
        found.append(f"`tool_use` ids were found without `tool_result` blocks immediately after: {sorted(waiting)}")
    if "tool_result" in kinds[len(answered) :]:
        found.append("`tool_result` blocks must come first")
    return found


def _block(block: Block, role: str, issued: dict[str, str]) -> list[str]:
    kind = block.get("type", "")
    allowed = _BLOCKS[role].get(kind)
    if allowed is None:
        return [f"a {role} message has no {kind!r} blocks"]
    found = [f"{key}: Extra inputs are not permitted" for key in block if key not in allowed]
    if block.get("cache_control", _CACHED) != _CACHED:
        found.append(f"cache_control: {block['cache_control']}")
    match block:
        case {"type": "text", "text": str(text)}:
            found += [] if text.strip() else ["text content blocks must contain non-whitespace text"]
        case {"type": "image", "source": dict()}:
            found += _image(block["source"])
        case {"type": "tool_use", "id": str(id_), "name": str(name), "input": dict()}:
            good = _CALL_ID.fullmatch(id_) and _NAME.fullmatch(name)
            found += [] if good else [f"tool_use.id: String should match pattern: {id_!r}, {name!r}"]
        case {"type": "tool_result", "tool_use_id": str()}:
            found += _result(block)
        case {"type": "thinking", "thinking": str(text), "signature": str(signature)}:
            found += [] if issued.get(signature) == text else ["Invalid `signature` in `thinking` block"]
        case {"type": "redacted_thinking", "data": str(data)}:
            found += [] if data in issued else ["Invalid `data` in `redacted_thinking` block"]
        case _:
            found.append(f"fields are missing: {sorted(block)}")
    return found


def _image(source: Block) -> list[str]:
    match source:
        case {"type": "base64", "media_type": str(media_type), "data": str()} if len(source) == 3:
            return [] if media_type in _IMAGES else [f"media_type: {media_type}"]
        case {"type": "url", "url": str(url)} if len(source) == 2:
            return [] if url.startswith("https://") else ["Only HTTPS URLs are supported."]
        case _:
            return [f"source: {source}"]


def _result(block: Block) -> list[str]:
    content = block.get("content", "-")
    if not content:
        return ["content must not be empty"]
    if block.get("is_error") and "content" not in block:
        return ["content cannot be empty if `is_error` is true"]
    if isinstance(content, str):
        return []
    pieces = cast("list[Block]", content)
    if any(piece.get("type") not in {"text", "image"} for piece in pieces):
        return ["tool_result.content holds text and images"]
    return [text for piece in pieces for text in _block(piece, "user", {})]
