"""Plain nouns in a store: what every one of them can do, shown on archives."""

from typing import Any

import pytest
from msgspec.structs import replace

from tertulia.domain.archives import Archive
from tertulia.domain.errors import NotFound
from tertulia.domain.ids import new_id
from tertulia.ports.plain import PlainQuery
from tertulia.ports.queries import Page
from tertulia.ports.store import Store
from tertulia.store.copy.copying import TABLES
from tertulia.store.sql.plain_nouns import PLAIN_NOUNS
from tests.contracts.store.makers import START, Work, at


def an_archive(name: str = "sea", **fields: Any) -> Archive:
    given: dict[str, Any] = {"id": new_id("archive"), "name": name, "created_at": START, "updated_at": START}
    return Archive(**given | fields)


async def stored(store: Store, *archives: Archive) -> None:
    for archive in archives:
        await store.write(lambda tx, archive=archive: tx.of(Archive).insert(archive))


async def found(store: Store, **query: Any) -> list[str]:
    return [each.name for each in await store.read(lambda tx: tx.of(Archive).find(PlainQuery(**query)))]


async def test_one_is_read_back_with_every_field(store: Store) -> None:
    archive = an_archive(description="d", embedding="openai/e", metadata={"a": [1, None]}, updated_at=at(3))
    await stored(store, archive)
    assert await store.read(lambda tx: tx.of(Archive).get(archive.id)) == archive


async def test_an_unknown_id_is_not_found(store: Store) -> None:
    works: list[Work] = [
        lambda tx: tx.of(Archive).get("archive-x"),
        lambda tx: tx.of(Archive).delete("archive-x"),
        lambda tx: tx.of(Archive).update(an_archive(id="archive-x")),
    ]
    for work in works:
        with pytest.raises(NotFound, match="Archive not found with id='archive-x'"):
            await store.write(work)


async def test_a_change_is_found_by_its_new_values_alone(store: Store) -> None:
    archive = an_archive("old")
    await stored(store, archive)
    await store.write(lambda tx: tx.of(Archive).update(replace(archive, name="new")))
    assert await found(store, where={"name": "old"}) == []
    assert await found(store, where={"name": "new"}) == ["new"]


async def test_a_deleted_one_is_gone(store: Store) -> None:
    archive = an_archive()
    await stored(store, archive, an_archive("other"))
    await store.write(lambda tx: tx.of(Archive).delete(archive.id))
    assert await found(store) == ["other"]


async def test_a_list_goes_on_after_a_cursor_in_either_order(store: Store) -> None:
    archives = [an_archive(f"n{minute}", created_at=at(minute)) for minute in range(5)]
    await stored(store, *archives)
    assert await found(store, page=Page(limit=2)) == ["n4", "n3"]
    assert await found(store, page=Page(limit=2, after=archives[3].id)) == ["n2", "n1"]
    assert await found(store, page=Page(limit=2, after=archives[1].id, ascending=True)) == ["n2", "n3"]
    assert await found(store, page=Page(limit=2, before=archives[1].id)) == ["n3", "n2"]
    with pytest.raises(NotFound, match="archive-x"):
        await found(store, page=Page(after="archive-x"))


async def test_a_count_heeds_the_filter_and_not_the_page(store: Store) -> None:
    await stored(store, an_archive("a"), an_archive("a"), an_archive("b"))
    query = PlainQuery(where={"name": "a"}, page=Page(limit=1))
    assert await store.read(lambda tx: tx.of(Archive).count(query)) == 2


async def test_a_failed_work_leaves_nothing(store: Store) -> None:
    archive = an_archive()
    with pytest.raises(NotFound):
        await store.write(lambda tx: (tx.of(Archive).insert(archive), tx.of(Archive).get("archive-x")))
    assert await found(store) == []


def test_every_plain_noun_is_copied_from_one_database_to_another() -> None:
    assert {noun.table for noun in PLAIN_NOUNS.values()} <= set(TABLES)
