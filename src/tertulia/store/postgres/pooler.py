"""Whether a pooler between us and Postgres gives one session to several connections, which ours cannot share."""

from typing import Any, Final

import asyncpg

from tertulia.domain.errors import StoreUnavailable
from tertulia.store.postgres.failures import SESSION_MODE
from tertulia.store.postgres.pool import connect

_SESSION: Final = "SELECT pg_backend_pid()"


async def refuse_shared_session(url: str, connection: "asyncpg.Connection[Any]") -> None:
    """Find out by a second connection, which in session mode has a session of its own.

    A pooler whose other clients keep it busy may go undetected: it is told apart only if it gives both the same.

    :raises StoreUnavailable: if the connections share a session.
    """
    session = await connection.fetchval(_SESSION)
    if session == connection.get_server_pid():
        return  # no pooler: those invent the number that they tell their clients
    other = await connect(url)
    try:
        shared = session == await other.fetchval(_SESSION)
    finally:
        other.terminate()
    if shared:
        raise StoreUnavailable(SESSION_MODE)
