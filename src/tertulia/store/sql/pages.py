"""Keyset pagination: a page starts after a row's sort key, so rows added meanwhile neither repeat nor hide any."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from tertulia.domain.errors import NotFound
from tertulia.ports.queries import Page
from tertulia.store.sql.session import Session


@dataclass(frozen=True, slots=True)
class Order:
    """What a list is sorted by: ``key``, then ``id``. Rows without a key come last in both directions."""

    key: sa.ColumnElement[Any]
    id: sa.ColumnElement[str]
    nullable: bool = False

    def clauses(self, *, ascending: bool) -> list[sa.ColumnElement[Any]]:
        columns: list[sa.ColumnElement[Any]]
        columns = [self.key.asc(), self.id.asc()] if ascending else [self.key.desc(), self.id.desc()]
        if not self.nullable:
            return columns
        # Reversed as a whole when a page is read backwards, hence not NULLS LAST.
        return [self.key.is_(None).asc(), *columns]

    def reversed_clauses(self, *, ascending: bool) -> list[sa.ColumnElement[Any]]:
        columns = self.clauses(ascending=not ascending)
        return [self.key.is_(None).desc(), *columns[1:]] if self.nullable else columns

    def beyond(self, key: Any, id_: str, *, ascending: bool) -> sa.ColumnElement[bool]:
        """The rows that come after the row (``key``, ``id_``)."""
        if key is None:
            return self.key.is_(None) & _past(self.id, id_, ascending=ascending)
        later = _past(sa.tuple_(self.key, self.id), (key, id_), ascending=ascending)
        return sa.or_(later, self.key.is_(None)) if self.nullable else later

    def short_of(self, key: Any, id_: str, *, ascending: bool) -> sa.ColumnElement[bool]:
        """The rows that come before the row (``key``, ``id_``)."""
        if key is None:
            return sa.or_(self.key.is_not(None), _past(self.id, id_, ascending=not ascending))
        return _past(sa.tuple_(self.key, self.id), (key, id_), ascending=not ascending)


def _past(column: Any, value: Any, *, ascending: bool) -> sa.ColumnElement[bool]:
    return column > value if ascending else column < value


def fetch_page(session: Session, statement: sa.Select[Any], order: Order, page: Page, noun: str) -> list[Any]:
    """The first column of the page of ``statement``.

    A cursor needs to name a row that exists, not one the filters let through: a list of active runs goes on after one
    that has ended meanwhile. A page that is only told where to end is the ``limit`` rows just before that.

    :raises NotFound: if a cursor names nothing; ``noun`` is what it should have named.
    """
    ascending = page.ascending
    if page.after is not None:
        key = _key(session, statement, order, page.after, noun)
        statement = statement.where(order.beyond(key, page.after, ascending=ascending))
    if page.before is not None:
        key = _key(session, statement, order, page.before, noun)
        statement = statement.where(order.short_of(key, page.before, ascending=ascending))
    backwards = page.before is not None and page.after is None
    clauses = order.reversed_clauses(ascending=ascending) if backwards else order.clauses(ascending=ascending)
    rows = session.first_column(statement.order_by(*clauses).limit(page.limit))
    return rows[::-1] if backwards else rows


def _key(session: Session, statement: sa.Select[Any], order: Order, id_: str, noun: str) -> Any:
    sources = statement.get_final_froms()
    found = session.first_column(sa.select(order.key).select_from(*sources).where(order.id == id_))
    if not found:
        raise NotFound(noun, id_)
    return found[0]


def has_tags(
    owner: sa.ColumnElement[str], tag_owner: sa.Column[Any], tag: sa.Column[Any], wanted: Sequence[str], *, every: bool
) -> sa.ColumnElement[bool]:
    """The rows whose id ``owner`` has any of the ``wanted`` tags, or ``every`` one of them."""
    distinct = sorted(set(wanted))
    owners = sa.select(tag_owner).where(tag.in_(distinct))
    if every:
        owners = owners.group_by(tag_owner).having(sa.func.count() == len(distinct))
    return owner.in_(owners)


def contains(column: sa.ColumnElement[Any], part: str) -> sa.ColumnElement[bool]:
    """Whether the text has ``part`` in it, without regard to case.

    Not by LIKE: SQLite looks through a long text for a pattern of thousands of equal characters for minutes, and cannot
    be interrupted meanwhile.
    """
    return sa.func.strpos(sa.func.folded(column, type_=sa.Text), part.lower(), type_=sa.Integer) > 0


def visible(hidden: sa.Column[Any]) -> sa.ColumnElement[bool]:
    """Not marked as hidden; null counts as not."""
    return hidden.is_not(sa.true())
