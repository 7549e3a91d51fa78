"""A plain noun as a table: a JSON ``body`` beside the columns it is found and sorted by, all from one declaration."""

from collections.abc import Sequence
from typing import Any, Generic, TypeVar

import msgspec
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from tertulia.domain.errors import NameTaken, NotFound
from tertulia.ports.plain import Plain, PlainQuery
from tertulia.store.sql.pages import Order, fetch_page
from tertulia.store.sql.session import Session
from tertulia.store.sql.tables import microseconds

P = TypeVar("P", bound=Plain)

_COLLATED = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def new_plain_table(name: str, *found_by: str, unique: str | None = None) -> sa.Table:
    """The table of a plain noun for a migration to make. What is made of these arguments never changes."""
    return _table(name, found_by, unique, sa.MetaData(), _COLLATED)


def _table(
    name: str, found_by: Sequence[str], unique: str | None, metadata: sa.MetaData, text: sa.types.TypeEngine[str]
) -> sa.Table:
    return sa.Table(
        name,
        metadata,
        sa.Column("id", text, primary_key=True),
        *(sa.Column(field, text, unique=field == unique) for field in found_by),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("body", text, nullable=False),
        sa.Index(f"{name}_created", "created_at", "id"),
        *(sa.Index(f"{name}_{field}", field, "created_at") for field in found_by if field != unique),
    )


class PlainNoun(Generic[P]):
    """The declaration of a plain noun: its struct, its table, and its fields of text that lists are filtered by.

    ``unique`` is the one of ``found_by`` that no two rows share, if there is one. ``name`` is what clients know it as;
    the name of the struct where that is the same.
    """

    def __init__(
        self,
        struct: type[P],
        table: str,
        metadata: sa.MetaData,
        *found_by: str,
        unique: str | None = None,
        name: str | None = None,
    ) -> None:
        self.struct = struct
        self.name = name or struct.__name__
        self.table = _table(table, found_by, unique, metadata, sa.Text())
        self.unique = unique
        self.found_by = found_by
        self.order = Order(self.table.c.created_at, self.table.c.id)
        self.locked = f"SELECT body FROM {table} WHERE id = ?"  # noqa: S608  a name of ours
        self.encode = msgspec.json.Encoder().encode
        self.decode = msgspec.json.Decoder(struct).decode

    def row(self, noun: P) -> dict[str, Any]:
        return {
            "id": noun.id,
            **{field: getattr(noun, field) for field in self.found_by},
            "created_at": microseconds(noun.created_at),
            "body": self.encode(noun).decode(),
        }


class SqlPlainNouns(Generic[P]):
    """Implements :class:`~tertulia.ports.plain.PlainNouns` for whatever was declared."""

    def __init__(self, session: Session, noun: PlainNoun[P]) -> None:
        self._session = session
        self._noun = noun
        self._table = noun.table

    def insert(self, noun: P) -> None:
        self._write(sa.insert(self._table), noun)

    def get(self, id_: str) -> P:
        row = self._session.row(self._session.locking(self._noun.locked, "FOR NO KEY UPDATE"), id_)
        if row is None:
            raise NotFound(self._noun.name, id_)
        return self._noun.decode(row[0])

    def get_many(self, ids: Sequence[str]) -> list[P]:
        found = self._session.select(sa.select(self._table.c.id, self._table.c.body).where(self._table.c.id.in_(ids)))
        bodies: dict[str, str] = {row.id: row.body for row in found}
        return [self._noun.decode(bodies[id_]) for id_ in ids if id_ in bodies]

    def keys(self, field: str) -> list[tuple[str, str]]:
        columns = sa.select(self._table.c.id, self._table.c[field])
        rows = self._session.select(columns.order_by(self._table.c.created_at, self._table.c.id))
        return [(row[0], row[1]) for row in rows]

    def update(self, noun: P) -> None:
        if not self._write(sa.update(self._table).where(self._table.c.id == noun.id), noun):
            raise NotFound(self._noun.name, noun.id)

    def delete(self, id_: str) -> None:
        if not self._session.change(sa.delete(self._table).where(self._table.c.id == id_)):
            raise NotFound(self._noun.name, id_)

    def find(self, query: PlainQuery) -> list[P]:
        statement = sa.select(self._table.c.body).where(*self._conditions(query))
        bodies = fetch_page(self._session, statement, self._noun.order, query.page, self._noun.name)
        return [self._noun.decode(body) for body in bodies]

    def count(self, query: PlainQuery) -> int:
        statement = sa.select(sa.func.count()).select_from(self._table).where(*self._conditions(query))
        return self._session.first_column(statement)[0]

    def _conditions(self, query: PlainQuery) -> list[sa.ColumnElement[bool]]:
        return [self._table.c[field] == value for field, value in query.where.items() if value is not None]

    def _write(self, statement: sa.Insert | sa.Update, noun: P) -> int:
        try:
            return self._session.change(statement, self._noun.row(noun))
        except IntegrityError as error:
            if self._noun.unique is None:
                raise
            raise NameTaken(self._noun.name.lower(), getattr(noun, self._noun.unique)) from error
