"""One endpoint's connection, made when it is first needed."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Final, Protocol

from tertulia.domain.errors import ProviderAuthenticationError, ProviderError, ProviderTimeout
from tertulia.providers.endpoint import EndpointConfig
from tertulia.providers.failures import Subject

if TYPE_CHECKING:
    import httpx2

_DRAIN_SECONDS: Final = 0.25


class Connection(Protocol):
    """Asked for raw replies. ``errors`` are what it, or reading its replies, may raise."""

    @property
    def errors(self) -> tuple[type[Exception], ...]: ...

    async def post(self, path: str, content: bytes, headers: Mapping[str, str]) -> "httpx2.Response": ...
    async def get(self, path: str, timeout: float) -> bytes: ...  # noqa: ASYNC109  the client's own, per request
    async def close(self) -> None: ...

    def failure(self, error: Exception, subject: Subject, *, started: bool = False) -> ProviderError:
        """What one of ``errors`` means. ``started``: part of the reply had already come."""
        ...


class EndpointClient:
    """``module`` is the one that imports the HTTP client, or an SDK, and has a ``Connection`` to make."""

    def __init__(self, config: EndpointConfig, module: str) -> None:
        self._config = config
        self._module = module
        self._connection: Connection | None = None
        self._connecting = asyncio.Lock()

    async def connection(self) -> Connection:
        """The connection; the first call imports its module."""
        if self._connection is not None:
            return self._connection
        async with self._connecting:
            if self._connection is None:
                # In a thread: the import of an SDK takes up to a second, in which the loop has others to serve.
                self._connection = await asyncio.to_thread(self._make)
        return self._connection

    async def post(
        self, path: str, body: bytes, subject: Subject, deadline: float, headers: Mapping[str, str]
    ) -> "httpx2.Response":
        """The reply, begun and unread. ``deadline`` is the ``time.monotonic()`` by which it must have begun.

        :raises ProviderError: if there is none.
        """
        connection = await self.connection()
        try:
            # The client's own limits are for each silence; this one is for all of it.
            async with asyncio.timeout(deadline - time.monotonic()):
                return await connection.post(path, body, headers)
        except TimeoutError as error:
            raise ProviderTimeout(
                f"{subject.name} did not answer within {self._config.idle_timeout:g} seconds. Try again.",
            ) from error
        except connection.errors as error:
            raise connection.failure(error, subject) from error

    async def get(self, path: str, subject: Subject) -> bytes:
        """The body of a reply to GET, tried once.

        :raises ProviderError: if there is none.
        """
        connection = await self.connection()
        try:
            return await connection.get(path, self._config.list_timeout)
        except connection.errors as error:
            raise connection.failure(error, subject) from error

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    def _make(self) -> Connection:
        config = self._config
        check_key(config, config.api_key)
        connection: Connection = import_module(self._module).Connection(config)
        return connection


def check_key(config: EndpointConfig, key: str | None) -> None:
    """:raises ProviderAuthenticationError: if the key cannot go into a header."""
    if key is not None and not (key.isascii() and key.isprintable()):
        raise ProviderAuthenticationError(
            f"The API key for {config.name} contains characters that no key has, perhaps from copying it. "
            f"{config.key_hint}",
        )


async def drain(chunks: AsyncIterator[bytes]) -> None:
    """Take the end of the HTTP message, so that its connection can be used again; it has mostly come already."""
    try:
        async with asyncio.timeout(_DRAIN_SECONDS):
            async for _ in chunks:
                pass
    except TimeoutError:
        return  # the connection is closed instead
