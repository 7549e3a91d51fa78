import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

import pytest

from tertulia.ports.signals import Topic
from tertulia.store.postgres.signals import PgSignals, payloads
from tests.support.databases import Database, execute

KILL_LISTENERS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"  # fmt: skip  # noqa: E501  one statement


class Heard:
    """What a listener was told, in order."""

    def __init__(self, signals: PgSignals, topic: Topic) -> None:
        self.told: list[Sequence[str] | None] = []
        self._more = asyncio.Event()
        signals.subscribe(topic, self._hear)

    def _hear(self, ids: Sequence[str] | None) -> None:
        self.told.append(ids)
        self._more.set()

    async def until(self, enough: Callable[[], bool]) -> None:
        while not enough():
            self._more.clear()
            await self._more.wait()

    @property
    def ids(self) -> set[str]:
        return {id_ for ids in self.told if ids is not None for id_ in ids}


@pytest.fixture
async def two(database: Database) -> AsyncIterator[tuple[PgSignals, PgSignals]]:
    one, other = PgSignals(database.url), PgSignals(database.url)
    await one.start()
    await other.start()
    yield one, other
    await one.close()
    await other.close()


async def test_what_one_worker_publishes_the_others_hear_by_topic(two: tuple[PgSignals, PgSignals]) -> None:
    one, other = two
    events, cancels, own = Heard(other, "events"), Heard(other, "cancel"), Heard(one, "events")
    one.publish("events", ["run-1", "run-2"])
    one.publish("events", ["run-1"])
    one.publish("cancel", ["run-3"])
    await events.until(lambda: bool(events.told))
    await cancels.until(lambda: bool(cancels.told))
    assert events.told == [["run-1", "run-2"]]
    assert cancels.told == [["run-3"]]
    assert own.told == []


async def test_more_than_a_notification_holds_is_told_in_several(two: tuple[PgSignals, PgSignals]) -> None:
    ids = [f"run-{number:036}" for number in range(1000)]
    heard = Heard(two[1], "events")
    two[0].publish("events", ids)
    await heard.until(lambda: len(heard.ids) == 1000)
    assert heard.ids == set(ids)
    assert all(len(line.encode()) < 8000 for line in payloads({"events": dict.fromkeys(ids)}))


async def test_more_than_can_be_kept_is_told_as_anything(two: tuple[PgSignals, PgSignals]) -> None:
    heard = Heard(two[1], "events")
    two[0].publish("events", [f"run-{number}" for number in range(5001)])
    await heard.until(lambda: bool(heard.told))
    assert heard.told == [None]


async def test_a_connection_that_broke_is_made_again_and_listeners_look_at_everything(
    database: Database, two: tuple[PgSignals, PgSignals]
) -> None:
    heard = Heard(two[1], "events")
    await execute(database.url, KILL_LISTENERS)
    two[0].publish("events", ["run-1"])
    # Whichever of the two is back first: the listener is told to look, or hears of it.
    await heard.until(lambda: None in heard.told)
    two[0].publish("events", ["run-2"])
    await heard.until(lambda: "run-2" in heard.ids)


async def test_closing_sends_what_was_published_before(database: Database) -> None:
    one, other = PgSignals(database.url), PgSignals(database.url)
    heard = Heard(other, "providers")
    await one.start()
    await other.start()
    one.publish("providers", ["provider-1"])
    await one.close()
    await heard.until(lambda: bool(heard.told))
    assert heard.told == [["provider-1"]]
    await other.close()
    await other.close()


async def test_signals_that_are_closed_while_the_database_is_away_let_go(database: Database) -> None:
    signals = PgSignals("postgresql://user@127.0.0.1:1/nowhere")
    starting = asyncio.create_task(signals.start())
    await asyncio.sleep(0)
    await signals.close()
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
