"""What a Responses request may contain, checked the way the service checks it, and a little more strictly.

The service would keep what it is not told not to; here nothing may be kept, so no item may be named by an id that was
not issued, and reasoning must come back as it was issued, before what it led to.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Callable

Item = dict[str, Any]

_TOP_LEVEL: dict[str, tuple[type, ...]] = {
    "model": (str,),
    "input": (list,),
    "instructions": (str,),
    "stream": (bool,),
    "store": (bool,),
    "include": (list,),
    "max_output_tokens": (int,),
    "temperature": (int, float),
    "top_p": (int, float),
    "tools": (list,),
    "tool_choice": (str, dict),
    "parallel_tool_calls": (bool,),
    "text": (dict,),
    "reasoning": (dict,),
    "prompt_cache_key": (str,),
    "safety_identifier": (str,),
    "service_tier": (str,),
    "truncation": (str,),
    "metadata": (dict,),
}
_REQUIRED = ("model", "input")
_INCLUDABLE = {"reasoning.encrypted_content", "message.output_text.logprobs"}
_TOOL_FIELDS = {"type", "name", "description", "parameters", "strict"}
_TOOL_REQUIRED = {"type", "name", "parameters", "strict"}
_EFFORTS = {"none", "minimal", "low", "medium", "high", "xhigh", "max"}
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_ITEMS: dict[str, tuple[set[str], set[str]]] = {
    # The fields that an item must have, and those that it may have.
    "message": ({"type", "role", "content"}, {"phase", "id", "status"}),
    "function_call": ({"type", "call_id", "name", "arguments"}, {"id", "status"}),
    "function_call_output": ({"type", "call_id", "output"}, {"id", "status"}),
    "reasoning": ({"type", "id", "summary", "encrypted_content"}, {"content", "status"}),
}
_CONTENT = {"user": "input", "developer": "input", "system": "input", "assistant": "output"}
_NOT_AT_CHATGPT = ("max_output_tokens", "temperature", "top_p", "metadata", "safety_identifier", "truncation")


@dataclass
class Issued:
    """What replies held: reasoning by its id, as it was sent, and the mark of the item that followed it."""

    reasoning: dict[str, str] = field(default_factory=dict[str, str])
    followers: dict[str, tuple[str, str]] = field(default_factory=dict[str, tuple[str, str]])


def mark_of(item: Item) -> tuple[str, str]:
    """What an item is known by when it comes back, as it comes back without its id."""
    kind = str(item.get("type"))
    if kind == "message":
        return kind, "".join(part.get("text") or part.get("refusal") or "" for part in item["content"])
    return kind, str(item.get("call_id") or item.get("id"))


def find_violations(headers: dict[str, str], body: Item, issued: Issued, *, at_chatgpt: bool = False) -> list[str]:
    """Why the service would answer 400 (or 401) to this request; empty when it would not."""
    found: list[str] = []
    if not headers.get("authorization", "").startswith("Bearer "):
        found.append("no bearer token")
    found += [f"Unknown parameter: '{key}'." for key in body if key not in _TOP_LEVEL]
    found += [f"Missing required parameter: '{key}'." for key in _REQUIRED if key not in body]
    found += [
        f"Invalid type for '{key}': {body[key]!r}"
        for key, types in _TOP_LEVEL.items()
        if key in body and (not isinstance(body[key], types) or (isinstance(body[key], bool) and bool not in types))
    ]
    if found:
        return found
    if body.get("stream") is not True:
        found.append("Stream must be set to true")
    if body.get("store") is not False:
        found.append("Store must be set to false")
    if at_chatgpt:
        found += _chatgpt(headers, body)
    return found + _settings(body) + _tools(body) + _input(body["input"], issued)


def _chatgpt(headers: dict[str, str], body: Item) -> list[str]:
    found = [f"{name} header is required" for name in ("chatgpt-account-id", "originator") if not headers.get(name)]
    found += [f"Unsupported parameter: {key}" for key in _NOT_AT_CHATGPT if key in body]
    if not body.get("instructions"):
        found.append("Instructions are required")
    if any(item.get("role") == "system" for item in body["input"]):
        found.append("System messages are not allowed")
    return found


def _settings(body: Item) -> list[str]:
    found = [f"include: {name!r}" for name in body.get("include", []) if name not in _INCLUDABLE]
    if body.get("max_output_tokens", 16) < 16:
        found.append("Invalid 'max_output_tokens': integer below minimum value. Expected a value >= 16")
    if not 0 <= body.get("temperature", 1) <= 2:
        found.append("Invalid 'temperature'")
    if len(body.get("prompt_cache_key", "")) > 64:
        found.append("Invalid 'prompt_cache_key': string too long.")
    if not body.get("instructions", "-").strip():
        found.append("instructions are empty")
    reasoning: Item = body.get("reasoning", {"effort": "low"})
    if not reasoning or set(reasoning) - {"effort", "summary"} or reasoning.get("effort", "low") not in _EFFORTS:
        found.append(f"reasoning: {reasoning}")
    text: Item = body.get("text", {"verbosity": "low"})
    if not text or set(text) - {"format", "verbosity"} or text.get("verbosity", "low") not in {"low", "medium", "high"}:
        found.append(f"text: {text}")
    return found + _format(text.get("format"))


def _format(given: Item | None) -> list[str]:
    match given:
        case None:
            return []
        case {"type": "text" | "json_object"} if len(given) == 1:
            return []
        case {"type": "json_schema", "name": str(name), "schema": dict()} if _NAME.fullmatch(name):
            unknown = set(given) - {"type", "name", "schema", "strict", "description"}
            return [f"Unknown parameter: 'text.format.{key}'." for key in unknown]
        case _:
            return [f"text.format: {given}"]


def _tools(body: Item) -> list[str]:
    found: list[str] = []
    tools: list[Item] = body.get("tools", [])
    if "tools" in body and not tools:
        found.append("tools must not be empty")
    for index, tool in enumerate(tools):
        if set(tool) - _TOOL_FIELDS or _TOOL_REQUIRED - set(tool) or not _NAME.fullmatch(tool.get("name", "")):
            found.append(f"tools[{index}]: {sorted(tool)}, named {tool.get('name')!r}")
            continue
        schema = tool["parameters"]
        if tool["type"] != "function" or schema.get("type") != "object":
            found.append(f"tools[{index}]: type of the tool or of its parameters")
        if tool["strict"] and (
            schema.get("additionalProperties") is not False or schema.get("required") != list(schema["properties"])
        ):
            found.append(f"Invalid schema for function '{tool['name']}': it is not strict")
    if "parallel_tool_calls" in body and not tools:
        found.append("'parallel_tool_calls' is only allowed when 'tools' are specified.")
    match body.get("tool_choice", "auto"):
        case "auto":
            pass
        case "none" | "required" if tools:
            pass
        case {"type": "function", "name": name} if name in {tool.get("name") for tool in tools}:
            pass
        case choice:
            found.append(f"Tool choice {choice} not found in 'tools' parameter.")
    return found


def _input(items: list[Item], issued: Issued) -> list[str]:
    found = [f"input[{index}]{text}" for index, item in enumerate(items) for text in _item(item, issued)]
    return found or [*_pairing(items), *_reasoning_order(items, issued)]


def _item(item: Item, issued: Issued) -> list[str]:
    kind = str(item.get("type"))
    if kind not in _ITEMS:
        return [f".type: invalid value {kind!r}"]
    required, allowed = _ITEMS[kind]
    found = [f".{key}: missing" for key in required if key not in item]
    found += [f".{key}: unknown parameter" for key in item if key not in required | allowed]
    if found:
        return found
    if kind != "reasoning" and "id" in item:
        return [f": Item with id '{item['id']}' not found. Items are not persisted when `store` is set to false."]
    return _CHECKS[kind](item, issued)


def _reasoning(item: Item, issued: Issued) -> list[str]:
    sent = issued.reasoning.get(item["id"])
    if sent is None or not item["encrypted_content"]:
        return [f": Item with id '{item['id']}' not found. Items are not persisted when `store` is set to false."]
    return [] if json.dumps(item) == sent else [": The encrypted content could not be verified."]


def _message(item: Item, _issued: Issued) -> list[str]:
    role = item["role"]
    if role not in _CONTENT or ("phase" in item and role != "assistant"):
        return [f": role {role!r} with {sorted(item)}"]
    return _content(item["content"], _CONTENT[role])


def _content(content: Any, direction: str) -> list[str]:
    if not isinstance(content, list) or not content:
        return [f".content: {content!r}"]
    found: list[str] = []
    for part in cast("list[Item]", content):
        match part:
            case {"type": "input_text", "text": str(text)} if direction == "input" and len(part) == 2 and text:
                pass
            case {"type": "input_image", "image_url": str(url), "detail": "auto" | "low" | "high"} if (
                direction == "input" and len(part) == 3 and re.match(r"https?://|data:image/(png|jpeg|gif|webp);", url)
            ):
                pass
            case {"type": "output_text", "text": str(text), "annotations": []} if direction == "output" and text:
                pass
            case _:
                found.append(f".content: invalid value {part}")
    return found


def _call(item: Item, _issued: Issued) -> list[str]:
    try:
        arguments = json.loads(item["arguments"])
    except ValueError:
        return [".arguments: not JSON"]
    good = isinstance(arguments, dict) and _NAME.fullmatch(item["name"]) and 0 < len(item["call_id"]) <= 64
    return [] if good else [f": {item}"]


def _output(item: Item, _issued: Issued) -> list[str]:
    return [] if isinstance(item["output"], str) else _content(item["output"], "input")


_CHECKS: dict[str, Callable[[Item, Issued], list[str]]] = {
    "message": _message,
    "function_call": _call,
    "function_call_output": _output,
    "reasoning": _reasoning,
}


def _pairing(items: list[Item]) -> list[str]:
    """Every call is answered once, before anything else is said, and nothing else is answered."""
    found: list[str] = []
    waiting: list[str] = []
    seen: set[str] = set()
    for index, item in enumerate(items):
        if item["type"] == "function_call_output":
            if item["call_id"] not in waiting:
                found.append(f"input[{index}]: No tool call found for function call output with call_id.")
            else:
                waiting.remove(item["call_id"])
        elif item["type"] == "function_call":
            if item["call_id"] in seen:
                found.append(f"input[{index}]: duplicate call_id")
            waiting.append(item["call_id"])
            seen.add(item["call_id"])
        elif item["type"] == "message" and item["role"] != "assistant" and waiting:
            found.append(f"input[{index}]: No tool output found for function call {waiting}.")
    return found + ([f"No tool output found for function call {waiting}."] if waiting else [])


def _reasoning_order(items: list[Item], issued: Issued) -> list[str]:
    found: list[str] = []
    for index, item in enumerate(items):
        if item["type"] != "reasoning":
            continue
        after = items[index + 1] if index + 1 < len(items) else None
        if after is None or issued.followers.get(item["id"]) != mark_of(after):
            found.append(f"Item '{item['id']}' of type 'reasoning' was provided without its required following item.")
    return found
