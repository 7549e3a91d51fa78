"""What holds for every test: asyncio only, no keys from the environment, nothing outside this machine is reached."""

import contextlib
import ipaddress
import os
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from tertulia.domain.provider_types import PROVIDER_TYPES
from tertulia.engine.lifecycle.settings import RunSettings
from tertulia.ports.telemetry import Telemetry
from tertulia.store.postgres import embedded as embedded_pg
from tertulia.store.sqlite.store import open_sqlite
from tests.support.databases import remove_shared_directory
from tests.support.module_state import ModuleState
from tests.support.scripted import ScriptedCatalogue
from tests.support.services import services_over
from tests.support.sqlite_files import with_tables
from tests.support.world import World

LIVE = os.environ.get("TERTULIA_LIVE") == "1"
"""Whether `tests/live` may ask real providers."""

# Whatever a provider's variable begins with its SDK may read more of.
_OF_PROVIDERS = {f"{name.split('_')[0]}_" for row in PROVIDER_TYPES for name in row.variables}
_FORGOTTEN = ("LETTA_", "OTEL_", "TERTULIA_", *_OF_PROVIDERS)
_LOOPBACK_HOSTS = {"", "localhost", "127.0.0.1", "::1", "0.0.0.0", "::", None, b"localhost", b"127.0.0.1"}


def _is_number(host: object) -> bool:
    try:
        ipaddress.ip_address(str(host))
    except ValueError:
        return False
    return True


class Guard:
    """Audit hook: a test that would leave this machine fails at the call that tries. ``open`` is for `tests/live`."""

    open = False

    def __call__(self, event: str, arguments: tuple[object, ...]) -> None:
        if not self.open:
            _refuse_other_hosts(event, arguments)


def _refuse_other_hosts(event: str, arguments: tuple[object, ...]) -> None:
    if event == "socket.getaddrinfo":
        host = arguments[0]
        if _is_number(host):
            return  # nobody is asked
    elif event == "socket.connect" and isinstance(arguments[1], tuple):
        host = arguments[1][0]  # pyright: ignore[reportUnknownVariableType]  an address tuple is not typed further
    else:
        return
    if host not in _LOOPBACK_HOSTS and not str(host).startswith("127."):  # pyright: ignore[reportUnknownArgumentType]
        message = f"a test tried to reach {host!r}; tests stay on the loopback interface"
        raise RuntimeError(message)


# Child processes are not covered by the hook. They inherit no key and no address, and what they would send to any other
# host goes to a proxy that is not there.
_forgotten = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith(_FORGOTTEN)}
_NO_PROXY_THERE = "http://127.0.0.1:9"
_CHILDREN = {
    "AWS_EC2_METADATA_DISABLED": "true",
    "HTTP_PROXY": _NO_PROXY_THERE,
    "HTTPS_PROXY": _NO_PROXY_THERE,
    "ALL_PROXY": _NO_PROXY_THERE,
    "NO_PROXY": "localhost,127.0.0.1,::1",
}
REMEMBERED = {name: os.environ.get(name, "") for name in (*_CHILDREN, *map(str.lower, _CHILDREN))} | _forgotten
os.environ |= _CHILDREN | {name.lower(): value for name, value in _CHILDREN.items() if name.endswith("PROXY")}
# Where Python was told to keep no compiled code, each of some hundred servers that tests start would compile all of it
# anew, and each test process every test: half of all the time there is.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
GUARD = Guard()
sys.addaudithook(GUARD)
if programs := REMEMBERED.get("TERTULIA_TEST_POSTGRES"):
    # Databases of the tests' own making, crashed ones included, are then of that version.
    setattr(embedded_pg, "_programs", lambda: Path(str(programs)))  # noqa: B010  private, for this is no setting


def pytest_unconfigure(config: pytest.Config) -> None:
    """The test processes have ended, and their database with them."""
    if not hasattr(config, "workerinput"):
        remove_shared_directory()


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True, scope="session")
def clean_working_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A `.env` file in the directory the tests are started from must not configure them."""
    with contextlib.chdir(tmp_path_factory.mktemp("cwd")):
        yield


@pytest.fixture(autouse=True)
def logs_of_commands_stay_theirs(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A command that is run in this process sets up the logs; the loggers it used must not keep that for ever."""
    configure: Any = structlog.configure

    def configure_for_now(**options: Any) -> None:
        configure(**options | {"cache_logger_on_first_use": False})

    monkeypatch.setattr(structlog, "configure", configure_for_now)
    yield
    structlog.reset_defaults()


_STATE = ModuleState()


@pytest.fixture(autouse=True)
def nothing_is_left_in_modules() -> Iterator[None]:
    """What one request leaves in a module the next one finds. A look takes about a millisecond."""
    _STATE.look()
    yield
    assert not (changed := _STATE.look()), f"left changed: {', '.join(changed)}"


@pytest.fixture
def run_settings() -> RunSettings:
    return RunSettings()


@pytest.fixture
def watchers() -> list[Telemetry]:
    """Who is told what happens in the world."""
    return []


@pytest.fixture
async def world(tmp_path: Path, run_settings: RunSettings, watchers: list[Telemetry]) -> AsyncIterator[World]:
    """A whole engine over a real database and a scripted model."""
    store = await open_sqlite(with_tables(tmp_path / "tertulia.db"))
    catalogue = ScriptedCatalogue()
    services = services_over(store, catalogue, runs=run_settings, watchers=watchers)
    await services.runs.open()
    yield World(services, catalogue.provider)
    await services.runs.close()
    await store.close()
