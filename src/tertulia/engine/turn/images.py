"""The images that histories name by their addresses, kept in memory so that each request shows the same bytes.

A provider's cache knows a request by its bytes, so an image is fetched once and not again while it is in use. An
address that leads nowhere is not asked again for a while: it would cost every message its time limit.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

import structlog

from tertulia.domain.addresses import without_secrets
from tertulia.domain.messages import Base64Image
from tertulia.ports.images import ImageFetcher, ImageUnavailable

KEPT_BYTES: Final = 64 * 1024 * 1024
FAILURES_KEPT: Final = 1_000
RETRY_SECONDS: Final = 600.0
"""After so long an address that led nowhere is tried again."""

_AT_ONCE: Final = 4

_log = structlog.get_logger(__name__)


class Images:
    """What addresses lead to: the image, or the reason why there is none."""

    def __init__(self, fetcher: ImageFetcher, *, kept_bytes: int = KEPT_BYTES) -> None:
        self._fetcher = fetcher
        self._kept_bytes = kept_bytes
        self._bytes = 0
        self._kept: OrderedDict[str, Base64Image] = OrderedDict()
        self._failures: OrderedDict[str, tuple[float, str]] = OrderedDict()

    async def load(self, urls: Iterable[str]) -> dict[str, Base64Image | str]:
        """All of them, fetched where they are not known."""
        found = self.known(urls)
        missing = [url for url in urls if url not in found]
        if missing:
            free = asyncio.Semaphore(_AT_ONCE)
            async with asyncio.TaskGroup() as group:
                fetching = {url: group.create_task(self._fetch(url, free)) for url in missing}
            found |= {url: task.result() for url, task in fetching.items()}
        return found

    def known(self, urls: Iterable[str]) -> dict[str, Base64Image | str]:
        """Those that need not be fetched."""
        found: dict[str, Base64Image | str] = {}
        now = time.monotonic()
        for url in urls:
            if url in self._kept:
                self._kept.move_to_end(url)
                found[url] = self._kept[url]
            elif url in self._failures and self._failures[url][0] > now:
                found[url] = self._failures[url][1]
        return found

    async def _fetch(self, url: str, free: asyncio.Semaphore) -> Base64Image | str:
        try:
            async with free:
                image = await self._fetcher.fetch(url)
        except ImageUnavailable as error:
            _log.warning("image_not_loaded", url=without_secrets(url), reason=without_secrets(error.message))
            self._failures[url] = (time.monotonic() + RETRY_SECONDS, error.message)
            while len(self._failures) > FAILURES_KEPT:
                self._failures.popitem(last=False)
            return error.message
        self._failures.pop(url, None)
        return self._keep(url, image)

    def _keep(self, url: str, image: Base64Image) -> Base64Image:
        if url in self._kept:  # another message fetched it meanwhile, and was shown that one
            return self._kept[url]
        self._kept[url] = image
        self._bytes += len(image.data)
        while self._bytes > self._kept_bytes and len(self._kept) > 1:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= len(oldest.data)
        return image
