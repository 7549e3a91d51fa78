"""What tests of adapters on real sockets share."""

from collections.abc import AsyncGenerator

import pytest

from tests.support.raw_http import RawServer


@pytest.fixture
async def server() -> AsyncGenerator[RawServer, None]:
    async with RawServer() as server:
        yield server
