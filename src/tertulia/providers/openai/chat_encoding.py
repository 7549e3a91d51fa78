"""A request in the OpenAI Chat Completions dialect, as the bytes of its body; does no input or output.

What has no place in the dialect is settled here:
- Reasoning is not sent back, except to servers whose models want their own back. Who wrote a message, its ``model``
  says.
- Tool messages may hold text alone. Images that a tool returned follow in a user message after the last return.
- A message with nothing to say (a reply cut off before its first word) is left out.
- Arguments that are no JSON object, which servers that parse them would refuse for ever, are sent inside of one.
"""

import re
from collections.abc import Collection, Sequence
from hashlib import sha256
from string import ascii_letters, digits
from typing import Any, Final

import msgspec

from tertulia.domain.images import image_bytes, is_address
from tertulia.domain.json_values import is_object
from tertulia.domain.messages import (
    ImagePart,
    Message,
    NativePart,
    Part,
    ReasoningPart,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UrlImage,
)
from tertulia.domain.tools import ToolSpec
from tertulia.ports.provider import ModelRequest
from tertulia.providers.encoding.fragments import FragmentCache
from tertulia.providers.encoding.tool_names import tool_name
from tertulia.providers.encoding.tool_schemas import object_schema
from tertulia.providers.openai.chat_quirks import Quirks
from tertulia.providers.openai.chat_settings import parameters
from tertulia.providers.openai.strict_schema import strict_schema
from tertulia.providers.setting_rules import Rules, sent

_MAX_CALL_ID: Final = 40  # characters; OpenAI refuses longer ones
_NINE: Final = re.compile(r"[a-zA-Z0-9]{9}")
_LETTERS: Final = ascii_letters + digits
_DETAILS: Final = "reasoning_details"
_NO_REASONING: Final = " "  # stands for what a reply without reasoning has none of; an empty text is refused
_MAX_NAME: Final = 64  # characters, of functions and of speakers
_NOT_IN_A_NAME: Final = re.compile(r"[^a-zA-Z0-9_-]")
_encode: Final = msgspec.json.Encoder().encode


class ChatEncoder:
    """Encodes requests for one endpoint, keeping what it encoded of the history.

    ``writers`` are the prefixes of the handles of this provider's models, ``provider_type`` its type.
    """

    def __init__(
        self, provider_type: str, writers: frozenset[str], quirks: Quirks, *, cache_bytes: int = 8 * 1024 * 1024
    ) -> None:
        self._provider_type = provider_type
        self._writers = writers
        self._quirks = quirks
        self._cache = FragmentCache(cache_bytes)

    def encode(self, request: ModelRequest, rules: Rules, *, without: Collection[str] = ()) -> bytes:
        """The body of a streaming request, without what the server turned out not to know."""
        messages = self._messages(request)
        rest = _encode(self._rest(request, rules, without))
        return b"".join((b'{"model":', _encode(request.model), b',"messages":[', b",".join(messages), b"],", rest[1:]))

    def _messages(self, request: ModelRequest) -> list[bytes]:
        encoded = [_encode({"role": "system", "content": request.system})] if request.system else []
        get, put = self._cache.get, self._cache.put
        pictures: list[bytes] = []
        for message in request.messages:
            fragment = get(message.id)
            if fragment is None:
                fragment = self._fragment(message)
                put(message.id, fragment)
            if not fragment:
                continue
            if fragment.startswith(_TOOL_MESSAGE):
                # All returns of a reply's calls must follow it directly; their pictures come after them.
                fragment, _, picture = fragment.partition(_PICTURES)
                if picture:
                    pictures.append(picture)
            elif pictures:
                encoded += pictures
                pictures.clear()
            encoded.append(fragment)
        return encoded + pictures

    def _rest(self, request: ModelRequest, rules: Rules, without: Collection[str]) -> dict[str, Any]:
        rest: dict[str, Any] = {"stream": True}
        if self._quirks.usage_option:
            rest["stream_options"] = {"include_usage": True}
        if request.settings is not None:
            rest |= parameters(request.settings, rules)
        if request.tools:
            rest |= _tools(request, rules)
        if request.logprobs is not None:
            rest["logprobs"] = True
            if request.logprobs:
                rest["top_logprobs"] = request.logprobs
        if request.cache_key and self._quirks.cache_key:
            rest["prompt_cache_key"] = request.cache_key
        for name in without:
            dropped = rest.pop(name, None)
            if name == "max_completion_tokens" and dropped is not None:
                rest["max_tokens"] = dropped
        return rest

    def _fragment(self, message: Message) -> bytes:
        """The message as JSON objects with commas between them; empty when there is nothing to send."""
        if message.role == "approval":
            return b""  # a person's answer, kept for readers; what came of it is in the returns
        if message.tool_returns:
            return self._returns(message.tool_returns)
        if message.role == "assistant":
            return self._reply(message)
        role = "system" if message.role == "system" else "user"
        encoded: dict[str, Any] = {"role": role, "content": _content(message)}
        if message.name and self._quirks.speakers:
            encoded["name"] = _name(message.name)
        return _encode(encoded)

    def parts_sent(self, message: Message) -> tuple[Part, ...]:
        """All that is encoded of a message."""
        if message.role == "approval":
            return ()
        if message.role != "assistant":
            return message.content
        said = tuple(part for part in message.content if isinstance(part, TextPart | ToolCallPart))
        if not any(isinstance(part, ToolCallPart) or part.text for part in said):
            return ()
        return (*self._reasoning_parts(message), *said)

    def _reply(self, message: Message) -> bytes:
        parts = self.parts_sent(message)
        if not parts:
            return b""
        text = "\n".join(part.text for part in parts if isinstance(part, TextPart))
        calls = message.tool_calls
        encoded: dict[str, Any] = {"role": "assistant", "content": text or None, **self._reasoning(parts)}
        if calls:
            encoded["tool_calls"] = [self._call(call) for call in calls]
        return _encode(encoded)

    def _reasoning_parts(self, message: Message) -> Sequence[Part]:
        """What the server wants back of the reasoning before a reply, if it wrote it."""
        how = self._quirks.reasoning_back
        if how == "no" or message.model is None or message.model.partition("/")[0] not in self._writers:
            return []
        if how == "details":
            return [part for part in message.content if isinstance(part, NativePart) and _DETAILS in part.item][:1]
        return [part for part in message.content if isinstance(part, ReasoningPart)]

    def _reasoning(self, parts: Sequence[Part]) -> dict[str, Any]:
        """The reasoning among the parts, as the server wants it back."""
        for part in parts:
            if isinstance(part, NativePart):
                return {_DETAILS: part.item[_DETAILS]}
        reasoning = "".join(part.reasoning for part in parts if isinstance(part, ReasoningPart))
        if not reasoning and self._quirks.reasoning_back == "always":
            reasoning = _NO_REASONING
        return {"reasoning_content": reasoning} if reasoning else {}

    def _call(self, call: ToolCallPart) -> dict[str, Any]:
        return {
            "id": self._call_id(call.id),
            "type": "function",
            "function": {"name": tool_name(call.name), "arguments": _arguments(call.arguments)},
        }

    def _returns(self, returns: tuple[ToolReturnPart, ...]) -> bytes:
        pictures: list[dict[str, Any]] = []
        encoded: list[bytes] = []
        for part in returns:
            text = part.content if isinstance(part.content, str) else ""
            if not isinstance(part.content, str):
                text = "\n".join(piece.text for piece in part.content if isinstance(piece, TextPart))
                images = [_image(piece) for piece in part.content if isinstance(piece, ImagePart)]
                if images:
                    text = text or "The image follows."
                    pictures += [{"type": "text", "text": f"Returned by the tool {part.name}:"}, *images]
            id_ = self._call_id(part.tool_call_id)
            encoded.append(_encode({"role": "tool", "tool_call_id": id_, "content": text}))
        fragment = b",".join(encoded)
        return fragment + _PICTURES + _encode({"role": "user", "content": pictures}) if pictures else fragment

    def _call_id(self, id_: str) -> str:
        """The id itself, or another that is always the same for it: not every id is taken everywhere."""
        if self._quirks.call_ids == "nine":
            if _NINE.fullmatch(id_):
                return id_
            number = int.from_bytes(sha256(id_.encode()).digest(), "big")
            return "".join(_LETTERS[number // len(_LETTERS) ** place % len(_LETTERS)] for place in range(9))
        return id_ if len(id_) <= _MAX_CALL_ID else f"call_{sha256(id_.encode()).hexdigest()[:32]}"


_TOOL_MESSAGE: Final = b'{"role":"tool"'
_PICTURES: Final = b"\x00"  # parts a fragment from the pictures behind it; no JSON text holds this byte


def _arguments(arguments: str) -> str:
    if not is_object(arguments):
        return _encode({"invalid_arguments": arguments}).decode() if arguments.strip() else "{}"
    return arguments


def _content(message: Message) -> str | list[dict[str, Any]]:
    """Plain text where possible: not every server takes a list of parts."""
    if not any(isinstance(part, ImagePart) for part in message.content):
        return message.text
    return [
        _image(part) if isinstance(part, ImagePart) else {"type": "text", "text": part.text}
        for part in message.content
        if isinstance(part, TextPart | ImagePart)
    ]


def _image(part: ImagePart) -> dict[str, Any]:
    source = part.source
    if isinstance(source, UrlImage) and is_address(source):
        return {"type": "image_url", "image_url": {"url": source.url}}
    image = image_bytes(source, {})
    if isinstance(image, str):
        return {"type": "text", "text": image}
    shown = {"url": f"data:{image.media_type};base64,{image.data}"}
    if image.detail is not None:
        shown["detail"] = image.detail
    return {"type": "image_url", "image_url": shown}


def _name(name: str) -> str:
    return _NOT_IN_A_NAME.sub("_", name)[:_MAX_NAME]


def _tools(request: ModelRequest, rules: Rules) -> dict[str, Any]:
    """The tools, and what may be said of them only where there are some."""
    strict = sent(request.settings, rules, "strict")
    parallel = request.parallel_tool_calls
    if parallel is None:
        parallel = sent(request.settings, rules, "parallel_tool_calls")
    said: dict[str, Any] = {"tools": [_tool(spec, strict) for spec in request.tools]}
    if parallel is not None:
        said["parallel_tool_calls"] = parallel
    if request.tool_choice != "auto":
        said["tool_choice"] = _tool_choice(request.tool_choice)
    return said


def _tool(spec: ToolSpec, strict: bool | None) -> dict[str, Any]:  # noqa: FBT001  a tri-state of the API
    parameters = object_schema(spec.parameters)
    function: dict[str, Any] = {
        "name": tool_name(spec.name),
        "description": spec.description,
        "parameters": parameters,
    }
    if strict is not None:
        schema = strict_schema(parameters) if strict else None
        function["strict"] = schema is not None
        if schema is not None:
            function["parameters"] = schema
    return {"type": "function", "function": function}


def _tool_choice(choice: str) -> str | dict[str, Any]:
    return choice if choice in {"none", "required"} else {"type": "function", "function": {"name": tool_name(choice)}}
