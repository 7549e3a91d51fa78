"""Copies everything from one database into an empty one, and checks that it arrived; neither knows the other's kind.

Tables go one after the other, so that no row comes before one that it refers to, and each in the order of its primary
key. With every batch the target stores how far it has got, so a copy that was killed is resumed by asking for the
same one again. Until everything is checked, ``COPYING`` stands where the target keeps the revision of its schema, and
no server opens it.

Workers are left out: those of the source have no part in the target. The runs they had are found without a worker
there, and resumed by the first server that starts.
"""

import hashlib
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias

import msgspec
import sqlalchemy as sa

from tertulia.domain.errors import CopyFailed
from tertulia.domain.messages import Message
from tertulia.store.schema import COPYING, SCHEMA_REVISION
from tertulia.store.sql.messages import searched_text
from tertulia.store.sql.plain_nouns import all_tables
from tertulia.store.sql.tables import messages, workers

Row: TypeAlias = tuple[Any, ...]
"""The values of a table's columns: str, int, bool, bytes or None, the same for every kind of database."""

TABLES: Final = tuple(table for table in all_tables() if table is not workers)

BATCH_ROWS: Final = 1000
BATCH_BYTES: Final = 4_000_000
"""A batch has so many rows or bytes at most, or one row."""

_canonical: Final = msgspec.msgpack.Encoder().encode
_decode_message: Final = msgspec.json.Decoder(Message).decode


class Mark(msgspec.Struct, frozen=True):
    """How far a copy has got: all tables before ``table``, that one up to ``key``, ``rows`` altogether."""

    table: str
    key: tuple[str | int, ...]
    rows: int


class Source(Protocol):
    """A database that nobody changes as long as this is open. Methods raise ``StoreUnavailable`` if it goes away."""

    @property
    def place(self) -> str:
        """Where it is, without secrets."""
        ...

    async def count(self, table: sa.Table) -> int: ...
    def batches(self, table: sa.Table, after: tuple[str | int, ...] | None = None) -> AsyncGenerator[list[Row]]:
        """The rows in the order of the primary key, texts by code point; those after a key."""
        ...

    async def close(self) -> None: ...


class Target(Source, Protocol):
    """A database that is copied into, held against servers and other copies as long as this is open."""

    async def begin(self, source: str) -> Mark | None:
        """Mark it as the target of this copy; how far that has got already.

        :raises CopyFailed: if it holds anything else.
        """
        ...

    async def add(self, table: sa.Table, rows: Sequence[Row], mark: Mark) -> None:
        """Store the rows and the mark, or neither.

        :raises CopyFailed: naming a row that cannot be stored here.
        """
        ...

    async def finish(self) -> None:
        """Let servers open it. New rows get numbers beyond the copied ones."""
        ...


@dataclass(frozen=True, slots=True)
class Checksum:
    """What a table holds; ``digest`` is SHA-256 over all rows and values in order."""

    rows: int
    digest: str


Tell: TypeAlias = Callable[[str, int, int], None]
"""Told what is being done, how many rows of it are done, and how many there are."""


async def copy(source: Source, target: Target, tell: Tell) -> dict[str, Checksum]:
    """Copy what is not there yet, check everything, and release the target to servers. What each table holds.

    :raises CopyFailed: if the target holds anything else, cannot hold a row, or has not the same in the end.
    :raises StoreUnavailable: if either goes away; the same copy can be asked for again.
    """
    mark = await target.begin(source.place)
    total = sum([await source.count(table) for table in TABLES])
    await _fill(source, target, mark, lambda rows: tell("Copying", rows, total))
    found = await _check(source, target, lambda rows: tell("Checking", rows, 2 * total))
    await target.finish()
    return found


async def _fill(source: Source, target: Target, mark: Mark | None, tell: Callable[[int], None]) -> None:
    names = [table.name for table in TABLES]
    begun = names.index(mark.table) if mark else 0
    done = mark.rows if mark else 0
    tell(done)
    for table in TABLES[begun:]:
        after = mark.key if mark and mark.table == table.name else None
        async with aclosing(source.batches(table, after)) as batches:
            async for rows in batches:
                done += len(rows)
                # SQLAlchemy's names are of a class of their own.
                await target.add(table, rows, Mark(str(table.name), key_of(table, rows[-1]), done))
                tell(done)


async def _check(source: Source, target: Target, tell: Callable[[int], None]) -> dict[str, Checksum]:
    done = 0

    def add(rows: int) -> None:
        nonlocal done
        done += rows
        tell(done)

    found: dict[str, Checksum] = {}
    wrong: list[str] = []
    for table in TABLES:
        wanted = await checksum(source, table, add)
        arrived = found[table.name] = await checksum(target, table, add)
        if arrived.rows != wanted.rows:
            wrong.append(f"{table.name} has {arrived.rows} rows instead of {wanted.rows}")
        elif arrived != wanted:
            wrong.append(f"{table.name} has a row with different content")
    if wrong:
        raise CopyFailed(
            f"What is in {target.place} is not what is in {source.place}: {'; '.join(wrong)}. One of them was "
            "changed after the copy started. Empty the target and copy again; until then no server opens it."
        )
    return found


async def checksum(database: Source, table: sa.Table, tell: Callable[[int], None]) -> Checksum:
    digest, count = hashlib.sha256(), 0
    async with aclosing(database.batches(table)) as batches:
        async for rows in batches:
            for row in rows:
                digest.update(_canonical(row))
            count += len(rows)
            tell(len(rows))
    return Checksum(count, digest.hexdigest())


def key_columns(table: sa.Table) -> list[sa.Column[Any]]:
    return list(table.primary_key.columns)


def key_of(table: sa.Table, row: Row) -> tuple[str | int, ...]:
    places = {column.name: place for place, column in enumerate(table.columns)}
    return tuple(row[places[column.name]] for column in key_columns(table))


def weight(row: Row) -> int:
    """About how many bytes it has."""
    return sum(len(value) for value in row if isinstance(value, (str, bytes)))


def check_revision(revision: str | None, place: str, url: str) -> None:
    """:raises CopyFailed: if a source at this revision cannot be copied."""
    if revision == COPYING:
        raise CopyFailed(f"{place} is itself the target of a copy that is not finished.")
    if revision is None:
        raise CopyFailed(f"{place} has nothing of Tertulia's in it.")
    if revision != SCHEMA_REVISION:
        raise CopyFailed(
            f"{place} has the schema {revision}, and this version copies {SCHEMA_REVISION}. If it is older, "
            f"`tertulia migrate up --db {url}` brings it there."
        )


def mark_of(begun: Sequence[str | None], source: str, place: str) -> Mark | None:
    """How far a copy into ``place`` has got. ``begun`` is what is stored of it: source, revision and mark.

    :raises CopyFailed: if that is another copy.
    """
    its_source, revision, mark = begun
    if its_source != source:
        raise CopyFailed(
            f"{place} holds part of a copy of {its_source}. Copy from there again to resume, or empty the target."
        )
    if revision != SCHEMA_REVISION:
        raise CopyFailed(
            f"{place} holds part of a copy by another version of Tertulia (schema {revision}). Resume it with that "
            "version, or empty the target and start over."
        )
    return None if mark is None else msgspec.json.decode(mark, type=Mark)


def search_texts(rows: Sequence[Row], *, bare: bool) -> list[str]:
    """What is searched of each row of ``messages``; ``bare`` is how Postgres keeps it."""
    places = {column.name: place for place, column in enumerate(messages.columns)}
    body, position = places["body"], places["position"]
    return [searched_text(_decode_message(row[body]), row[position], bare=bare) for row in rows]
