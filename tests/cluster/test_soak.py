"""A short soak: messages whose runs call tools, workers that are killed and frozen meanwhile; see bench/soak."""

import os
from pathlib import Path

from bench.soak.running import Plan, soak
from tests.support.databases import Database
from tests.support.server_process import ForkedServer


def test_nothing_is_lost_doubled_or_stuck_while_workers_are_killed(postgres: str, tmp_path: Path) -> None:
    database = Database.made(postgres, f"soak_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}")
    outcome = soak(tmp_path, database.url, Plan(conversations=8, messages=40, kill_every=1.5, kind=ForkedServer))
    assert outcome.wrong == []
    assert outcome.sent == 40
    assert outcome.trouble.kills + outcome.trouble.freezes > 0
