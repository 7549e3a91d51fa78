"""What holds for every test: asyncio only, no keys from the environment, nothing outside this machine is reached."""

import contextlib
import ipaddress
import os
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tertulia.api.deps import ApiSettings
from tertulia.app import services_over
from tertulia.engine.runs import RunSettings
from tertulia.store.sqlite import open_sqlite
from tests.support.scripted import ScriptedCatalogue
from tests.support.world import World

_PROVIDER_VARIABLES = (
    "ANTHROPIC_",
    "LETTA_",
    "LLAMACPP_",
    "LLAMA_CPP_",
    "LMSTUDIO_",
    "MOONSHOT_",
    "OLLAMA_",
    "OPENAI_",
    "TERTULIA_",
    "VLLM_",
)
_LOOPBACK_HOSTS = {"", "localhost", "127.0.0.1", "::1", "0.0.0.0", "::", None, b"localhost", b"127.0.0.1"}


def _is_number(host: object) -> bool:
    try:
        ipaddress.ip_address(str(host))
    except ValueError:
        return False
    return True


def _refuse_other_hosts(event: str, arguments: tuple[object, ...]) -> None:
    """Audit hook: a test that would leave this machine fails at the call that tries."""
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


# Child processes are not covered by the hook, so they inherit no key and no address either.
for _name in [name for name in os.environ if name.startswith(_PROVIDER_VARIABLES)]:
    del os.environ[_name]
sys.addaudithook(_refuse_other_hosts)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True, scope="session")
def clean_working_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A `.env` file in the directory the tests are started from must not configure them."""
    with contextlib.chdir(tmp_path_factory.mktemp("cwd")):
        yield


@pytest.fixture
def run_settings() -> RunSettings:
    return RunSettings()


@pytest.fixture
async def world(tmp_path: Path, run_settings: RunSettings) -> AsyncIterator[World]:
    """A whole engine over a real database and a scripted model."""
    store = await open_sqlite(tmp_path / "tertulia.db")
    catalogue = ScriptedCatalogue()
    services = services_over(store, catalogue, ApiSettings(), run_settings=run_settings)
    yield World(services, catalogue.provider)
    await services.runs.close()
    await store.close()
