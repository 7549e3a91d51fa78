"""What a streamGenerateContent request may contain, checked the way the service checks it, and a little more strictly.

The service joins neighbours of one side and looks at signatures of the latest turn alone; here contents must alternate,
every reply's first call must be signed, and a signature must be on the very part that it was issued on.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any, cast

from tests.support.gemini_schemas import schema_violations

_PATH = re.compile(r"/v1beta/models/([a-z0-9.-]+):streamGenerateContent\?alt=sse")
_VERTEX_PATH = re.compile(
    r"/v1beta1/(?:projects/[a-z0-9-]+/locations/[a-z0-9-]+/)?publishers/google/models/([a-z0-9.-]+)"
    r":streamGenerateContent\?alt=sse"
)
_BEFORE_3 = re.compile(r"gemini-[12]\b")
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_.-]{0,63}")
_TOP_LEVEL = {"contents", "systemInstruction", "tools", "toolConfig", "generationConfig"}
_GENERATION: dict[str, tuple[type, ...]] = {
    "maxOutputTokens": (int,),
    "temperature": (int, float),
    "responseMimeType": (str,),
    "responseJsonSchema": (dict,),
    "thinkingConfig": (dict,),
}
_THINKING: dict[str, tuple[type, ...]] = {"includeThoughts": (bool,), "thinkingBudget": (int,)}
_IMAGES = {"image/png", "image/jpeg", "image/webp", "image/heic", "image/heif"}
_PARTS = {
    "user": {"text", "inlineData", "functionResponse"},
    "model": {"text", "inlineData", "functionCall", "executableCode", "codeExecutionResult"},
}
STAND_IN = "skip_thought_signature_validator"

Block = dict[str, Any]


def find_violations(
    path: str, headers: dict[str, str], body: Block, issued: dict[str, Block], *, vertex: bool = False
) -> list[str]:
    """Why the service would answer 400 (or 401, 404) to this request; empty when it would not.

    `issued` has the signed parts by their signature.
    """
    found: list[str] = []
    named = (_VERTEX_PATH if vertex else _PATH).fullmatch(path)
    if named is None:
        return [f"there is nothing at {path}"]
    if not (headers.get("x-goog-api-key") or headers.get("authorization", "").startswith("Bearer ")):
        found.append("Request is missing required authentication credential.")
    found += _unknown(body, _TOP_LEVEL, "")
    if not isinstance(body.get("contents"), list) or not body["contents"]:
        return [*found, "contents is not specified"]
    older = _BEFORE_3.match(named[1]) is not None
    found += _system(body) + _tools(body) + _settings(body, older=older)
    for place, content in enumerate(body["contents"]):
        found += [f"contents[{place}]{text}" for text in _content(content, older=older)]
    return found or [*_order(body["contents"]), *_signatures(body["contents"], issued, older=older)]


def _unknown(fields: Block, known: set[str], at: str) -> list[str]:
    return [
        f"Invalid JSON payload received. Unknown name {key!r}{at}: Cannot find field." for key in set(fields) - known
    ]


def _typed(fields: Block, known: dict[str, tuple[type, ...]], at: str) -> list[str]:
    found = _unknown(fields, set(known), f" at {at}")
    for key, types in known.items():
        value = fields.get(key)
        if key in fields and (not isinstance(value, types) or (isinstance(value, bool) and bool not in types)):
            found.append(f"Invalid value at '{at}.{key}': {value!r}")
    return found


def _system(body: Block) -> list[str]:
    match body.get("systemInstruction"):
        case None:
            return []
        case {"parts": [{"text": str(text)}], **rest} if text.strip() and not rest:
            return []
        case other:
            return [f"systemInstruction: {other}"]


def _settings(body: Block, *, older: bool) -> list[str]:
    generation: Block = body.get("generationConfig", {"temperature": 1})
    if not generation:
        return ["generationConfig is empty"]
    found = _typed(generation, _GENERATION, "generationConfig")
    if found:
        return found
    thinking: Block = generation.get("thinkingConfig", {"includeThoughts": True})
    found = _typed(thinking, _THINKING, "generationConfig.thinkingConfig")
    if not thinking or thinking.get("thinkingBudget", 0) < -1:
        found.append(f"thinkingConfig: {thinking}")
    if generation.get("maxOutputTokens", 1) < 1 or not 0 <= generation.get("temperature", 1) <= 2:
        found.append(f"generationConfig is out of range: {generation}")
    media_type = generation.get("responseMimeType", "text/plain")
    if media_type not in {"text/plain", "application/json"}:
        found.append(f"responseMimeType: {media_type}")
    if "responseJsonSchema" in generation and media_type != "application/json":
        found.append("Response schema is only supported with the mime type 'application/json'")
    if media_type == "application/json" and older and "tools" in body:
        found.append("Function calling with a response mime type: 'application/json' is unsupported")
    return found


def _tools(body: Block) -> list[str]:
    found: list[str] = []
    names: list[str] = []
    tools: list[Block] = body.get("tools", [])
    match tools:
        case [{"functionDeclarations": [*_]}] if len(tools[0]) == 1 and tools[0]["functionDeclarations"]:
            declarations: list[Block] = tools[0]["functionDeclarations"]
            for place, declaration in enumerate(declarations):
                at = f"tools[0].function_declarations[{place}]"
                found += _unknown(declaration, {"name", "description", "parametersJsonSchema"}, f" at '{at}'")
                names.append(declaration.get("name", ""))
                schema = declaration.get("parametersJsonSchema", {"type": "object"})
                if schema.get("type") != "object":
                    found.append(f"{at}: parameters schema should be of type OBJECT")
                found += schema_violations(schema, f"{at}.parameters")
        case []:
            pass
        case other:
            found.append(f"tools: {other}")
    found += [f"Invalid function name {name!r}" for name in names if not _NAME.fullmatch(name)]
    if len(set(names)) != len(names):
        found.append("Duplicate function declaration found")
    return found + (_choice(body["toolConfig"], names) if "toolConfig" in body else [])


def _choice(config: Block, names: list[str]) -> list[str]:
    if not names:
        return ["Function calling config is set without function_declarations."]
    match config:
        case {"functionCallingConfig": {"mode": "AUTO" | "ANY" | "NONE", **rest}} if not rest and len(config) == 1:
            return []
        case {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": [*_], **rest}} if not rest:
            allowed: list[str] = config["functionCallingConfig"]["allowedFunctionNames"]
            return [] if allowed and set(allowed) <= set(names) else [f"allowed names: {allowed}"]
        case _:
            return [f"toolConfig: {config}"]


def _content(content: Block, *, older: bool) -> list[str]:
    role, parts = content.get("role", ""), content.get("parts")
    if set(content) != {"role", "parts"} or role not in _PARTS:
        return [": Please use a valid role: user, model."]
    if not isinstance(parts, list) or not parts:
        return [".parts: contents.parts must not be empty."]
    found: list[str] = []
    for place, part in enumerate(cast("list[Block]", parts)):
        kinds = set(part) - {"thought", "thoughtSignature"}
        if len(kinds) != 1 or not kinds <= _PARTS[role] or (role == "user" and len(part) != 1):
            found.append(f".parts[{place}]: required oneof field 'data' must have one initialized field: {part}")
            continue
        (kind,) = kinds
        found += [f".parts[{place}]: {text}" for text in _part(kind, part, older=older)]
    return found


def _part(kind: str, part: Block, *, older: bool) -> list[str]:
    value = part[kind]
    match kind:
        case "text" if not value and "thoughtSignature" not in part:
            return ["Unable to submit request because it must have a text parameter."]
        case "functionCall":
            good = isinstance(value.get("args"), dict) and _NAME.fullmatch(value.get("name", ""))
            return [] if good and not set(value) - {"id", "name", "args"} else [f"functionCall: {value}"]
        case "functionResponse":
            return _response(value, older=older)
        case "inlineData":
            return _blob(value, _IMAGES)
        case _:
            return []


def _response(response: Block, *, older: bool) -> list[str]:
    found = _unknown(response, {"id", "name", "response", "parts"}, " at 'function_response'")
    match response.get("response"):
        case {"output": str(), **rest} if not rest:
            pass
        case {"error": str(text), **rest} if text and not rest:
            pass
        case other:
            found.append(f"function_response.response: {other}")
    parts: list[Block] = response.get("parts", [{}])
    if "parts" in response and older:
        found.append("Multimodal function responses are not supported for this model.")
    for part in parts if "parts" in response else ():
        found += [f"function_response.parts: {part}"] if set(part) != {"inlineData"} else []
        found += _blob(part.get("inlineData", {}), _IMAGES)
    return found if parts else [*found, "function_response.parts is empty"]


def _blob(blob: Block, types: set[str]) -> list[str]:
    if set(blob) != {"mimeType", "data"} or blob["mimeType"] not in types:
        return [f"Unsupported MIME type: {blob.get('mimeType')}"]
    try:
        base64.b64decode(blob["data"], validate=True)
    except binascii.Error:
        return ["Base64 decoding failed"]
    return []


def _order(contents: list[Block]) -> list[str]:
    """Sides alternate, a user's first and last; every call is answered next, in order, before anything else."""
    found: list[str] = []
    if contents[0]["role"] != "user":
        found.append("Please ensure that the first content is of the role user.")
    if contents[-1]["role"] != "user":
        found.append("Please ensure that multiturn requests end with a user role or a function response.")
    calls: list[Block] = []
    for place, content in enumerate(contents):
        if place and contents[place - 1]["role"] == content["role"]:
            found.append(f"contents[{place}]: roles must alternate")
        answers = [part["functionResponse"] for part in content["parts"] if "functionResponse" in part]
        if any("functionResponse" not in part for part in content["parts"][: len(answers)]):
            found.append(f"contents[{place}]: function responses must come first")
        if len(answers) != len(calls):
            found.append(
                "Please ensure that the number of function response parts is equal to the number of function call "
                "parts of the function call turn."
            )
        elif [(one["name"], one.get("id")) for one in answers] != [(one["name"], one.get("id")) for one in calls]:
            found.append(f"contents[{place}]: the responses {answers} are not to the calls {calls}")
        calls = [part["functionCall"] for part in content["parts"] if "functionCall" in part]
    return found


def _signatures(contents: list[Block], issued: dict[str, Block], *, older: bool) -> list[str]:
    found: list[str] = []
    bare = [_bare(part) for part in issued.values() if "functionCall" in part]
    for place, content in enumerate(contents):
        calls = [part for part in content["parts"] if "functionCall" in part]
        if calls and "thoughtSignature" not in calls[0] and not older:
            name = calls[0]["functionCall"]["name"]
            found.append(f"Function call `{name}` in the {place + 1}. content block is missing a `thought_signature`.")
        for part in content["parts"]:
            signature = part.get("thoughtSignature")
            if signature == STAND_IN and "functionCall" in part:
                found += [f"{part} had a signature of its own"] if _bare(part) in bare else []
            elif signature is not None and issued.get(signature) != part:
                found.append(f"Thought signature is not valid for {part}: it was issued for {issued.get(signature)}")
            elif signature is None and "functionCall" in part and part in bare:
                found.append(f"{part} had a signature, which did not come back")
    return found


def _bare(part: Block) -> Block:
    return {key: value for key, value in part.items() if key != "thoughtSignature"}
