"""Ways to ask a provider in tests, and to catch how it fails."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tertulia.domain.errors import ProviderError
    from tertulia.ports.provider import ModelRequest, Provider, ProviderEvent


async def ask(provider: Provider, request: ModelRequest) -> list[ProviderEvent]:
    async with aclosing(provider.stream(request)) as stream:
        return [event async for event in stream]


async def ask_once(provider: Provider, request: ModelRequest) -> list[ProviderEvent]:
    """Ask and close the provider."""
    try:
        return await ask(provider, request)
    finally:
        await provider.close()


async def failure(provider: Provider, kind: type[ProviderError], request: ModelRequest) -> ProviderError:
    """How it fails, which must be just so."""
    with pytest.raises(kind) as caught:
        await ask(provider, request)
    assert type(caught.value) is kind
    return caught.value
