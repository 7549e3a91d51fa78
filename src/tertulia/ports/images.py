"""Where images come from that a history names by their addresses."""

from typing import Protocol

from tertulia.domain.errors import TertuliaError
from tertulia.domain.messages import Base64Image


class ImageUnavailable(TertuliaError):
    """An address that leads to no image a model could be shown. The message is the reason, written for the model."""


class ImageFetcher(Protocol):
    async def fetch(self, url: str) -> Base64Image:
        """The image at the address.

        :raises ImageUnavailable: if there is none, it may not be fetched, or it is too large or takes too long.
        """
        ...
