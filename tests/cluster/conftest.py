"""Servers that share a database, for all tests of a test process: starting them takes longer than most tests."""

import os
from collections.abc import Iterator

import pytest

from tertulia.store.postgres import embedded as embedded_pg
from tests.support.cluster import Cluster
from tests.support.databases import FAST, Database, shared_directory
from tests.support.openai_endpoint import OpenAIEndpoint
from tests.support.server_process import ServerProcess

SERVERS = 3
"""Two that are used, and one that may be on its way up meanwhile."""
STOPPING = {"TERTULIA_SHUTDOWN_GRACE": "0", "TERTULIA_SHUTDOWN_DELAY": "0.5"}
"""No reply gets to end, so that each is handed over."""


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    server = embedded_pg.start(shared_directory(), FAST)
    yield server.url
    server.close()


@pytest.fixture(scope="session")
def running_cluster(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    database = Database.made(postgres, f"cluster_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}")
    with Cluster(tmp_path_factory.mktemp("cluster"), database.url, SERVERS, STOPPING) as cluster:
        yield cluster


@pytest.fixture
def cluster(running_cluster: Cluster) -> Cluster:
    running_cluster.renew()
    return running_cluster


@pytest.fixture
def endpoint(cluster: Cluster) -> OpenAIEndpoint:
    return cluster.endpoint


@pytest.fixture
def servers(cluster: Cluster) -> tuple[ServerProcess, ServerProcess]:
    """Two that are ready."""
    first, second = cluster.members(2)
    return first, second
