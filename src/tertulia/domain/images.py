"""What to send of an image to a provider that takes bytes alone; fetches nothing."""

import re
from collections.abc import Iterator, Mapping
from typing import Final

from tertulia.domain.messages import Base64Image, ImagePart, Message, StoredImage, ToolReturnPart, UrlImage

_DATA_URL: Final = re.compile(r"data:(image/[a-z0-9.+-]+)(?:;[^,;]*)*;base64,(.*)", re.DOTALL | re.IGNORECASE)
_GONE: Final = "it is no longer available"
_NOT_LOADED: Final = "it was not loaded"


def image_bytes(
    source: UrlImage | Base64Image | StoredImage, images: Mapping[str, Base64Image | str]
) -> Base64Image | str:
    """The image itself, or the words that stand for it: ``[an image is missing here: why]``.

    ``images`` are those of the request.
    """
    if isinstance(source, Base64Image):
        return source
    if isinstance(source, StoredImage):
        if source.data is None:
            return _missing(_GONE)
        return Base64Image(source.media_type or "image/png", source.data, source.detail)
    embedded = _embedded(source.url)
    if embedded is not None:
        return embedded
    found = images.get(source.url, _NOT_LOADED)
    return found if isinstance(found, Base64Image) else _missing(found)


def remote_images(message: Message) -> Iterator[str]:
    """The addresses of a message's images that somebody has to fetch, those of its tool returns among them."""
    for part in message.content:
        pieces = part.content if isinstance(part, ToolReturnPart) else (part,)
        for piece in pieces:
            if isinstance(piece, ImagePart) and isinstance(piece.source, UrlImage):
                url = piece.source.url
                if _embedded(url) is None:
                    yield url


def all_loaded(message: Message, images: Mapping[str, Base64Image | str]) -> bool:
    """Whether no image of the message is missing, so that what is encoded of it now may be kept for later requests."""
    return all(isinstance(images.get(url), Base64Image) for url in remote_images(message))


def _embedded(url: str) -> Base64Image | None:
    """The image of a ``data:`` URL."""
    found = _DATA_URL.fullmatch(url)
    return Base64Image(found[1].lower(), found[2]) if found else None


def _missing(reason: str) -> str:
    return f"[an image is missing here: {reason}]"
