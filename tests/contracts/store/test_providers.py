"""Stored providers in a store."""

from typing import Any

import pytest
from msgspec.structs import replace

from tertulia.domain.errors import NameTaken, NotFound
from tertulia.domain.ids import new_provider_id
from tertulia.domain.providers import StoredProvider
from tertulia.ports.queries import Page, ProviderQuery
from tertulia.ports.store import Store
from tests.contracts.store.makers import START, Work, at


def a_provider(name: str = "lc-openai", **fields: Any) -> StoredProvider:
    defaults: dict[str, Any] = {
        "id": new_provider_id(),
        "name": name,
        "provider_type": "openai",
        "secret": "sealed",
        "created_at": START,
        "updated_at": START,
    }
    return StoredProvider(**defaults | fields)


async def stored(store: Store, *providers: StoredProvider) -> None:
    for provider in providers:
        await store.write(lambda tx, provider=provider: tx.providers.insert(provider))


async def names(store: Store, query: ProviderQuery) -> list[str]:
    return [provider.name for provider in await store.read(lambda tx: tx.providers.find(query))]


async def test_a_provider_is_read_back_with_every_field(store: Store) -> None:
    provider = a_provider(
        base_url="https://example.org/v1", region="eu-west-1", api_version="2025-01-01", last_synced=at(2)
    )
    await stored(store, provider)
    assert await store.read(lambda tx: tx.providers.get(provider.id)) == provider


async def test_an_unknown_provider_is_not_found(store: Store) -> None:
    works: list[Work] = [
        lambda tx: tx.providers.get("provider-x"),
        lambda tx: tx.providers.delete("provider-x"),
        lambda tx: tx.providers.update(a_provider(id="provider-x")),
    ]
    for work in works:
        with pytest.raises(NotFound, match="Provider not found with id='provider-x'"):
            await store.write(work)


async def test_a_second_provider_of_a_name_is_refused(store: Store) -> None:
    await stored(store, a_provider())
    with pytest.raises(NameTaken, match="a provider 'lc-openai' already"):
        await stored(store, a_provider(provider_type="anthropic"))
    assert len(await store.read(lambda tx: tx.providers.all())) == 1


async def test_a_provider_is_changed(store: Store) -> None:
    provider = a_provider()
    await stored(store, provider)
    changed = replace(provider, secret="other", base_url="http://10.0.0.1/v1", updated_at=at(1))
    await store.write(lambda tx: tx.providers.update(changed))
    assert await store.read(lambda tx: tx.providers.get(provider.id)) == changed


async def test_the_name_of_a_deleted_provider_is_free_again(store: Store) -> None:
    provider = a_provider()
    await stored(store, provider)
    await store.write(lambda tx: tx.providers.delete(provider.id))
    await stored(store, a_provider())


async def test_providers_are_listed_newest_first_and_by_name(store: Store) -> None:
    await stored(store, a_provider("b"), a_provider("a", created_at=at(1)), a_provider("c", created_at=at(2)))
    assert await names(store, ProviderQuery()) == ["c", "a", "b"]
    assert [provider.name for provider in await store.read(lambda tx: tx.providers.all())] == ["a", "b", "c"]


async def test_providers_are_filtered_and_paged(store: Store) -> None:
    first, second = a_provider("a"), a_provider("b", provider_type="groq", created_at=at(1))
    await stored(store, first, second)
    assert await names(store, ProviderQuery(name="a")) == ["a"]
    assert await names(store, ProviderQuery(provider_type="groq")) == ["b"]
    assert await names(store, ProviderQuery(name="a", provider_type="groq")) == []
    assert await names(store, ProviderQuery(page=Page(limit=1))) == ["b"]
    assert await names(store, ProviderQuery(page=Page(after=second.id))) == ["a"]
    assert await names(store, ProviderQuery(page=Page(before=second.id, ascending=True))) == ["a"]
    with pytest.raises(NotFound, match="provider-x"):
        await names(store, ProviderQuery(page=Page(after="provider-x")))
