"""What a Chat Completions request may contain, checked the way the service checks it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, cast

_TOP_LEVEL: dict[str, tuple[type, ...]] = {
    "model": (str,),
    "messages": (list,),
    "stream": (bool,),
    "stream_options": (dict,),
    "temperature": (int, float),
    "top_p": (int, float),
    "max_tokens": (int,),
    "max_completion_tokens": (int,),
    "tools": (list,),
    "tool_choice": (str, dict),
    "parallel_tool_calls": (bool,),
    "response_format": (dict,),
    "reasoning_effort": (str,),
    "verbosity": (str,),
    "logprobs": (bool,),
    "top_logprobs": (int,),
    "frequency_penalty": (int, float),
    "presence_penalty": (int, float),
    "user": (str,),
    "seed": (int,),
    "stop": (str, list),
    "metadata": (dict,),
    "store": (bool,),
    "service_tier": (str,),
    "prompt_cache_key": (str,),
    "safety_identifier": (str,),
}
_REQUIRED = ("model", "messages")


@dataclass(frozen=True)
class _Service:
    """What a service takes that others do not, and the other way round."""

    wants_key: bool = False
    more: frozenset[str] = frozenset()
    less: frozenset[str] = frozenset()
    of_replies: frozenset[str] = frozenset()
    names_users: bool = True
    wants_reasoning: bool = False
    call_id: str = ".*"


# By the first part of the path. Servers that reason take their own reasoning back; OpenAI itself does not.
_SERVICES = {
    "v1": _Service(wants_key=True),
    "compatible": _Service(of_replies=frozenset({"reasoning_content", "reasoning"})),
    "deepseek": _Service(
        less=frozenset({"max_completion_tokens", "parallel_tool_calls", "prompt_cache_key"}),
        of_replies=frozenset({"reasoning_content"}),
        wants_reasoning=True,
    ),
    "zai": _Service(
        more=frozenset({"thinking"}),
        less=frozenset({"max_completion_tokens", "parallel_tool_calls", "prompt_cache_key"}),
        of_replies=frozenset({"reasoning_content"}),
    ),
    "mistral": _Service(
        less=frozenset({"stream_options", "max_completion_tokens", "prompt_cache_key"}),
        names_users=False,
        call_id="[a-zA-Z0-9]{9}",
    ),
    "openrouter": _Service(of_replies=frozenset({"reasoning_details"})),
}
_MESSAGE_FIELDS: dict[str, set[str]] = {
    "system": {"role", "content", "name"},
    "developer": {"role", "content", "name"},
    "user": {"role", "content", "name"},
    "assistant": {"role", "content", "name", "tool_calls", "refusal"},
    "tool": {"role", "content", "tool_call_id"},
}


def find_violations(path: str, headers: dict[str, str], body: dict[str, Any]) -> list[str]:
    """Why the service would answer 400 (or 401) to this request; empty when it would not."""
    found: list[str] = []
    service = _SERVICES.get(path.split("/")[1], _SERVICES["compatible"])
    if not headers.get("authorization", "").startswith("Bearer ") and service.wants_key:
        found.append("no bearer token")
    known = ({*_TOP_LEVEL} | service.more) - service.less
    found += [f"unrecognized argument: {key}" for key in body if key not in known]
    found += [f"missing argument: {key}" for key in _REQUIRED if key not in body]
    found += [
        f"{key} has the wrong type: {body[key]!r}"
        for key, types in _TOP_LEVEL.items()
        if key in body and (not isinstance(body[key], types) or (isinstance(body[key], bool) and bool not in types))
    ]
    if found:
        return found
    if body.get("stream") is not True:
        found.append("tests answer streams only")
    if "max_tokens" in body and "max_completion_tokens" in body:
        found.append("max_tokens and max_completion_tokens are mutually exclusive")
    if "parallel_tool_calls" in body and not body.get("tools"):
        found.append("parallel_tool_calls is only allowed when tools are specified")
    if "tools" in body and not body["tools"]:
        found.append("tools must not be empty")
    for tool in body.get("tools", []):
        found += _tool_violations(tool)
    for index, message in enumerate(body["messages"]):
        found += [f"messages[{index}]: {text}" for text in _message_violations(message, service)]
    return found or _pairing_violations(body["messages"])


def _tool_violations(tool: dict[str, Any]) -> list[str]:
    if set(tool) != {"type", "function"} or tool["type"] != "function":
        return [f"a tool is {{type, function}}, not {sorted(tool)}"]
    function = tool["function"]
    unknown = set(function) - {"name", "description", "parameters", "strict"}
    if unknown or not function.get("name"):
        return [f"a function has name, description, parameters, strict, not {sorted(function)}"]
    return []


def _message_violations(message: dict[str, Any], service: _Service) -> list[str]:
    role = message.get("role")
    if role not in _MESSAGE_FIELDS:
        return [f"unknown role {role!r}"]
    allowed = _MESSAGE_FIELDS[role] | (service.of_replies if role == "assistant" else set[str]())
    found = [f"additional property {key!r} of a {role} message" for key in message if key not in allowed]
    found += _service_violations(message, service)
    content = message.get("content")
    if content is None and not (role == "assistant" and message.get("tool_calls")):
        found.append(f"a {role} message needs content")
    if role == "tool" and not isinstance(message.get("tool_call_id"), str):
        found.append("a tool message needs tool_call_id")
    if isinstance(content, list):
        for part in cast("list[dict[str, Any]]", content):
            found += _part_violations(part)
    elif content is not None and not isinstance(content, str):
        found.append(f"content is {type(content).__name__}")
    if "tool_calls" in message and not message["tool_calls"]:
        found.append("tool_calls must not be empty")
    for tool_call in _tool_calls(message):
        if set(tool_call) != {"id", "type", "function"} or set(tool_call["function"]) != {"name", "arguments"}:
            found.append(f"a tool call is {{id, type, function: {{name, arguments}}}}, not {tool_call}")
    return found


def _service_violations(message: dict[str, Any], service: _Service) -> list[str]:
    found: list[str] = []
    if "name" in message and not service.names_users:
        found.append("additional property 'name' of a message")
    if service.wants_reasoning and message["role"] == "assistant" and not message.get("reasoning_content"):
        found.append("the reasoning_content in the thinking mode must be passed back to the API")
    ids = [call.get("id") for call in _tool_calls(message)]
    if message["role"] == "tool":
        ids.append(message.get("tool_call_id"))
    wrong = [id_ for id_ in ids if not re.fullmatch(service.call_id, str(id_))]
    return found + [f"tool call id {id_!r} must match {service.call_id}" for id_ in wrong]


def _tool_calls(message: dict[str, Any]) -> list[dict[str, Any]]:
    return message.get("tool_calls") or []


def _part_violations(part: dict[str, Any]) -> list[str]:
    match part:
        case {"type": "text", "text": str()} if len(part) == 2:
            return []
        case {"type": "image_url", "image_url": {"url": str()}} if len(part) == 2:
            return []
        case _:
            return [f"unknown content part {sorted(part)}"]


def _pairing_violations(messages: list[dict[str, Any]]) -> list[str]:
    """Every tool call is answered right after its message, once; no tool message answers nothing."""
    found: list[str] = []
    waiting: list[str] = []
    for index, message in enumerate(messages):
        if message["role"] == "tool":
            if message["tool_call_id"] not in waiting:
                found.append(f"messages[{index}]: a tool message must follow the call it answers")
            else:
                waiting.remove(message["tool_call_id"])
            continue
        if waiting:
            found.append(f"messages[{index}]: tool calls {waiting} have no tool messages")
        waiting = [tool_call["id"] for tool_call in _tool_calls(message)]
    if waiting:
        found.append(f"tool calls {waiting} have no tool messages")
    return found
