"""A request in Gemini's dialect, as the bytes of its body; does no input or output.

What has no place in the dialect is settled here:
- Contents alternate between user and model, a user's first. Neighbours of one side become one content, with the
  results of the calls before it at its beginning, in the order of the calls.
- Messages of role ``system`` within the history are the user's words: the dialect has one system instruction.
- Thought signatures go back to the provider that issued them and to no other, on the very part they came on.
- From Gemini 3 on, the first call of each reply must have a signature. One that has none, because another model made
  it, gets the words that Google documents for just that.
- Thoughts without a signature are left out: the API wants nothing of its summaries back.
- Pictures that a tool returned go inside of its result, and for models before Gemini 3, which cannot see them there,
  behind the results.
- Arguments that are no JSON object, which could not be sent at all, are sent inside of one.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from tertulia.domain.images import all_loaded, image_bytes
from tertulia.domain.messages import (
    Base64Image,
    ImagePart,
    Message,
    NativePart,
    Part,
    ReasoningPart,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
)
from tertulia.domain.tools import ToolSpec
from tertulia.ports.provider import ModelRequest
from tertulia.providers import setting_rules
from tertulia.providers.encoding.fragments import FragmentCache
from tertulia.providers.encoding.tool_names import tool_name
from tertulia.providers.encoding.turns import ASSISTANT, RESULTS, arguments_object, fragment
from tertulia.providers.gemini.schema import known_schema
from tertulia.providers.gemini.settings import RULES

UNNAMED: Final = "gemini-"
"""What ids of calls begin with that Gemini gave none; they do not go back to it."""

NO_SIGNATURE: Final = "skip_thought_signature_validator"
"""Google's documented stand-in for the signature of a call that no Gemini model made."""

SIGNED_PART: Final = "#"
"""Stands between a signature and the number of characters, at the end of its text, that came on the signed part."""

_BEFORE_3: Final = re.compile(r"(?:.*/)?(?:gemini-(?:pro(?:-vision)?$|[12](?:[.-]|$))|gemma)")
_MEDIA_TYPES: Final = frozenset({"image/png", "image/jpeg", "image/webp", "image/heic", "image/heif"})

# They part the results in an encoded message, and a result from the pictures behind it; no JSON text holds them.
_NEXT: Final = b"\x1e"
_PICTURES: Final = b"\x1f"

_OPENING: Final = b'{"text":"(The assistant speaks first.)"}'
_CLOSING: Final = b'{"text":"(Please go on.)"}'

_encode: Final = msgspec.json.Encoder().encode

Block = dict[str, Any]


@dataclass(slots=True)
class _Content:
    """One content being put together. ``said`` are the replies in it, ``results`` go with the ids of their calls."""

    by_model: bool
    parts: list[bytes] = field(default_factory=list[bytes])
    said: list[Message] = field(default_factory=list[Message])
    results: list[tuple[str, bytes]] = field(default_factory=list[tuple[str, bytes]])
    pictures: list[bytes] = field(default_factory=list[bytes])


class GeminiEncoder:
    """Encodes requests for one endpoint, keeping what it encoded of the history.

    ``writers`` are the prefixes of the handles of this provider's models, ``provider_type`` its type.
    """

    def __init__(self, provider_type: str, writers: frozenset[str], *, cache_bytes: int = 8 * 1024 * 1024) -> None:
        self._provider_type = provider_type
        self._writers = writers
        self._cache = FragmentCache(cache_bytes)

    def encode(self, request: ModelRequest) -> bytes:
        """The body of a streaming request; the model's name is not in it."""
        head: Block = {}
        if request.system.strip():
            head["systemInstruction"] = {"parts": [{"text": request.system}]}
        if request.tools:
            head["tools"] = [{"functionDeclarations": [_tool(spec) for spec in request.tools]}]
            if request.tool_choice != "auto":
                head["toolConfig"] = {"functionCallingConfig": _choice(request.tool_choice)}
        if request.settings is not None:
            head |= setting_rules.parameters(request.settings, RULES)
            generation = head.get("generationConfig", {})
            if "responseJsonSchema" in generation:
                generation["responseMimeType"] = "application/json"
        contents = b'"contents":[%b]}' % b",".join(self._contents(request))
        return _encode(head)[:-1] + b"," + contents if head else b"{" + contents

    def _contents(self, request: ModelRequest) -> Iterator[bytes]:
        contents = self._alternating(request)
        if not contents or contents[0].by_model:
            yield b'{"role":"user","parts":[%b]}' % _OPENING
        said: Sequence[Message] = ()
        for content in contents:
            parts = [*_in_order(content.results, said), *content.pictures, *content.parts]
            yield b'{"role":"%b","parts":[%b]}' % (b"model" if content.by_model else b"user", b",".join(parts))
            said = content.said
        if contents and contents[-1].by_model:
            yield b'{"role":"user","parts":[%b]}' % _CLOSING

    def _alternating(self, request: ModelRequest) -> list[_Content]:
        older = _BEFORE_3.match(request.model) is not None
        contents: list[_Content] = []
        for message in request.messages:
            encoded = self._kept(message, request, older=older)
            if not encoded:
                continue
            by_model = encoded[0] == ASSISTANT
            if not contents or contents[-1].by_model != by_model:
                contents.append(_Content(by_model))
            content = contents[-1]
            if encoded[0] == RESULTS:
                for part, both in zip(message.tool_returns, encoded[1:].split(_NEXT), strict=True):
                    result, _, pictures = both.partition(_PICTURES)
                    content.results.append((part.tool_call_id, result))
                    if pictures:
                        content.pictures.append(pictures)
            else:
                content.parts.append(encoded[1:])
                if by_model:
                    content.said.append(message)
        return contents

    def _kept(self, message: Message, request: ModelRequest, *, older: bool) -> bytes:
        """The message as a mark and parts with commas between them; empty when there is nothing to send."""
        key = f"{message.id} older" if older else message.id
        encoded = self._cache.get(key)
        if encoded is None:
            encoded = self._encoded(message, request, older=older)
            if all_loaded(message, request.images):
                self._cache.put(key, encoded)
        return encoded

    def _encoded(self, message: Message, request: ModelRequest, *, older: bool) -> bytes:
        if message.role == "approval":
            return b""  # a person's answer, kept for readers; what came of it is in the returns
        if message.tool_returns:
            return b"R" + _NEXT.join(self._result(part, request, older=older) for part in message.tool_returns)
        if message.role == "assistant":
            return fragment(b"A", (block for _, block in self._reply(message, older=older)))
        shown = (self._block(part, request) for part in message.content)
        return fragment(b"U", (block for block in shown if block is not None))

    def parts_sent(self, message: Message) -> tuple[Part, ...]:
        """All that is encoded of a message."""
        if message.role == "approval":
            return ()
        if message.role != "assistant":
            return message.content
        return tuple({id(part): part for part, _ in self._reply(message, older=False)}.values())

    def _reply(self, message: Message, *, older: bool) -> list[tuple[Part, Block]]:
        """What a model said, each block with the part that it is made of."""
        own = message.model is not None and message.model.partition("/")[0] in self._writers
        blocks: list[tuple[Part, Block]] = []
        called = False
        for part in message.content:
            match part:
                case TextPart(text=text, signature=signature):
                    blocks += ((part, block) for block in _texts(text, signature if own else None))
                case ReasoningPart(reasoning=thought, signature=str(signature)) if own:
                    blocks += ((part, {**block, "thought": True}) for block in _texts(thought, signature))
                case ToolCallPart():
                    signature = part.signature if own else None
                    if signature is None and not called and not older:
                        signature = NO_SIGNATURE
                    called = True
                    blocks.append((part, _call(part, signature)))
                case NativePart(provider_type=self._provider_type, item=item) if own:
                    blocks.append((part, item))
                case _:
                    pass
        return blocks

    def _block(self, part: Part, request: ModelRequest) -> Block | None:
        """A part of what the model is shown."""
        if isinstance(part, ImagePart):
            return self._image(part, request)
        return {"text": part.text} if isinstance(part, TextPart) and part.text.strip() else None

    def _image(self, part: ImagePart, request: ModelRequest) -> Block:
        image = image_bytes(part.source, request.images)
        if not isinstance(image, Base64Image):
            return {"text": image}
        if image.media_type not in _MEDIA_TYPES:
            return {"text": f"[an image of type {image.media_type}, which this model cannot see]"}
        return {"inlineData": {"mimeType": image.media_type, "data": image.data}}

    def _result(self, part: ToolReturnPart, request: ModelRequest, *, older: bool) -> bytes:
        """What a call returned, and the pictures that go behind all results."""
        texts: list[str] = []
        pictures: list[Block] = []
        for piece in (TextPart(part.content),) if isinstance(part.content, str) else part.content:
            block = self._block(piece, request)
            if block is not None:
                texts.append(block["text"]) if "text" in block else pictures.append(block)
        text = "\n".join(texts)
        if part.status == "error":
            said: Block = {"error": text or "The tool failed and said nothing."}
        else:
            said = {"output": text}
        response = {**_id(part.tool_call_id), "name": tool_name(part.name), "response": said}
        if pictures and not older:
            response["parts"] = pictures
            pictures = []
        if pictures:
            pictures.insert(0, {"text": f"Returned by the tool {part.name}:"})
        behind = _PICTURES + b",".join(map(_encode, pictures)) if pictures else b""
        return _encode({"functionResponse": response}) + behind


def _in_order(results: list[tuple[str, bytes]], said: Sequence[Message]) -> list[bytes]:
    """The results in the order of their calls: where Gemini gave no ids, that is all that tells them apart."""
    if len(results) > 1:
        calls = [call.id for message in said for call in message.tool_calls]
        places = {id_: place for place, id_ in enumerate(calls)}
        results = sorted(results, key=lambda result: places.get(result[0], len(places)))
    return [result for _, result in results]


def _texts(text: str, signature: str | None) -> list[Block]:
    """The text as the parts it came in, as far as that matters: the one that was signed is one of its own."""
    if signature is None:
        return [{"text": text}] if text.strip() else []
    signature, _, count = signature.partition(SIGNED_PART)
    unsigned = max(len(text) - int(count), 0) if count.isdecimal() else 0
    before = [{"text": text[:unsigned]}] if unsigned else []
    return [*before, {"text": text[unsigned:], "thoughtSignature": signature}]


def _call(part: ToolCallPart, signature: str | None) -> Block:
    call = {**_id(part.id), "name": tool_name(part.name), "args": arguments_object(part.arguments)}
    return {"functionCall": call, "thoughtSignature": signature} if signature else {"functionCall": call}


def _id(id_: str) -> Block:
    return {} if id_.startswith(UNNAMED) else {"id": id_}


def _tool(spec: ToolSpec) -> Block:
    return {
        "name": tool_name(spec.name),
        "description": spec.description,
        "parametersJsonSchema": known_schema(spec.parameters),
    }


def _choice(choice: str) -> Block:
    if choice in {"none", "required"}:
        return {"mode": "NONE" if choice == "none" else "ANY"}
    return {"mode": "ANY", "allowedFunctionNames": [tool_name(choice)]}
