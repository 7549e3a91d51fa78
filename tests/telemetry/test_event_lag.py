"""How far the store is behind what readers were told."""

from pathlib import Path

import pytest

from tertulia.domain.errors import StoreUnavailable
from tertulia.domain.events import RunStarted
from tertulia.ports.telemetry import EventsStored
from tertulia.store.event_log import StoredEventLog
from tertulia.store.sqlite.store import open_sqlite
from tests.support.sqlite_files import with_tables
from tests.support.told import Told

pytestmark = pytest.mark.anyio


async def test_the_log_lags_while_the_store_takes_nothing_and_no_longer(
    tmp_path: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await open_sqlite(with_tables(tmp_path / "tertulia.db"))
    events = StoredEventLog(store, telemetry=told)

    async def fail(_work: object) -> None:
        raise StoreUnavailable("The database cannot be used.")

    assert events.lag == 0
    with monkeypatch.context() as broken:
        broken.setattr(store, "write", fail)
        events.open("run-1").append(RunStarted("run-1", 0.0))
        failed = await told.until(EventsStored)
        assert [flush.count for flush in failed] == [0]
        assert events.lag > 0
    # The run is in no table, so the store refuses its events for good: they are nobody's to wait for.
    await told.until(EventsStored, 2)
    assert events.lag == 0
    await events.close()
    await store.close()
