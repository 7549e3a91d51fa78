"""What a SQLite database's errors are to the users of the store."""

import sqlite3
from typing import Final

from sqlalchemy.exc import DBAPIError

from tertulia.domain.errors import InvalidArgument, StoreUnavailable

# A mistake of ours in a statement or its data, as opposed to a failure of the database.
_MISTAKES: Final = (sqlite3.IntegrityError, sqlite3.ProgrammingError, sqlite3.DataError, sqlite3.NotSupportedError)

MAKE_ROOM: Final = "Make room on its disk: the server goes on by itself as soon as there is some."


def translate(error: BaseException) -> BaseException:
    """StoreUnavailable for what the database could not do, a complaint about a value it cannot hold, or as it is."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    if not isinstance(cause, sqlite3.DatabaseError):
        return error
    code = _code(cause)
    if code == sqlite3.SQLITE_TOOBIG:
        failure: BaseException = InvalidArgument("INVALID_ARGUMENT: A value is larger than the database can hold.")
    elif isinstance(cause, _MISTAKES) or code == sqlite3.SQLITE_ERROR:  # the latter: a statement that is no SQL
        return error
    else:
        hint = f". {MAKE_ROOM}" if code == sqlite3.SQLITE_FULL else ""
        failure = StoreUnavailable(f"The database cannot be used: {cause}{hint}")
    failure.__cause__ = error
    return failure


def _code(error: sqlite3.DatabaseError) -> int | None:
    """The kind of the error; SQLite's further bits say which of a kind it is."""
    code: int | None = getattr(error, "sqlite_errorcode", None)  # the driver's own complaints have none
    return None if code is None else code & 0xFF
