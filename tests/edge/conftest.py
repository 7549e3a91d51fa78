"""The connections of a server over loopback sockets, within small limits, and the API behind them."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Any, TypeAlias

import pytest
from uvicorn.config import Config
from uvicorn.server import ServerState

from tertulia.api.deps import ApiSettings
from tertulia.api.router import build_api
from tertulia.app import close_services
from tertulia.edge.connection import Connection
from tertulia.edge.house import House
from tertulia.edge.limits import Limits
from tertulia.store.sqlite.store import open_sqlite
from tests.support.raw_client import RawClient
from tests.support.scripted import ScriptedCatalogue
from tests.support.services import services_over
from tests.support.sqlite_files import with_tables

Application: TypeAlias = Callable[[Any, Any, Any], Awaitable[None]]
Serve: TypeAlias = Callable[..., contextlib.AbstractAsyncContextManager[Callable[[], RawClient]]]


@contextlib.asynccontextmanager
async def served(
    application: Application, state: ServerState | None = None, **limits: Any
) -> AsyncGenerator[Callable[[], RawClient]]:
    """The application behind connections with these limits; what is given makes a client of it."""
    config = Config(application, ws="none", lifespan="off", log_config=None, access_log=False, proxy_headers=False)  # type: ignore[arg-type]
    config.load()
    known, house = state or ServerState(), House(Limits(**limits))
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(config, known, {}, house), "127.0.0.1", 0
    )
    port = server.sockets[0].getsockname()[1]
    try:
        yield lambda: RawClient("127.0.0.1", port)
    finally:
        server.close()
        for connection in tuple(known.connections):
            connection.transport.abort()  # type: ignore[union-attr]
        for task in tuple(known.tasks):
            task.cancel()


@pytest.fixture
def serve() -> Serve:
    return served


@pytest.fixture
def api_settings() -> ApiSettings:
    return ApiSettings()


@pytest.fixture
async def api(tmp_path: Any, api_settings: ApiSettings) -> AsyncIterator[Application]:
    store = await open_sqlite(with_tables(tmp_path / "tertulia.db"))
    services = services_over(store, ScriptedCatalogue(), api=api_settings)
    yield build_api(services)
    await close_services(services)
