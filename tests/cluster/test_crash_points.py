"""A worker that is killed at some point of a run: another one takes the run over, and nothing is doubled.

All points there are, with a server that is started again: tests/processes.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest

from tertulia.ports.faults import Point
from tests.support.cluster import Cluster
from tests.support.crash_points import POINTS, MatteringPoints
from tests.support.crashes import Crash
from tests.support.openai_endpoint import OpenAIEndpoint
from tests.support.server_process import ServerProcess

MATTERING = {"during_stream", "call_noted", "during_call", "before_end_stored"}


@dataclass(slots=True)
class TakenOver(Crash):
    """A worker that stays dead, and one that is asked from then on."""

    def after_death(self) -> None:
        """The others are there already."""


@pytest.fixture
def crash(cluster: Cluster, servers: tuple[ServerProcess, ServerProcess]) -> Iterator[TakenOver]:
    dying, heir = servers
    with httpx.Client(base_url=heir.url, timeout=30, verify=False) as http:
        yield TakenOver(dying, cluster.fault_file(dying), http, cluster.effects)


class TestAKillAndATakeover(MatteringPoints):
    """The points at which it matters that the other worker knows nothing but what is stored."""

    @pytest.mark.parametrize(("point", "once", "interrupted"), [row for row in POINTS if row[0] in MATTERING])
    def test_a_run_goes_on_after_a_kill(
        self, crash: Crash, endpoint: OpenAIEndpoint, point: Point, once: int, *, interrupted: bool
    ) -> None:
        super().test_a_run_goes_on_after_a_kill(crash, endpoint, point, once, interrupted=interrupted)

    @pytest.mark.parametrize(("point", "once"), [("during_call", 1)])
    def test_an_approved_call_is_not_run_twice(
        self, crash: Crash, endpoint: OpenAIEndpoint, point: Point, once: int
    ) -> None:
        super().test_an_approved_call_is_not_run_twice(crash, endpoint, point, once)
