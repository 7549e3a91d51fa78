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
_SHARED_SESSION: Final = (exceptions.DuplicatePreparedStatementError, exceptions.InvalidSQLStatementNameError)
"""Statements that another connection prepared, or that ours prepared in another session."""
# What somebody has to mend before there can be a connection.
_REFUSALS: Final = (
    exceptions.InterfaceError,
    exceptions.InvalidAuthorizationSpecificationError,
    exceptions.InvalidCatalogNameError,
    exceptions.InsufficientPrivilegeError,
    ssl.SSLError,
    *_SHARED_SESSION,
    ValueError,
)
_TOO_MANY: Final = (
    "Raise max_connections there, or lower TERTULIA_DB_POOL_SIZE or TERTULIA_WORKERS: each worker opens up to the pool "
    "size plus one."
)
SESSION_MODE: Final = (
    "The connection pooler in front of PostgreSQL gives one session to several connections. Set it to session mode "
    "(PgBouncer: pool_mode = session), or name PostgreSQL itself."
)
_CERTIFICATE: Final = (
    "Name the authority that signed the database's certificate with sslrootcert=…, and the host as the certificate "
    "names it."
)
_NO_FILE: Final = (
    "A file that the URL names is not there: that of sslrootcert, sslcert or sslkey, or the socket of the host."
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
    words = str(error).partition("\n")[0] or type(error).__name__  # the driver adds its own options
    hints: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], str], ...] = (
        (exceptions.TooManyConnectionsError, _TOO_MANY),
        (exceptions.DiskFullError, MAKE_ROOM),
        (_SHARED_SESSION, SESSION_MODE),
        (ssl.SSLCertVerificationError, _CERTIFICATE),
        (FileNotFoundError, _NO_FILE),
    )
    hint = next((hint for kind, hint in hints if isinstance(error, kind)), None)
    return f"{words}. {hint}" if hint else words


def innermost(error: BaseException) -> BaseException:
    """The driver's own error, under whatever SQLAlchemy has wrapped around it."""
    return list(_causes(error))[-1] if isinstance(error, DBAPIError) else error


def _causes(error: BaseException) -> Generator[BaseException]:
    """The error and, under SQLAlchemy's wrappings, the driver's own."""
    yield error
    cause: BaseException | None = error.orig if isinstance(error, DBAPIError) else None
    while cause is not None:
        yield cause
        cause = cause.__cause__
