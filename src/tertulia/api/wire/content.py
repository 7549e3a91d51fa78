"""Content parts as clients send them, and the domain's parts they become."""

import base64
import binascii
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, TypeAlias, cast, get_args

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, field_validator

from tertulia.api.wire.common import MAX_NAME, BodyModel, Listed, Name, Text
from tertulia.domain.errors import Unsupported
from tertulia.domain.images import image_type
from tertulia.domain.messages import Base64Image, ImagePart, TextPart, UrlImage

MAX_PARTS: Final = 1_000
"""In one message."""

_SHOWN: Final = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp", "image/heic", "image/heif"})
"""What at least one provider takes."""


class SentModel(BodyModel):
    """Something inside a body that any release of a client may send."""


def discriminate(types: Mapping[str, str], fields: Mapping[str, str]) -> Discriminator:
    """Tells shapes apart by ``type`` and, since clients may leave it out, by the first of the fields that is there.

    Both map to Pydantic tags; these begin with ``~`` so that the place an error names can leave them out.
    """

    def tag_of(value: Any) -> str | None:
        if not isinstance(value, dict):
            return None
        sent = cast("dict[str, Any]", value)
        if sent.get("type") is not None:
            return types.get(str(sent["type"]))
        return next((tag for field, tag in fields.items() if field in sent), None)

    return Discriminator(
        tag_of,
        custom_error_type="shape_unknown",
        custom_error_message=f"must be an object whose type is one of: {', '.join(types)}",
    )


class TextContentParam(SentModel):
    type: Literal["text"] = "text"
    text: str
    signature: Text | None = None


def _check_image(data: str) -> None:
    try:
        image = base64.b64decode(data, validate=True)
    except binascii.Error:
        message = "is not base64"
        raise ValueError(message) from None
    if not image:
        message = "is empty"
        raise ValueError(message)
    if image_type(image[:12]) not in _SHOWN:
        message = "is not an image that models can see: convert it to PNG, JPEG, GIF or WebP"
        raise ValueError(message)


class UrlSource(SentModel):
    type: Literal["url"] = "url"
    url: str

    @field_validator("url")
    @classmethod
    def _has_a_scheme(cls, value: str) -> str:
        if not value.startswith(("http://", "https://", "data:image/")):
            message = "must begin with https://, http:// or data:image/"
            raise ValueError(message)
        if value.startswith("data:"):
            head, comma, data = value.partition(",")
            if not comma or not head.endswith(";base64"):
                message = "must contain its image as base64: data:image/png;base64,…"
                raise ValueError(message)
            _check_image(data)
        return value


class Base64Source(SentModel):
    """``data`` is checked here: once in the history, an image no provider can read would spoil every later message."""

    type: Literal["base64"] = "base64"
    media_type: Annotated[str, Field(pattern="^image/", max_length=MAX_NAME)]
    data: str
    detail: Name | None = None

    @field_validator("data")
    @classmethod
    def _is_base64(cls, value: str) -> str:
        _check_image(value)
        return value


class StoredSource(SentModel):
    type: Literal["letta"] = "letta"
    file_id: Name
    media_type: Name | None = None
    data: str | None = None
    detail: Name | None = None


ImageSource: TypeAlias = Annotated[
    Annotated[UrlSource, Tag("~url")]
    | Annotated[Base64Source, Tag("~base64")]
    | Annotated[StoredSource, Tag("~letta")],
    discriminate(
        {"url": "~url", "base64": "~base64", "letta": "~letta"},
        {"url": "~url", "file_id": "~letta", "data": "~base64"},
    ),
]


class ImageContentParam(SentModel):
    type: Literal["image"] = "image"
    source: ImageSource


ModelOnly: TypeAlias = Literal[
    "tool_call", "tool_return", "reasoning", "redacted_reasoning", "omitted_reasoning", "summarized_reasoning"
]


class ModelContentParam(BaseModel):
    """What only a model says. The API has it among the contents of a message; it cannot be sent to this server."""

    model_config = ConfigDict(extra="allow")
    type: ModelOnly


ContentParam: TypeAlias = TextContentParam | ImageContentParam | ModelContentParam
Content: TypeAlias = Annotated[
    Annotated[TextContentParam, Tag("~text")]
    | Annotated[ImageContentParam, Tag("~image")]
    | Annotated[ModelContentParam, Tag("~model")],
    discriminate(
        {"text": "~text", "image": "~image"} | dict.fromkeys(get_args(ModelOnly), "~model"),
        {"text": "~text", "source": "~image"},
    ),
]


def _text_or_list(value: Any) -> str:
    return "~list" if isinstance(value, list) else "~text"


_Parts: TypeAlias = Annotated[Listed[Content], Field(max_length=MAX_PARTS)]

# Told apart by hand, so that an error speaks of the one that was sent and not of both.
TextOrContent: TypeAlias = Annotated[
    Annotated[str, Tag("~text")] | Annotated[_Parts, Tag("~list")],
    Discriminator(_text_or_list),
]


def parts_of(content: str | list[ContentParam]) -> tuple[TextPart | ImagePart, ...]:
    """The parts of a message as they are stored.

    :raises Unsupported: for a part that this server does not take from a client.
    """
    if isinstance(content, str):
        return (TextPart(content),)
    return tuple(_part(part) for part in content)


def _part(part: ContentParam) -> TextPart | ImagePart:
    match part:
        case TextContentParam():
            return TextPart(part.text, part.signature)
        case ImageContentParam(source=UrlSource() as source):
            return ImagePart(UrlImage(source.url))
        case ImageContentParam(source=Base64Source() as source):
            return ImagePart(Base64Image(source.media_type, source.data, source.detail))
        case ImageContentParam():
            raise Unsupported("Images of type 'letta' are not supported by this server. Send 'base64' or 'url'.")
        case ModelContentParam():
            raise Unsupported(
                f"Content of type '{part.type}' is not supported by this server. Send parts of type 'text' or 'image'."
            )
