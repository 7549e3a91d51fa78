"""A short life of one server with unmodified clients, on both databases; see bench/life."""

import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from bench.life.clients import clients
from bench.life.running import Part, Plan, life
from tertulia.store.postgres import embedded as embedded_pg
from tests.support.databases import FAST, bare_database, shared_directory

TERTULIA = Path(sys.executable).parent / "tertulia"
FEW = 20
"""One header more with each stream, and `http.client` would not read the 94th, nor `fetch` the 508th."""


@pytest.fixture
def postgres() -> Iterator[str]:
    server = embedded_pg.start(shared_directory(), FAST)
    with bare_database(server.url, f"life_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}") as url:
        yield url
    server.close()


def lived(folder: Path, counted: Mapping[str, int], *serve: str) -> list[str]:
    """What is wrong after so many streams of these clients, and some plain replies."""
    parts = [Part(client=each, streams=counted[each.name], plain=FEW) for each in clients() if each.name in counted]
    outcome = life(TERTULIA, folder, serve, Plan(parts=parts, rehearsal=FEW))
    assert outcome.messages == sum(part.streams + part.plain for part in parts) + 2 * FEW
    return outcome.wrong


def test_each_client_gets_the_last_reply_like_the_first_and_leaves_nothing_behind(tmp_path: Path) -> None:
    assert lived(tmp_path, {"http.client": 110, "fetch": 530, "Python SDK": FEW, "TypeScript SDK": FEW}) == []


def test_each_client_gets_the_last_reply_like_the_first_on_postgres_too(tmp_path: Path, postgres: str) -> None:
    assert lived(tmp_path, {"http.client": 110, "TypeScript SDK": FEW}, "--db", postgres) == []
