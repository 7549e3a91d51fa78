"""Fetching images that messages name by their addresses, under the rule for every address a stranger names.

Not a tool. It stands here for the rule's sake, which `guarded_http` keeps.
"""

from base64 import b64encode
from dataclasses import dataclass
from typing import Final

from tertulia.domain.images import image_type
from tertulia.domain.messages import Base64Image
from tertulia.ports.images import ImageUnavailable

_SECONDS: Final = 15.0
_MAX_BYTES: Final = 10 * 1024 * 1024
_SHOWN: Final = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardedImages:
    """Implements ``ports.images.ImageFetcher``."""

    allow_private_addresses: bool = False
    seconds: float = _SECONDS
    max_bytes: int = _MAX_BYTES

    async def fetch(self, url: str) -> Base64Image:
        """:raises ImageUnavailable: as the port says."""
        # Imported with the first image: the HTTP client takes a tenth of a second.
        from tertulia.tools.guarded_http import FetchFailed, GuardedClient  # noqa: PLC0415

        client = GuardedClient(seconds=self.seconds, max_bytes=self.max_bytes, accept="image/*")
        if self.allow_private_addresses:
            client = client.anywhere()
        try:
            fetched = await client.get(url)
        except FetchFailed as error:
            raise ImageUnavailable(error.message) from error
        media_type = image_type(fetched.body[:12])
        if media_type not in _SHOWN:
            raise ImageUnavailable(f"{fetched.url} is no PNG, JPEG, GIF or WebP image.")
        return Base64Image(media_type, b64encode(fetched.body).decode("ascii"))
