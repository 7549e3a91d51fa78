"""What a SQLite database's errors are to the users of the store."""

import sqlite3

from sqlalchemy.exc import DBAPIError

from tertulia.domain.errors import StoreUnavailable

# A mistake of ours in a statement or its data, as opposed to what befell the database.
_MISTAKES = (sqlite3.IntegrityError, sqlite3.ProgrammingError, sqlite3.DataError, sqlite3.NotSupportedError)


def translated(error: BaseException) -> BaseException:
    """StoreUnavailable for what the database could not do; any other error as it is."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(cause, sqlite3.DatabaseError) and not isinstance(cause, _MISTAKES):
        failure = StoreUnavailable(f"The database cannot be used: {cause}")
        failure.__cause__ = error
        return failure
    return error
