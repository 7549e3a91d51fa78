"""A request in the OpenAI Chat Completions dialect, as the bytes of its body; does no input or output.

What has no place in the dialect is settled here:
- Reasoning is not sent back, except to servers whose models want their own back as ``reasoning_content``.
- Tool messages may hold text alone. Images that a tool returned follow in a user message after the last return.
- A message with nothing to say (a reply cut off before its first word) is left out.
- Arguments that are no JSON object, which servers that parse them would refuse for ever, are sent inside of one.
"""

import re
from collections import OrderedDict
from hashlib import sha256
from typing import Any, Final, cast

import msgspec

from tertulia.domain.errors import InvalidArgument
from tertulia.domain.messages import (
    Base64Image,
    ImagePart,
    Message,
    ReasoningPart,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UrlImage,
)
from tertulia.domain.models import ModelSettings
from tertulia.domain.tools import ToolSpec
from tertulia.ports.provider import ModelRequest
from tertulia.providers.quirks import Quirks
from tertulia.providers.strict_schema import strict_schema

_MAX_CALL_ID: Final = 40  # characters; OpenAI refuses longer ones
_MAX_NAME: Final = 64  # characters, of functions and of speakers
_NOT_IN_A_NAME: Final = re.compile(r"[^a-zA-Z0-9_-]")
_NEEDS_COMPLETION_TOKENS: Final = re.compile(r"(?:.*/)?(?:o\d|gpt-5)")

_encode: Final = msgspec.json.Encoder().encode

# What this dialect has no parameter for. `response_schema` is Google's, `thinking` Anthropic's and Z.ai's.
_INEXPRESSIBLE: Final = ("effort", "thinking", "thinking_config", "response_schema", "tool_call_parser")


class FragmentCache:
    """Encoded messages by id, the least recently used thrown out first, bounded by bytes."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._fragments: OrderedDict[str, bytes] = OrderedDict()

    def __len__(self) -> int:
        return len(self._fragments)

    def get(self, message_id: str) -> bytes | None:
        fragment = self._fragments.get(message_id)
        if fragment is not None:
            self._fragments.move_to_end(message_id)
        return fragment

    def put(self, message_id: str, fragment: bytes) -> None:
        if len(fragment) > self._max_bytes // 8:  # a few large images would throw out everything else
            return
        self._fragments[message_id] = fragment
        self._bytes += len(fragment)
        while self._bytes > self._max_bytes:
            _, dropped = self._fragments.popitem(last=False)
            self._bytes -= len(dropped)


class ChatEncoder:
    """Encodes requests for one endpoint, keeping what it encoded of the history."""

    def __init__(self, provider_name: str, quirks: Quirks, *, cache_bytes: int = 8 * 1024 * 1024) -> None:
        self._provider_name = provider_name
        self._quirks = quirks
        self._cache = FragmentCache(cache_bytes)

    def encode(self, request: ModelRequest, *, stream_usage: bool = True) -> bytes:
        """The body of a streaming request.

        :raises InvalidArgument: if a setting has no expression in this dialect; the message names it.
        """
        messages = self._messages(request)
        parameters = _encode(self._parameters(request, stream_usage=stream_usage))
        return b"".join(
            (b'{"model":', _encode(request.model), b',"messages":[', b",".join(messages), b"],", parameters[1:])
        )

    def _messages(self, request: ModelRequest) -> list[bytes]:
        encoded = [_encode({"role": "system", "content": request.system})] if request.system else []
        get, put = self._cache.get, self._cache.put
        pictures: list[bytes] = []
        for message in request.messages:
            fragment = get(message.id)
            if fragment is None:
                fragment = _fragment(message, reasoning_back=self._quirks.reasoning_back)
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

    def _parameters(self, request: ModelRequest, *, stream_usage: bool) -> dict[str, Any]:
        parameters: dict[str, Any] = {"stream": True}
        if stream_usage:
            parameters["stream_options"] = {"include_usage": True}
        settings = request.settings
        parallel = request.parallel_tool_calls
        if settings is not None:
            self._add_settings(parameters, settings, request.model)
            parallel = settings.parallel_tool_calls if parallel is None else parallel
        if request.tools:
            strict = settings.strict if settings is not None else None
            parameters["tools"] = [_tool(spec, strict) for spec in request.tools]
            if parallel is not None:
                parameters["parallel_tool_calls"] = parallel
            if request.tool_choice != "auto":
                parameters["tool_choice"] = _tool_choice(request.tool_choice)
        if request.logprobs is not None:
            parameters["logprobs"] = True
            if request.logprobs:
                parameters["top_logprobs"] = request.logprobs
        if request.cache_key and self._quirks.cache_key:
            parameters["prompt_cache_key"] = request.cache_key
        return parameters

    def _add_settings(self, parameters: dict[str, Any], settings: ModelSettings, model: str) -> None:
        for name in _INEXPRESSIBLE:
            if getattr(settings, name) is not None:
                raise InvalidArgument(
                    f"INVALID_ARGUMENT: model_settings.{name} cannot be expressed to '{self._provider_name}', which "
                    "speaks OpenAI Chat Completions. Remove it.",
                )
        if settings.max_output_tokens is not None:
            # OpenAI's reasoning models refuse the old name wherever they are served from.
            name = "max_completion_tokens" if _NEEDS_COMPLETION_TOKENS.match(model) else self._quirks.max_tokens
            parameters[name] = settings.max_output_tokens
        if settings.temperature is not None:
            parameters["temperature"] = settings.temperature
        if settings.response_format is not None:
            parameters["response_format"] = _response_format(settings.response_format)
        if settings.reasoning is not None:
            self._add_reasoning(parameters, settings.reasoning)
        if settings.verbosity is not None:
            parameters["verbosity"] = settings.verbosity

    def _add_reasoning(self, parameters: dict[str, Any], reasoning: dict[str, Any]) -> None:
        unknown = [key for key, value in reasoning.items() if key != "reasoning_effort" and value is not None]
        if unknown:
            raise InvalidArgument(
                f"INVALID_ARGUMENT: model_settings.reasoning.{unknown[0]} cannot be expressed to "
                f"'{self._provider_name}', which speaks OpenAI Chat Completions. Remove it.",
            )
        if reasoning.get("reasoning_effort") is not None:
            parameters["reasoning_effort"] = reasoning["reasoning_effort"]


_TOOL_MESSAGE: Final = b'{"role":"tool"'
_PICTURES: Final = b"\x00"  # parts a fragment from the pictures behind it; no JSON text holds this byte


def _fragment(message: Message, *, reasoning_back: bool) -> bytes:
    """The message as JSON objects with commas between them; empty when there is nothing to send."""
    if message.role == "approval":
        return b""  # a person's answer, kept for readers; what came of it is in the returns
    if message.tool_returns:
        return _returns(message.tool_returns)
    if message.role == "assistant":
        return _reply(message, reasoning_back=reasoning_back)
    role = "system" if message.role == "system" else "user"
    encoded: dict[str, Any] = {"role": role, "content": _content(message)}
    if message.name:
        encoded["name"] = _name(message.name)
    return _encode(encoded)


def _reply(message: Message, *, reasoning_back: bool) -> bytes:
    text = "\n".join(part.text for part in message.content if isinstance(part, TextPart))
    calls = message.tool_calls
    if not text and not calls:
        return b""
    encoded: dict[str, Any] = {"role": "assistant", "content": text or None}
    if reasoning_back:
        reasoning = "".join(part.reasoning for part in message.content if isinstance(part, ReasoningPart))
        if reasoning:
            encoded["reasoning_content"] = reasoning
    if calls:
        encoded["tool_calls"] = [_call(call) for call in calls]
    return _encode(encoded)


def _call(call: ToolCallPart) -> dict[str, Any]:
    return {
        "id": _call_id(call.id),
        "type": "function",
        "function": {"name": _name(call.name), "arguments": _arguments(call.arguments)},
    }


def _arguments(arguments: str) -> str:
    try:
        msgspec.json.decode(arguments, type=dict[str, msgspec.Raw])
    except msgspec.DecodeError:
        return _encode({"invalid_arguments": arguments}).decode() if arguments.strip() else "{}"
    return arguments


def _returns(returns: tuple[ToolReturnPart, ...]) -> bytes:
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
        encoded.append(_encode({"role": "tool", "tool_call_id": _call_id(part.tool_call_id), "content": text}))
    fragment = b",".join(encoded)
    return fragment + _PICTURES + _encode({"role": "user", "content": pictures}) if pictures else fragment


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
    if isinstance(source, UrlImage):
        return {"type": "image_url", "image_url": {"url": source.url}}
    if source.data is None:
        return {"type": "text", "text": "[an image that is no longer available]"}
    media_type = source.media_type if isinstance(source, Base64Image) else source.media_type or "image/png"
    image: dict[str, Any] = {"url": f"data:{media_type};base64,{source.data}"}
    if source.detail is not None:
        image["detail"] = source.detail
    return {"type": "image_url", "image_url": image}


def _call_id(id_: str) -> str:
    """The id itself, or a shorter one that is always the same for it: other providers' may be too long here."""
    return id_ if len(id_) <= _MAX_CALL_ID else f"call_{sha256(id_.encode()).hexdigest()[:32]}"


def _name(name: str) -> str:
    return _NOT_IN_A_NAME.sub("_", name)[:_MAX_NAME]


def _tool(spec: ToolSpec, strict: bool | None) -> dict[str, Any]:  # noqa: FBT001  a tri-state of the API
    function: dict[str, Any] = {"name": spec.name, "description": spec.description, "parameters": spec.parameters}
    if strict is not None:
        schema = strict_schema(spec.parameters) if strict else None
        function["strict"] = schema is not None
        if schema is not None:
            function["parameters"] = schema
    return {"type": "function", "function": function}


def _tool_choice(choice: str) -> str | dict[str, Any]:
    return choice if choice in {"none", "required"} else {"type": "function", "function": {"name": choice}}


def _response_format(response_format: dict[str, Any]) -> dict[str, Any]:
    """The format with its schema under a name, as the dialect wants it; users may give the bare schema.

    :raises InvalidArgument: if it is of an unknown type or lacks its schema.
    """
    kind = response_format.get("type")
    if kind in {"text", "json_object"}:
        return {"type": kind}
    given = response_format.get("json_schema")
    if kind != "json_schema" or not isinstance(given, dict):
        raise InvalidArgument(
            "INVALID_ARGUMENT: response_format must be of type text, json_object, or json_schema with a json_schema.",
        )
    schema = cast("dict[str, Any]", given)
    if isinstance(schema.get("schema"), dict):
        return {"type": "json_schema", "json_schema": {"name": "response", **schema}}
    return {"type": "json_schema", "json_schema": {"name": "response", "schema": schema}}
