"""A server that is killed at each point of a run and started again: the run goes on to its end, and nothing is doubled.

The rows of the table in docs/ARCHITECTURE.md. What another worker makes of it: tests/cluster.
"""

from collections.abc import Iterator

import httpx
import pytest

from tests.support.crash_points import CrashPoints
from tests.support.crashes import FAULTY, Crash, environment_of
from tests.support.openai_endpoint import OpenAIEndpoint
from tests.support.server_process import ForkedServer


class StartedAgain(Crash):
    """A server on SQLite that is started again when it has died."""

    def after_death(self) -> None:
        self.server.start()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[OpenAIEndpoint, StartedAgain]]:
    folder = tmp_path_factory.mktemp("crashes")
    effects, fault_file = folder / "effects", folder / "fault"
    with OpenAIEndpoint() as endpoint:
        environment = environment_of(endpoint, effects, fault_file)
        with (
            ForkedServer(folder / "data", environment, module=FAULTY) as server,
            httpx.Client(base_url=server.url, timeout=30, verify=False) as http,
        ):
            yield endpoint, StartedAgain(server, fault_file, http, effects)


@pytest.fixture
def endpoint(running: tuple[OpenAIEndpoint, StartedAgain]) -> OpenAIEndpoint:
    running[0].reset()
    return running[0]


@pytest.fixture
def crash(running: tuple[OpenAIEndpoint, StartedAgain]) -> StartedAgain:
    running[1].effects.write_text("")
    return running[1]


class TestAKillAndAStart(CrashPoints):
    """All of them."""
