"""A request in the dialect of Bedrock's Converse, as the bytes of its body; does no input or output.

What has no place in the dialect is settled here:
- Roles alternate, a user's first and last: neighbours of one role become one turn, the results of tools at its start.
- Messages of role ``system`` within the history are the user's words, because Converse has no such role.
- Reasoning goes back to the family of models that wrote and signed it, and to no other.
- Text without a word is left out, and a result without one gets some: the service refuses blank blocks.
- Tools that the history names are declared even where none may be called, which the service insists on.
- What a model's family does not take (cache points, choices of tools, images in results) is not sent to it.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import msgspec

from tertulia.domain.images import all_loaded, image_bytes
from tertulia.domain.messages import (
    Base64Image,
    ImagePart,
    Message,
    Part,
    ReasoningPart,
    RedactedReasoningPart,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
)
from tertulia.domain.models import ModelSettings
from tertulia.domain.tools import ToolSpec
from tertulia.ports.provider import ModelRequest
from tertulia.providers.bedrock.models import Family, family_of
from tertulia.providers.bedrock.settings import JSON_SCHEMA, PARALLEL, rules_for
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
from tertulia.providers.setting_rules import leaves, parameters

_encode: Final = msgspec.json.Encoder().encode

_FORMATS: Final = {
    "image/png": "png",
    "image/jpeg": "jpeg",
    "image/gif": "gif",
    "image/webp": "webp",
}
_CACHE_POINT: Final = {"cachePoint": {"type": "default"}}
_CACHE_POINT_AFTER: Final = b"," + _encode(_CACHE_POINT)
_OPENING: Final = _encode({"text": "(The assistant speaks first.)"})
_CLOSING: Final = b'{"role":"user","content":[{"text":"(Please go on.)"}]}'
_MARKED_TURNS: Final = 2

Block = dict[str, Any]
Images = Mapping[str, Base64Image | str]


class ConverseEncoder:
    """Encodes requests for one account, keeping what it encoded of the history.

    ``writers`` are the prefixes of the handles of this provider's models, ``family_of`` says what one takes.
    """

    def __init__(
        self,
        writers: frozenset[str],
        family_of: Callable[[str], Family] = family_of,
        *,
        cache_bytes: int = 8 * 1024 * 1024,
    ) -> None:
        self._writers = writers
        self._family_of = family_of
        self._cache = FragmentCache(cache_bytes)

    def encode(self, request: ModelRequest) -> bytes:
        """The body of a request; whom it is for stands in its address."""
        family = self._family_of(request.model)
        rest: Block = {}
        if request.system.strip():
            rest["system"] = [{"text": request.system}, *([_CACHE_POINT] if family.caches else [])]
        tools = _tools(request, family)
        if tools:
            rest["toolConfig"] = {"tools": tools}
        if request.settings is not None:
            rest |= _settings(request.settings, family)
        if tools:
            _choose(rest, request, family)
        turns = b",".join(self._turns(request, family))
        return b"".join((b'{"messages":[', turns, b"]", b"," if rest else b"", _encode(rest)[1:]))

    def _turns(self, request: ModelRequest, family: Family) -> list[bytes]:
        """The history as turns. The last two of the user's end in a cache point, where the model takes one there.

        The one before the last is where the previous request ended, so what that one wrote is found again.
        """
        turns = alternating(self._fragments(request, family))
        if not turns or turns[0][0] == ASSISTANT:
            turns.insert(0, (USER, _OPENING))
        marks = _MARKED_TURNS if family.caches else 0
        encoded: list[bytes] = []
        for whose, blocks in reversed(turns):
            if whose == ASSISTANT:
                encoded.append(b'{"role":"assistant","content":[%b]}' % blocks)
                continue
            marked = blocks
            if marks and (whose == USER or family.caches_results):
                marks -= 1
                marked += _CACHE_POINT_AFTER
            encoded.append(b'{"role":"user","content":[%b]}' % marked)
        encoded.reverse()
        if turns[-1][0] == ASSISTANT:
            encoded.append(_CLOSING)
        return encoded

    def _fragments(self, request: ModelRequest, family: Family) -> Iterator[bytes]:
        prefix = f"{family.name}:"  # families are shown the same message in different words
        for message in request.messages:
            key = prefix + message.id
            encoded = self._cache.get(key)
            if encoded is None:
                encoded = self._fragment(message, family, request.images)
                if all_loaded(message, request.images):
                    self._cache.put(key, encoded)
            yield encoded

    def _fragment(self, message: Message, family: Family, images: Images) -> bytes:
        if message.role == "approval":
            return b""  # a person's answer, kept for readers; what came of it is in the returns
        if message.tool_returns:
            return fragment(b"R", (_result(part, family, images) for part in message.tool_returns))
        if message.role == "assistant":
            return fragment(b"A", (block for _, block in self._reply(message, family)))
        return fragment(b"U", (block for part in message.content if (block := _block(part, images)) is not None))

    def parts_sent(self, model: str, message: Message) -> tuple[Part, ...]:
        """All that is encoded of a message for a model."""
        if message.role == "approval":
            return ()
        if message.role != "assistant":
            return message.content
        return tuple(part for part, _ in self._reply(message, self._family_of(model)))

    def _reply(self, message: Message, family: Family) -> list[tuple[Part, Block]]:
        """What a model said, each block with the part that it is made of."""
        own = bool(family.signs_as) and self._signer(message) == family.signs_as
        said = [(part, block) for part in message.content if (block := _said(part, own=own)) is not None]
        while said and "reasoningContent" in said[-1][1]:
            del said[-1]  # reasoning that came to nothing, which is refused at the end of a turn
        return said

    def _signer(self, message: Message) -> str:
        """Whose signatures the message holds, of the models of this provider."""
        writer, _, model = (message.model or "").partition("/")
        return self._family_of(model).signs_as if writer in self._writers else ""


def _settings(settings: ModelSettings, family: Family) -> Block:
    """The settings at their places, but for those about tools."""
    found = parameters(settings, rules_for(family), leave={JSON_SCHEMA, PARALLEL})
    schema = leaves(settings).get(JSON_SCHEMA)
    if schema is not None:
        described: Block = {"schema": _encode(schema).decode()}
        named: Block = (settings.response_format or {})["json_schema"]
        if named.get("schema") == schema:  # under a name, as OpenAI wants it
            described |= {key: named[key] for key in ("name", "description") if isinstance(named.get(key), str)}
        found["outputConfig"] = {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": described}}}
    return found


def _said(part: Part, *, own: bool) -> Block | None:
    """A part of a reply. ``own``: the model's family wrote it."""
    match part:
        case TextPart(text=text) if text.strip():
            return {"text": text}
        case ToolCallPart():
            call = {
                "toolUseId": _call_id(part.id),
                "name": tool_name(part.name),
                "input": arguments_object(part.arguments),
            }
            return {"toolUse": call}
        case ReasoningPart(reasoning=reasoning, signature=str(signature)) if own and signature:
            return {"reasoningContent": {"reasoningText": {"text": reasoning, "signature": signature}}}
        case RedactedReasoningPart(data=data) if own and data:
            return {"reasoningContent": {"redactedContent": data}}
        case _:
            return None


def _block(part: Part, images: Images) -> Block | None:
    """A part of what the model is shown."""
    if isinstance(part, ImagePart):
        return _image(part, images)
    return {"text": part.text} if isinstance(part, TextPart) and part.text.strip() else None


def _image(part: ImagePart, images: Images) -> Block:
    image = image_bytes(part.source, images)
    if isinstance(image, str):
        return {"text": image}
    form = _FORMATS.get(image.media_type)
    if form is None:
        return {"text": f"[an image of type {image.media_type}, which this model cannot see]"}
    return {"image": {"format": form, "source": {"bytes": image.data}}}


def _result(part: ToolReturnPart, family: Family, images: Images) -> Block:
    failed = part.status == "error"
    pieces = (TextPart(part.content),) if isinstance(part.content, str) else part.content
    content = [shown for piece in pieces if (shown := _block(piece, images)) is not None]
    if not family.rich_results:
        content = [block if "text" in block else {"text": _UNSEEN} for block in content]
        if failed and content:
            content.insert(0, {"text": "The tool failed."})
    result: Block = {
        "toolUseId": _call_id(part.tool_call_id),
        "content": content or [{"text": f"(The tool {'failed and said' if failed else 'returned'} nothing.)"}],
    }
    if failed and family.rich_results:
        result["status"] = "error"
    return {"toolResult": result}


_UNSEEN: Final = "[an image, which this model cannot see in what a tool returns]"


def _call_id(id_: str) -> str:
    return call_id(id_, "tooluse")


def _tools(request: ModelRequest, family: Family) -> list[Block]:
    """The tools on offer, or, where none is, those the history names, without which the service takes no history."""
    forbidden = request.tool_choice == "none" and not family.own_tool_choice
    if request.tools and not forbidden:
        return [_tool(spec) for spec in request.tools]
    names = {tool_name(call.name): None for message in request.messages for call in message.tool_calls}
    return [{"toolSpec": {"name": name, "inputSchema": {"json": {"type": "object"}}}} for name in names]


def _tool(spec: ToolSpec) -> Block:
    tool: Block = {"name": tool_name(spec.name)}
    if spec.description.strip():
        tool["description"] = spec.description
    tool["inputSchema"] = {"json": object_schema(spec.parameters)}
    return {"toolSpec": tool}


def _choose(rest: Block, request: ModelRequest, family: Family) -> None:
    """Say which tools may be called, and whether several at once.

    Converse refuses the type of Anthropic's choice beside one of its own, and Anthropic refuses a choice without type.
    """
    own: Block = {}
    if not request.tools or request.tool_choice == "none":
        own["type"] = "none"
    else:
        forced = _forced(request.tool_choice, family)
        parallel = request.parallel_tool_calls
        if parallel is None and request.settings is not None:
            parallel = request.settings.parallel_tool_calls
        if parallel is not None:
            own = {"disable_parallel_tool_use": not parallel}
            if not forced:
                own["type"] = "auto"
        if forced:
            rest["toolConfig"]["toolChoice"] = forced
    if own and family.own_tool_choice:
        rest.setdefault("additionalModelRequestFields", {})["tool_choice"] = own


def _forced(choice: str, family: Family) -> Block | None:
    """The choice of a tool that must be called, as strictly as the model's family takes it."""
    if choice == "auto":
        return None
    if choice != "required" and "tool" in family.forces:
        return {"tool": {"name": tool_name(choice)}}
    return {"any": {}} if "any" in family.forces else None
