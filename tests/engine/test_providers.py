"""Stored providers: several workers on one database, keys that change, tokens that are renewed."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from tertulia.domain.errors import InvalidArgument, NameTaken
from tertulia.domain.providers import Credentials, ProviderAccount
from tertulia.engine.stored_providers import StoredProviders
from tertulia.ports.accounts import Keeper
from tertulia.ports.signals import Listener, NoSignals, Signals, Topic
from tertulia.ports.store import Store
from tertulia.providers.accounts import ProviderAccounts
from tertulia.providers.catalogue import ProviderCatalogue
from tertulia.settings import ProviderSettings
from tertulia.store.secrets import FernetSecrets
from tertulia.store.sqlite.store import open_sqlite
from tests.support.scripted import ScriptedProvider
from tests.support.sqlite_files import with_tables

OLD, NEW = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=", "MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI="
ACCOUNT = ProviderAccount(
    name="box", provider_type="vllm", base_url="http://127.0.0.1:9", credentials=Credentials(api_key="k")
)


class Bus(Signals):
    """Tells every subscriber at once, the one that publishes too."""

    def __init__(self) -> None:
        self._listeners: list[Listener] = []

    def publish(self, topic: Topic, ids: Sequence[str]) -> None:
        for listener in self._listeners:
            listener(ids)

    def subscribe(self, topic: Topic, listener: Listener) -> None:
        self._listeners.append(listener)

    async def start(self) -> None: ...
    async def close(self) -> None: ...


class Keepers(ProviderAccounts):
    """Remembers who keeps the credentials of each account, and when it was put."""

    def __init__(self, catalogue: ProviderCatalogue) -> None:
        super().__init__(catalogue, ProviderSettings())
        self.keepers: list[Keeper] = []
        self.changed: Callable[[], None] = lambda: None

    def put_account(self, account: ProviderAccount, keeper: Keeper) -> None:
        super().put_account(account, keeper)
        self.keepers.append(keeper)
        self.changed()


class Worker:
    def __init__(self, store: Store, *, keys: Sequence[str] = (NEW,), signals: Signals | None = None) -> None:
        self.catalogue = ProviderCatalogue((ScriptedProvider(),), None)
        self.accounts = Keepers(self.catalogue)
        self.providers = StoredProviders(store, FernetSecrets(keys, None), self.accounts, signals or NoSignals())

    def knows(self, handle: str) -> bool:
        try:
            self.catalogue.resolve(handle)
        except InvalidArgument:
            return False
        return True


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await open_sqlite(with_tables(tmp_path / "t.db"))
    yield opened
    await opened.close()


async def test_other_workers_learn_of_each_change(store: Store) -> None:
    here, there = Worker(store), Worker(store)
    made = await here.providers.create(ACCOUNT)
    assert here.knows("box/m")
    assert not there.knows("box/m")
    await there.providers.refresh()
    assert there.knows("box/m")
    await there.providers.update(made.id, {"base_url": "http://127.0.0.1:8", "api_key": "k"})
    await here.providers.refresh()
    assert here.catalogue.resolve("box/m")[1].endpoint == "http://127.0.0.1:8/v1"
    await here.providers.delete(made.id)
    await there.providers.refresh()
    assert not there.knows("box/m")


async def test_a_signal_wakes_the_other_workers(store: Store) -> None:
    bus, learned = Bus(), asyncio.Event()
    here, there = Worker(store, signals=bus), Worker(store, signals=bus)
    there.accounts.changed = learned.set
    looking = asyncio.create_task(there.providers.keep_up(seconds=3600))
    await here.providers.create(ACCOUNT)
    await learned.wait()
    assert there.knows("box/m")
    looking.cancel()


async def test_a_worker_looks_by_itself_where_a_signal_was_lost(store: Store) -> None:
    here, there, learned = Worker(store), Worker(store), asyncio.Event()
    there.accounts.changed = learned.set
    looking = asyncio.create_task(there.providers.keep_up(seconds=0))
    await here.providers.create(ACCOUNT)
    await learned.wait()
    looking.cancel()


async def test_what_did_not_change_is_left_as_it_is(store: Store) -> None:
    worker = Worker(store)
    await worker.providers.create(ACCOUNT)
    provider = worker.catalogue.resolve("box/m")[0]
    await worker.providers.create(ProviderAccount(name="two", provider_type="vllm", base_url="http://127.0.0.1:8"))
    assert worker.catalogue.resolve("box/m")[0] is provider


async def test_of_two_workers_that_store_a_name_at_once_one_is_told(store: Store) -> None:
    here, there = Worker(store), Worker(store)
    outcomes = await asyncio.gather(
        here.providers.create(ACCOUNT), there.providers.create(ACCOUNT), return_exceptions=True
    )
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["NameTaken", "StoredProvider"]


async def test_the_name_of_a_configured_provider_is_taken(store: Store) -> None:
    with pytest.raises(NameTaken, match="settings have it"):
        await Worker(store).providers.create(replace_name(ACCOUNT, ScriptedProvider().name))


def replace_name(account: ProviderAccount, name: str) -> ProviderAccount:
    return ProviderAccount(name=name, provider_type=account.provider_type, base_url=account.base_url)


async def test_a_provider_that_was_stored_before_one_of_its_name_was_configured_gives_way(store: Store) -> None:
    made = await Worker(store).providers.create(ACCOUNT)
    await store.write(lambda tx: tx.providers.update(replace(made, name=ScriptedProvider().name)))
    worker = Worker(store)
    await worker.providers.open()
    assert worker.catalogue.resolve(f"{ScriptedProvider().name}/m")[1].provider_category == "base"
    assert len({card.handle for card in await worker.catalogue.models()}) == len(await worker.catalogue.models())


async def test_at_start_everything_is_encrypted_under_the_newest_key(store: Store) -> None:
    made = await Worker(store, keys=[OLD]).providers.create(ACCOUNT)
    await Worker(store, keys=[NEW, OLD]).providers.open()
    worker = Worker(store, keys=[NEW])
    await worker.providers.open()
    assert worker.knows("box/m")
    stored = await worker.providers.get(made.id)
    assert (stored.secret != made.secret, stored.updated_at) == (True, made.updated_at)


async def test_a_server_without_the_key_starts_and_says_what_is_wrong(store: Store) -> None:
    await Worker(store, keys=[OLD]).providers.create(ACCOUNT)
    worker = Worker(store, keys=[NEW])
    await worker.providers.create(replace_name(ACCOUNT, "other"))
    await worker.providers.open()
    assert worker.knows("other/m")
    with pytest.raises(InvalidArgument, match=r"of the provider 'box' cannot be decrypted.*TERTULIA_SECRET_KEY"):
        worker.catalogue.resolve("box/m")


class TestRenewedCredentials:
    async def test_they_are_kept_and_the_provider_that_renewed_them_goes_on(self, store: Store) -> None:
        worker = Worker(store)
        made = await worker.providers.create(ACCOUNT)
        provider, keeper = worker.catalogue.resolve("box/m")[0], worker.accounts.keepers[-1]
        await keeper.save(Credentials(api_key="renewed"))
        await keeper.save(Credentials(api_key="renewed again"))
        await worker.providers.refresh()
        assert worker.catalogue.resolve("box/m")[0] is provider
        kept = await worker.providers.credentials(made.id)
        assert kept is not None
        assert kept[1] == Credentials(api_key="renewed again")
        assert "renewed" not in kept[0]

    async def test_another_worker_is_given_them(self, store: Store) -> None:
        here, there = Worker(store), Worker(store)
        await here.providers.create(ACCOUNT)
        await there.providers.refresh()
        await here.accounts.keepers[-1].save(Credentials(api_key="renewed"))
        keeper = there.accounts.keepers[-1]
        assert await keeper.load() == Credentials(api_key="renewed")
        await keeper.save(Credentials(api_key="renewed there"))
        assert await here.accounts.keepers[-1].load() == Credentials(api_key="renewed there")

    async def test_they_never_replace_what_a_user_stored_meanwhile(self, store: Store) -> None:
        worker = Worker(store)
        made = await worker.providers.create(ACCOUNT)
        keeper = worker.accounts.keepers[-1]
        await worker.providers.update(made.id, {"api_key": "by the user"})
        await keeper.save(Credentials(api_key="renewed"))
        kept = await worker.providers.credentials(made.id)
        assert kept is not None
        assert kept[1] == Credentials(api_key="by the user")

    async def test_those_of_a_deleted_provider_are_kept_nowhere(self, store: Store) -> None:
        worker = Worker(store)
        made = await worker.providers.create(ACCOUNT)
        keeper = worker.accounts.keepers[-1]
        await worker.providers.delete(made.id)
        await keeper.save(Credentials(api_key="renewed"))
        assert await keeper.load() is None
        assert await store.read(lambda tx: tx.providers.all()) == []


def test_credentials_do_not_show_in_a_log() -> None:
    assert "secret" not in repr(Credentials(api_key="secret")) + repr(
        ProviderAccount(name="a", provider_type="b", credentials=Credentials(api_key="secret"))
    )
