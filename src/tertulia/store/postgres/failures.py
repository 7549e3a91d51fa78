"""What a Postgres database's errors are to the users of the store, and which of them pass by themselves."""

import ssl
from collections.abc import Generator
from typing import Final

from asyncpg import exceptions
from sqlalchemy.exc import DBAPIError

from tertulia.domain.errors import InvalidArgument, StoreUnavailable
from tertulia.store.failures import MAKE_ROOM

# Two transactions were in each other's way; the work can be run again.
_PASSING: Final = (
    exceptions.SerializationError,
    exceptions.DeadlockDetectedError,
    exceptions.LockNotAvailableError,
    exceptions.InvalidCachedStatementError,
)
# Beside a connection that broke: the database is stopping, starting, full, or has become a standby.
_UNAVAILABLE: Final = (
    OSError,
    exceptions.PostgresConnectionError,
    exceptions.OperatorInterventionError,
    exceptions.InsufficientResourcesError,
    exceptions.IdleInTransactionSessionTimeoutError,
    exceptions.ReadOnlySQLTransactionError,
)
# What somebody has to mend before there can be a connection.
_REFUSALS: Final = (
    exceptions.InterfaceError,
    exceptions.InvalidAuthorizationSpecificationError,
    exceptions.InvalidCatalogNameError,
    exceptions.InsufficientPrivilegeError,
    ssl.SSLError,
    ValueError,
)
_TOO_MANY: Final = (
    "Raise max_connections there, or lower TERTULIA_DB_POOL_SIZE or TERTULIA_WORKERS: each worker opens up to the pool "
    "size plus one."
)
_RACED_FOR: Final = "runs_one_running"
"""The one constraint that is looked at before writing: breaking it means that another transaction came in between."""


class Unavailable(StoreUnavailable):
    """The database could not be asked, or went away before anything was written: the work can be run again."""


def is_refusal(error: BaseException) -> bool:
    """Whether trying to connect again would come to the same."""
    # A server without TLS is the driver's only use of the bare class.
    return isinstance(error, _REFUSALS) or type(error) is ConnectionError


def is_passing(error: BaseException) -> bool:
    """Whether running the work again may well succeed."""
    return any(
        isinstance(cause, _PASSING)
        or (isinstance(cause, exceptions.UniqueViolationError) and cause.constraint_name == _RACED_FOR)
        for cause in _causes(error)
    )


def translate(error: BaseException) -> BaseException:
    """StoreUnavailable for what the database could not do, a complaint about a text it cannot hold, or as it is."""
    for cause in _causes(error):
        if isinstance(cause, _UNAVAILABLE):
            failure: BaseException = Unavailable(f"The database cannot be used: {reason(cause)}")
        elif isinstance(cause, exceptions.CharacterNotInRepertoireError):
            failure = InvalidArgument("INVALID_ARGUMENT: A text contains a NUL character, which cannot be stored.")
        else:
            continue
        failure.__cause__ = error
        return failure
    return error


def reason(error: BaseException) -> str:
    """In the words of the database, or of the system; and what to do where these do not say it."""
    words = str(error) or type(error).__name__
    if isinstance(error, exceptions.TooManyConnectionsError):
        return f"{words}. {_TOO_MANY}"
    return f"{words}. {MAKE_ROOM}" if isinstance(error, exceptions.DiskFullError) else words


def _causes(error: BaseException) -> Generator[BaseException]:
    """The error and, under SQLAlchemy's wrappings, the driver's own."""
    yield error
    cause: BaseException | None = error.orig if isinstance(error, DBAPIError) else None
    while cause is not None:
        yield cause
        cause = cause.__cause__
