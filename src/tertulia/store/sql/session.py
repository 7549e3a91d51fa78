"""What the nouns need of a database connection, whichever database it is."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, Protocol, TypeAlias

import sqlalchemy as sa

from tertulia.domain.errors import NotFound

Value: TypeAlias = str | int | bytes | Sequence[str | int | bytes | None] | None


class Session(Protocol):
    """A connection in the middle of a transaction.

    Statements that every message needs are text for the driver: SQLAlchemy's Core takes ten times as long to make and
    run one. That text uses ``?`` for its parameters, and what SQLite and Postgres have in common.

    A constraint that refuses a row raises :class:`sqlalchemy.exc.IntegrityError`, and on Postgres that transaction can
    do nothing more.

    ``now`` is SQL for the database's clock in microseconds. ``shares`` says that others write to the database beside
    this connection, as on Postgres.
    """

    now: ClassVar[str]
    shares: ClassVar[bool]

    def locking(self, sql: str, how: str) -> str:
        """The query with its rows locked by a work that writes, where anybody else could change them meanwhile.

        What a work reads to write it again with changes has to be locked, or the changes of another one are lost.
        """
        ...

    def later(
        self,
        sql: str,
        *parameters: Value,
        owner: tuple[str, str] | None = None,
        changed: Callable[[int], None] | None = None,
    ) -> None:
        """Execute at the latest before the next query or the commit, with others; at once on SQLite.

        A noun's statements that wait are about tables of their own each, or the database is asked earlier. ``changed``
        is told how many rows it was, and may raise.

        :raises NotFound: by then, if ``owner`` (a noun and its id), which the row belongs to, does not exist.
        """
        ...

    def crowded(self, sql: str, key: str, *parameters: Value, owner: tuple[str, str] | None = None) -> None:
        """``later``, for a row that many transactions write at once: right after the commit if another one has it.

        ``sql`` has ``{free}`` for the condition, after all its parameters; ``key`` names the row.
        """
        ...

    def run(self, sql: str, *parameters: Value) -> int:
        """Execute; the number of rows changed."""
        ...

    def run_many(self, sql: str, parameters: Iterable[Sequence[Value]]) -> None: ...
    def insert_under(self, owner: tuple[str, str], sql: str, *parameters: Value) -> int:
        """Insert a row that belongs to another, ``owner``: its noun and id. The number of rows inserted.

        :raises NotFound: if the owner does not exist.
        """
        ...

    def row(self, sql: str, *parameters: Value) -> Any:
        """The only row, or None. The statement is over when this returns, as RETURNING needs."""
        ...

    def rows(self, sql: str, *parameters: Value) -> list[Any]: ...
    def select(self, statement: sa.Select[Any, Any]) -> list[Any]: ...
    def first_column(self, statement: sa.Select[Any]) -> list[Any]: ...
    def change(self, statement: sa.Insert | sa.Update | sa.Delete, parameters: Any = None) -> int:
        """Execute; the number of rows changed."""
        ...


def unless_found(noun: str, id_: str) -> Callable[[int], None]:
    """For ``later``: what says that nothing has this id if no row was changed."""

    def check(rows: int) -> None:
        if not rows:
            raise NotFound(noun, id_)

    return check
