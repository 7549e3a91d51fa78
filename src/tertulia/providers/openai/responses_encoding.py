"""A request in the dialect of the Responses API, as the bytes of its body; does no input or output.

What has no place in the dialect is settled here:
- Nothing is kept at the far end, so the whole history is sent, and reasoning goes back in the encrypted items it was.
- A reasoning item goes back only to the provider that wrote it, and only before the item that followed it.
- Text and calls go back without the ids of their items: an id would be looked up where nothing was stored.
- Messages of role ``system`` within the history are the developer's words; one of the backends refuses the older name.
- Arguments that are no JSON object, which could not be read by the model as such, are sent inside of one.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import Any, Final

import msgspec

from tertulia.domain.errors import InvalidArgument
from tertulia.domain.images import image_bytes, is_address
from tertulia.domain.messages import (
    ImagePart,
    Message,
    NativePart,
    Part,
    SummarizedReasoningPart,
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
from tertulia.providers.encoding.turns import arguments_object, call_id
from tertulia.providers.openai.responses_settings import parameters
from tertulia.providers.openai.strict_schema import strict_schema
from tertulia.providers.setting_rules import Rules

_encode: Final = msgspec.json.Encoder().encode

_MAX_CACHE_KEY: Final = 64  # characters
_MEDIA_TYPES: Final = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})

HEAD: Final = b'{"store":false,"stream":true,"model":'
"""What every body begins with, and none of another dialect."""

Item = dict[str, Any]


class ResponsesEncoder:
    """Encodes requests for one endpoint, keeping what it encoded of the history.

    ``writers`` are the prefixes of the handles of this provider's models, ``provider_type`` its type. ``instructions``
    are sent where a request has no system prompt, to a service that insists on some.
    """

    def __init__(
        self,
        provider_type: str,
        writers: frozenset[str],
        rules: Rules,
        *,
        instructions: str = "",
        cache_bytes: int = 8 * 1024 * 1024,
    ) -> None:
        self._provider_type = provider_type
        self._writers = writers
        self._rules = rules
        self._instructions = instructions
        self._cache = FragmentCache(cache_bytes)

    def encode(self, request: ModelRequest, *, with_reasoning: bool = True) -> bytes:
        """The body of a streaming request. Without reasoning, none of earlier turns is sent back.

        :raises InvalidArgument: if something was asked for that has no expression in this dialect.
        """
        if request.logprobs is not None:
            raise InvalidArgument(
                f"INVALID_ARGUMENT: the model '{request.model}' reasons, and models that reason give no log "
                "probabilities. Remove 'return_logprobs', or use another model.",
            )
        items = self._kept(request.messages) if with_reasoning else self._without_reasoning(request.messages)
        head = HEAD + _encode(request.model)
        instructions = request.system if request.system.strip() else self._instructions
        if instructions:
            head += b',"instructions":' + _encode(instructions)
        return b"".join((head, b',"input":[', b",".join(items), b"],", _encode(self._rest(request))[1:]))

    def _kept(self, messages: Sequence[Message]) -> list[bytes]:
        get, put = self._cache.get, self._cache.put
        items: list[bytes] = []
        for message in messages:
            fragment = get(message.id)
            if fragment is None:
                fragment = _joined(self._items(message))
                put(message.id, fragment)
            if fragment:
                items.append(fragment)
        return items

    def _without_reasoning(self, messages: Sequence[Message]) -> list[bytes]:
        items = (item for message in messages for item in self._items(message))
        return [_encode(item) for item in items if item["type"] != "reasoning"]

    def _items(self, message: Message) -> list[Item]:
        if message.role == "approval":
            return []  # a person's answer, kept for readers; what came of it is in the returns
        if message.tool_returns:
            return [_output(part) for part in message.tool_returns]
        if message.role == "assistant":
            return [item for _, item in self._said(message)]
        role = "developer" if message.role == "system" else "user"
        content = [shown for part in message.content if (shown := _item(part)) is not None]
        return [{"type": "message", "role": role, "content": content}] if content else []

    def parts_sent(self, message: Message) -> tuple[Part, ...]:
        """All that is encoded of a message."""
        if message.role == "approval":
            return ()
        return tuple(part for part, _ in self._said(message)) if message.role == "assistant" else message.content

    def _said(self, message: Message) -> list[tuple[Part, Item]]:
        """The items of a reply, each with the part that it is made of."""
        # What followed the reasoning of a reply that was cut off was another item than the one that can go back.
        own = (message.model or "").partition("/")[0] in self._writers and not message.partial
        items: list[tuple[Part, Item]] = []
        phase: str | None = None
        for part in message.content:
            match part:
                case TextPart(text=text) if text:
                    said: Item = {
                        "type": "message",
                        "role": "assistant",
                        "content": [{"type": "output_text", "text": text, "annotations": []}],
                    }
                    items.append((part, {**said, "phase": phase} if phase is not None else said))
                case ToolCallPart():
                    items.append((part, _call(part)))
                case NativePart(provider_type=provider_type, item=item) if own and provider_type == self._provider_type:
                    if item.get("type") == "message":
                        phase = item.get("phase")
                    elif _goes_back(item):
                        items.append((part, item))
                case SummarizedReasoningPart(encrypted_content=str()) if own:
                    items.append((part, _summarized(part)))
                case _:
                    pass
        return _followed(items)

    def _rest(self, request: ModelRequest) -> Item:
        """What depends on no message."""
        settings = request.settings
        rest: Item = {"include": ["reasoning.encrypted_content"]}
        parallel = request.parallel_tool_calls
        strict: bool | None = None
        if settings is not None:
            rest |= parameters(settings, self._rules)
            parallel = settings.parallel_tool_calls if parallel is None else parallel
            strict = settings.strict
        if request.tools:
            rest["tools"] = [_tool(spec, strict=bool(strict)) for spec in request.tools]
            if parallel is not None:
                rest["parallel_tool_calls"] = parallel
            if request.tool_choice != "auto":
                rest["tool_choice"] = _tool_choice(request.tool_choice)
        if request.cache_key:
            rest["prompt_cache_key"] = cache_key_of(request.cache_key)
        return rest


def cache_key_of(key: str) -> str:
    """The key itself, or a shorter one that is always the same for it: longer ones are refused."""
    return key if len(key) <= _MAX_CACHE_KEY else sha256(key.encode()).hexdigest()


def _joined(items: list[Item]) -> bytes:
    return b",".join(map(_encode, items))


def _followed(items: list[tuple[Part, Item]]) -> list[tuple[Part, Item]]:
    """Without the reasoning at the end, which led to nothing: reasoning without the item after it is refused."""
    end = len(items)
    while end and items[end - 1][1]["type"] == "reasoning":
        end -= 1
    return items[:end]


def _goes_back(item: Item) -> bool:
    """Whether an item can be understood by itself."""
    if item.get("type") == "reasoning":
        return bool(item.get("encrypted_content"))  # without, it would be looked up by its id, where nothing was stored
    return "type" in item and "call_id" not in item  # a call of another kind of tool, whose output nobody gave


def _summarized(part: SummarizedReasoningPart) -> Item:
    summary = [{"type": "summary_text", "text": piece.text} for piece in part.summary]
    return {"type": "reasoning", "id": part.id, "summary": summary, "encrypted_content": part.encrypted_content}


def _item(part: Part) -> Item | None:
    """A part of what the model is shown."""
    if isinstance(part, ImagePart):
        return _image(part)
    return _text(part.text) if isinstance(part, TextPart) and part.text else None


def _image(part: ImagePart) -> Item:
    source = part.source
    if isinstance(source, UrlImage) and is_address(source):
        return {"type": "input_image", "image_url": source.url, "detail": "auto"}
    image = image_bytes(source, {})
    if isinstance(image, str):
        return _text(image)
    if image.media_type not in _MEDIA_TYPES:
        return _text(f"[an image of type {image.media_type}, which this model cannot see]")
    url = f"data:{image.media_type};base64,{image.data}"
    return {"type": "input_image", "image_url": url, "detail": image.detail or "auto"}


def _text(text: str) -> Item:
    return {"type": "input_text", "text": text}


def _call(call: ToolCallPart) -> Item:
    return {
        "type": "function_call",
        "call_id": call_id(call.id, "call"),
        "name": tool_name(call.name),
        "arguments": _encode(arguments_object(call.arguments)).decode(),
    }


def _output(part: ToolReturnPart) -> Item:
    output: str | list[Item]
    if isinstance(part.content, str):
        output = part.content
    elif any(isinstance(piece, ImagePart) for piece in part.content):
        output = [shown for piece in part.content if (shown := _item(piece)) is not None]
    else:
        output = "\n".join(piece.text for piece in part.content if isinstance(piece, TextPart))
    return {"type": "function_call_output", "call_id": call_id(part.tool_call_id, "call"), "output": output}


def _tool(spec: ToolSpec, *, strict: bool) -> Item:
    """A function. ``strict`` is always sent: the dialect requires the field, and without it rewrites the schema."""
    parameters = object_schema(spec.parameters)
    schema = strict_schema(parameters) if strict else None
    return {
        "type": "function",
        "name": tool_name(spec.name),
        "description": spec.description,
        "parameters": schema if schema is not None else parameters,
        "strict": schema is not None,
    }


def _tool_choice(choice: str) -> str | Item:
    return choice if choice in {"none", "required"} else {"type": "function", "name": tool_name(choice)}
