"""Plain nouns: those of which a store needs to know no more than an id, when they were made, and what to find them by.

Which ones there are, and by which of their fields each is found, is declared in ``store/sql/plain_nouns.py``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol, TypeVar

from tertulia.ports.queries import Page


class Plain(Protocol):
    """A domain struct that can be kept as a plain noun."""

    @property
    def id(self) -> str: ...
    @property
    def created_at(self) -> datetime: ...


P = TypeVar("P", bound=Plain)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainQuery:
    """A page by time of creation of those whose declared fields equal ``where``; None there does not filter."""

    page: Page = field(default_factory=Page)
    where: Mapping[str, str | None] = field(default_factory=dict[str, str | None])


class PlainNouns(Protocol[P]):
    """All of one plain noun.

    ``get`` inside a write keeps the row from being changed by anybody else until the transaction ends, so that what is
    made of it with ``update`` loses nothing.
    """

    def insert(self, noun: P) -> None:
        """:raises NameTaken: if a field that is declared unique has a value that another one has."""
        ...

    def get(self, id_: str) -> P:
        """:raises NotFound: if nothing has this id."""
        ...

    def get_many(self, ids: Sequence[str]) -> list[P]:
        """Those that there are, in the order asked for."""
        ...

    def keys(self, field: str) -> list[tuple[str, str]]:
        """The id and a declared field of each, oldest first."""
        ...

    def update(self, noun: P) -> None:
        """Store every field.

        :raises NotFound: if it is not there any more.
        :raises NameTaken: as ``insert``.
        """
        ...

    def delete(self, id_: str) -> None:
        """:raises NotFound: if nothing has this id."""
        ...

    def find(self, query: PlainQuery) -> list[P]: ...
    def count(self, query: PlainQuery) -> int:
        """How many there are, whatever the page."""
        ...
