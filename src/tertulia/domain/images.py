"""What to send of an image to a provider; fetches nothing.

The type of an image is told by its first bytes: what clients and servers say of it is often wrong, and providers refuse
a request, and every later one of its conversation, for it.
"""

import binascii
import re
from collections.abc import Iterator, Mapping
from typing import Final

from msgspec.structs import replace

from tertulia.domain.messages import (
    Base64Image,
    ImagePart,
    Message,
    Part,
    StoredImage,
    TextPart,
    ToolReturnPart,
    UrlImage,
)

_DATA_URL: Final = re.compile(r"data:(image/[a-z0-9.+-]+)(?:;[^,;]*)*;base64,(.*)", re.DOTALL | re.IGNORECASE)
_GONE: Final = "it is no longer available"
_NOT_LOADED: Final = "it has not been loaded"
REFUSED: Final = "the model's provider refused it"

_SIGNATURES: Final = (
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"GIF87a", "image/gif"),
    (0, b"GIF89a", "image/gif"),
    (8, b"WEBP", "image/webp"),  # before it stand RIFF and a length
    (4, b"ftyphei", "image/heic"),  # before it stands a length
    (4, b"ftyphevc", "image/heic"),
    (4, b"ftypmif1", "image/heif"),
    (4, b"ftypmsf1", "image/heif"),
    (4, b"ftypavi", "image/avif"),
    (0, b"BM", "image/bmp"),
    (0, b"II*\0", "image/tiff"),
    (0, b"MM\0*", "image/tiff"),
)
_ENOUGH: Final = 16
"""Characters of base64 that hold the first 12 bytes, in which all of the signatures are."""
_OTHER_NAMES: Final = {"image/jpg": "image/jpeg", "image/pjpeg": "image/jpeg", "image/x-png": "image/png"}


def image_type(first: bytes) -> str | None:
    """The type of an image by its first 12 bytes; None if it is none that is known."""
    return next((type_ for at, mark, type_ in _SIGNATURES if first.startswith(mark, at)), None)


def image_bytes(
    source: UrlImage | Base64Image | StoredImage, images: Mapping[str, Base64Image | str]
) -> Base64Image | str:
    """The image itself, or the words that stand for it: ``[an image is missing here: why]``.

    ``images`` are those of the request.
    """
    if isinstance(source, Base64Image):
        return _typed(source.media_type, source.data, source.detail)
    if isinstance(source, StoredImage):
        if source.data is None:
            return _missing(_GONE)
        return _typed(source.media_type or "image/png", source.data, source.detail)
    embedded = _embedded(source.url)
    if embedded is not None:
        return embedded
    found = images.get(source.url, _NOT_LOADED)
    return found if isinstance(found, Base64Image) else _missing(found)


def remote_images(message: Message) -> Iterator[str]:
    """The addresses of a message's images that somebody has to fetch, those of its tool returns among them."""
    for part in message.content:
        for piece in _pieces(part):
            if isinstance(piece, ImagePart) and isinstance(piece.source, UrlImage):
                url = piece.source.url
                if _embedded(url) is None:
                    yield url


def all_loaded(message: Message, images: Mapping[str, Base64Image | str]) -> bool:
    """Whether no image of the message is missing, so that what is encoded of it now may be kept for later requests."""
    return all(isinstance(images.get(url), Base64Image) for url in remote_images(message))


def is_address(source: UrlImage | Base64Image | StoredImage) -> bool:
    """Whether somebody has to fetch the image."""
    return isinstance(source, UrlImage) and _embedded(source.url) is None


def has_image(message: Message) -> bool:
    return any(isinstance(piece, ImagePart) for part in message.content for piece in _pieces(part))


def _pieces(part: Part) -> tuple[Part, ...]:
    """The part, or what a tool returned; a plain text, of whatever length, has no pieces."""
    if not isinstance(part, ToolReturnPart):
        return (part,)
    return () if isinstance(part.content, str) else part.content


def without_images(message: Message) -> Message:
    """The message as a model is shown it that must not get its images. Under another id: it has another content."""
    content = tuple(_without_images(part) for part in message.content)
    return replace(message, id=f"{message.id}-without-images", content=content)


def _without_images(part: Part) -> Part:
    if isinstance(part, ImagePart):
        return TextPart(_missing(REFUSED))
    if isinstance(part, ToolReturnPart) and not isinstance(part.content, str):
        pieces = tuple(TextPart(_missing(REFUSED)) if isinstance(each, ImagePart) else each for each in part.content)
        return replace(part, content=pieces)
    return part


def _embedded(url: str) -> Base64Image | None:
    """The image of a ``data:`` URL."""
    found = _DATA_URL.fullmatch(url)
    return _typed(found[1], found[2], None) if found else None


def _typed(said: str, data: str, detail: str | None) -> Base64Image:
    """The image with the type that it has by its bytes, or the one that is said of it where they tell nothing."""
    said = said.partition(";")[0].strip().lower()
    try:
        told = image_type(binascii.a2b_base64(data[:_ENOUGH]))
    except (binascii.Error, ValueError):  # not base64; the provider will say so
        told = None
    return Base64Image(told or _OTHER_NAMES.get(said, said), data, detail)


def _missing(reason: str) -> str:
    return f"[an image is missing here: {reason}]"
