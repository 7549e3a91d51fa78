"""One sandbox of each tier for all tests: what one tool does to it is what the next one would suffer from."""

import asyncio
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tertulia.ports.sandbox import SandboxLimits, SandboxOutcome, SandboxRequest, SandboxTier, SandboxUnavailable
from tertulia.sandbox.service import ConfinedSandbox

T = TypeVar("T")
SMALL = SandboxLimits(wall_time_s=5, cpu_time_s=2, memory_mb=200, processes=20, disk_mb=8, output_bytes=100_000)


class Machine:
    """A sandbox on an event loop of its own, which outlives the tests' loops."""

    def __init__(self, tier: SandboxTier) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.sandbox = ConfinedSandbox(tier=tier, limits=SMALL)

    def do(self, work: Callable[[ConfinedSandbox], Coroutine[Any, Any, T]]) -> T:
        return asyncio.run_coroutine_threadsafe(work(self.sandbox), self._loop).result(30)

    def run(self, source: str, /, *, limits: SandboxLimits = SMALL, **arguments: Any) -> SandboxOutcome:
        """Call the source's function ``tool``."""
        request = SandboxRequest(source=source, function="tool", arguments=arguments, limits=limits)
        return self.do(lambda sandbox: sandbox.run(request))

    def close(self) -> None:
        self.do(lambda sandbox: sandbox.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@pytest.fixture(scope="session", params=["namespaces", "landlock"])
def machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    if sys.platform != "linux":
        pytest.skip("tools are confined on Linux")
    machine = Machine(request.param)
    try:
        machine.do(lambda sandbox: sandbox.tier())
    except SandboxUnavailable as error:
        machine.close()
        pytest.skip(str(error))
    yield machine
    machine.close()


def is_running(word: str) -> bool:
    """Whether there is a process with the word in its command line."""
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if word.encode() in entry.read_bytes():
                return True
        except OSError:
            continue
    return False
