"""A request in the dialect of the Messages API, as the bytes of its body; does no input or output.

What has no place in the dialect is settled here:
- Roles alternate, a user's first: neighbours of one role become one turn, with the results of tools at its beginning.
- Messages of role ``system`` within the history are the user's words: many models know no such role there.
- Thinking goes back to the provider that wrote it and to no other. Who wrote a message, its ``model`` says.
- Text without a word is left out, which the API refuses.
- Arguments that are no JSON object, which could not be sent at all, are sent inside of one.
"""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from tertulia.domain.images import image_bytes, is_address
from tertulia.domain.messages import (
    ImagePart,
    Message,
    NativePart,
    Part,
    ReasoningPart,
    RedactedReasoningPart,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UrlImage,
)
from tertulia.domain.tools import ToolSpec
from tertulia.ports.provider import ModelRequest
from tertulia.providers.anthropic.schema import closed_schema
from tertulia.providers.anthropic.settings import Habits, parameters
from tertulia.providers.encoding.fragments import FragmentCache
from tertulia.providers.encoding.tool_names import tool_name
from tertulia.providers.encoding.tool_schemas import object_schema
from tertulia.providers.encoding.turns import (
    ASSISTANT,
    USER,
    alternating,
    arguments_object,
    call_id,
    fragment,
)
from tertulia.providers.setting_rules import sent

_encode: Final = msgspec.json.Encoder().encode

_MEDIA_TYPES: Final = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})

_BREAKPOINT: Final = b',"cache_control":{"type":"ephemeral"}}'
_OPENING: Final = b'{"type":"text","text":"(The assistant speaks first.)"}'
_CLOSING: Final = b'{"type":"text","text":"(Please go on.)"}'

Block = dict[str, Any]


class MessagesEncoder:
    """Encodes requests for one endpoint, keeping what it encoded of the history.

    ``writers`` are the prefixes of the handles of this provider's models, ``provider_type`` its type.
    """

    def __init__(
        self, provider_type: str, writers: frozenset[str], habits: Habits, *, cache_bytes: int = 8 * 1024 * 1024
    ) -> None:
        self._provider_type = provider_type
        self._writers = writers
        self._habits = habits
        self._cache = FragmentCache(cache_bytes)

    def encode(self, request: ModelRequest, max_tokens: int) -> bytes:
        """The body of a streaming request. ``max_tokens`` is for the reply; the API insists on a number."""
        settings = request.settings
        rest: dict[str, Any] = {"max_tokens": max_tokens, "stream": True}
        if settings is not None:
            rest |= parameters(settings, self._habits.rules)
        tools = self._tools(request)
        if tools:
            rest["tools"] = tools
            choice = _tool_choice(request, thinks="thinking" in rest and rest["thinking"]["type"] != "disabled")
            if choice is not None:
                rest["tool_choice"] = choice
        if request.system.strip():
            rest["system"] = [{"type": "text", "text": request.system, **_CACHED}]
        elif tools:
            tools[-1] |= _CACHED
        turns = b",".join(self._turns(request))
        return b"".join((b'{"model":', _encode(request.model), b',"messages":[', turns, b"],", _encode(rest)[1:]))

    def _turns(self, request: ModelRequest) -> list[bytes]:
        """The history as turns. The last two of the user's end in a cache breakpoint.

        The one before the last is where the previous request ended, so what that one wrote is found again.
        """
        turns = alternating(self._fragments(request))
        if not turns or turns[0][0] == ASSISTANT:
            turns.insert(0, (USER, _OPENING))
        if turns[-1][0] == ASSISTANT:  # newer models do not go on with words that are put into their mouths
            turns.append((USER, _CLOSING))
        marks = 2
        encoded: list[bytes] = []
        for whose, blocks in reversed(turns):
            if whose == ASSISTANT:
                encoded.append(b'{"role":"assistant","content":[%b]}' % blocks)
                continue
            # A block is a JSON object, so a field more goes before its last brace.
            marked = blocks[:-1] + _BREAKPOINT if marks else blocks
            marks = max(0, marks - 1)
            encoded.append(b'{"role":"user","content":[%b]}' % marked)
        encoded.reverse()
        return encoded

    def _fragments(self, request: ModelRequest) -> Iterator[bytes]:
        get, put = self._cache.get, self._cache.put
        for message in request.messages:
            encoded = get(message.id)
            if encoded is None:
                encoded = self._fragment(message)
                put(message.id, encoded)
            yield encoded

    def parts_sent(self, message: Message) -> tuple[Part, ...]:
        """All that is encoded of a message."""
        if message.role == "approval":
            return ()
        if message.role != "assistant":
            return message.content
        own = self._is_own(message)
        return tuple(part for part in message.content if self._said(part, own=own) is not None)

    def _is_own(self, message: Message) -> bool:
        return message.model is not None and message.model.partition("/")[0] in self._writers

    def _fragment(self, message: Message) -> bytes:
        """The message as a mark and blocks with commas between them; empty when there is nothing to send."""
        if message.role == "approval":
            return b""  # a person's answer, kept for readers; what came of it is in the returns
        if message.tool_returns:
            return fragment(b"R", (_result(part) for part in message.tool_returns))
        if message.role == "assistant":
            own = self._is_own(message)
            return fragment(b"A", (said for part in message.content if (said := self._said(part, own=own)) is not None))
        return fragment(b"U", (block for part in message.content if (block := _block(part)) is not None))

    def _said(self, part: Part, *, own: bool) -> Block | None:
        """A part of a reply. ``own``: this provider wrote it."""
        match part:
            case TextPart(text=text) if text.strip():
                return {"type": "text", "text": text}
            case ToolCallPart():
                return {
                    "type": "tool_use",
                    "id": _call_id(part.id),
                    "name": tool_name(part.name),
                    "input": arguments_object(part.arguments),
                }
            case ReasoningPart(reasoning=reasoning, signature=signature) if own:
                if signature or (reasoning and not self._habits.signs_thinking):
                    return {"type": "thinking", "thinking": reasoning, "signature": signature or ""}
            case RedactedReasoningPart(data=data) if own:
                return {"type": "redacted_thinking", "data": data}
            case NativePart(provider_type=provider_type, item=item) if own and provider_type == self._provider_type:
                return item
            case _:
                pass
        return None

    def _tools(self, request: ModelRequest) -> list[Block]:
        if not request.tools:
            return _tools_of_the_past(request)
        strict = sent(request.settings, self._habits.rules, "strict")
        return [_tool(spec, strict) for spec in request.tools]


_CACHED: Final = {"cache_control": {"type": "ephemeral"}}


def _block(part: Part) -> Block | None:
    """A part of what the model is shown."""
    if isinstance(part, ImagePart):
        return _image(part)
    return {"type": "text", "text": part.text} if isinstance(part, TextPart) and part.text.strip() else None


def _image(part: ImagePart) -> Block:
    source = part.source
    if isinstance(source, UrlImage) and is_address(source):
        if not source.url.startswith("https://"):
            return _text(f"[an image at {source.url}, which cannot be shown: its address is not https]")
        return {"type": "image", "source": {"type": "url", "url": source.url}}
    image = image_bytes(source, {})
    if isinstance(image, str):
        return _text(image)
    if image.media_type not in _MEDIA_TYPES:
        return _text(f"[an image of type {image.media_type}, which this model cannot see]")
    return {"type": "image", "source": {"type": "base64", "media_type": image.media_type, "data": image.data}}


def _text(text: str) -> Block:
    return {"type": "text", "text": text}


def _result(part: ToolReturnPart) -> Block:
    block: Block = {"type": "tool_result", "tool_use_id": _call_id(part.tool_call_id)}
    if isinstance(part.content, str):
        content: str | list[Block] = part.content
    else:
        content = [shown for piece in part.content if (shown := _block(piece)) is not None]
    if part.status == "error":
        block["is_error"] = True
        content = content or "The tool failed and said nothing."  # an error without words is refused
    if content:
        block["content"] = content
    return block


def _call_id(id_: str) -> str:
    return call_id(id_, "toolu")


def _tool(spec: ToolSpec, strict: bool | None) -> Block:  # noqa: FBT001  a tri-state of the API
    parameters = object_schema(spec.parameters)
    tool: Block = {"name": tool_name(spec.name), "description": spec.description, "input_schema": parameters}
    if strict is not None:
        schema = closed_schema(parameters) if strict else None
        tool["strict"] = schema is not None
        if schema is not None:
            tool["input_schema"] = schema
    return tool


def _tools_of_the_past(request: ModelRequest) -> list[Block]:
    """The tools that the history names: the API wants to know them even where none may be called."""
    names = {tool_name(call.name): None for message in request.messages for call in message.tool_calls}
    return [{"name": name, "input_schema": {"type": "object"}} for name in names]


def _tool_choice(request: ModelRequest, *, thinks: bool) -> Block | None:
    settings = request.settings
    parallel = request.parallel_tool_calls
    if parallel is None and settings is not None:
        parallel = settings.parallel_tool_calls
    choice = request.tool_choice
    if choice == "none" or not request.tools:
        return {"type": "none"}
    once: Block = {} if parallel is None else {"disable_parallel_tool_use": not parallel}
    # A model that thinks may not be made to call a tool; the API refuses that.
    if choice == "auto" or thinks:
        return {"type": "auto", **once} if once else None
    return {"type": "any", **once} if choice == "required" else {"type": "tool", "name": tool_name(choice), **once}
