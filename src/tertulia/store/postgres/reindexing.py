"""Giving the messages of an older version their search terms, a few at a time, while the server runs.

Whoever has the row of ``search_index`` does the next piece; a worker that dies leaves it to the others.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Protocol, TypeVar

import msgspec
import structlog

from tertulia.domain.errors import StoreUnavailable
from tertulia.domain.messages import Message
from tertulia.ports.store import Transaction
from tertulia.store.sql.messages import searched_text
from tertulia.store.sql.postgres_nouns import PostgresTransaction
from tertulia.store.sql.search import VECTOR

T = TypeVar("T")

_AT_ONCE: Final = 100
_MOST_AT_ONCE: Final = 100_000
"""Bytes of messages that are read at once, or one message."""
_PAUSE_SECONDS: Final = 0.01
"""Between two pieces, for everybody else."""
_LONG_PAUSE_SECONDS: Final = 5.0
"""When another worker is at it, or the database is away."""
_TOLD_EVERY: Final = 50_000

_NEXT: Final = "SELECT upto, until FROM search_index WHERE upto < until FOR UPDATE SKIP LOCKED"
UNFINISHED: Final = "SELECT true FROM search_index WHERE upto < until"
_SOME: Final = """
    SELECT seq, position, body FROM (
        SELECT seq, position, body, sum(octet_length(body)) OVER oldest AS size, row_number() OVER oldest
        FROM (SELECT seq, position, body FROM messages WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?) AS next
        WINDOW oldest AS (ORDER BY seq)
    ) AS sized WHERE size <= ? OR row_number = 1 ORDER BY seq
"""
# Where the terms are the same nothing is written: a whole table would be twice as large afterwards.
_SET: Final = f"""
    UPDATE messages SET words = {VECTOR.format("given.words")}
    FROM unnest(?::bigint[], ?::text[]) AS given (seq, words)
    WHERE messages.seq = given.seq AND strip(messages.words) <> {VECTOR.format("given.words")}
"""  # noqa: S608  made of our own statements

_decode: Final = msgspec.json.Decoder(Message).decode
_log = structlog.get_logger(__name__)


class Writing(Protocol):
    def __call__(self, work: Callable[[Transaction], T], /) -> Awaitable[T]: ...


async def reindex(write: Writing) -> None:
    """Until every message has its terms, whichever worker gave it to them."""
    told = None
    while True:
        try:
            left = await write(_index_some)
        except StoreUnavailable as error:
            _log.warning("search_index_waits", error=str(error))
            left = None
        if left == 0:
            return
        if left is None:
            await asyncio.sleep(_LONG_PAUSE_SECONDS)
            continue
        if left // _TOLD_EVERY != told:
            told = left // _TOLD_EVERY
            _log.info("search_index_progress", messages_left=left)
        await asyncio.sleep(_PAUSE_SECONDS)


def _index_some(tx: Transaction) -> int | None:
    """How many are left, roughly; None if another worker is at it."""
    assert isinstance(tx, PostgresTransaction)  # noqa: S101  no other store calls this
    session = tx.postgres
    next_ = session.row(_NEXT)
    if next_ is None:
        return None if session.row(UNFINISHED) else 0
    upto, until = next_
    rows = session.rows(_SOME, upto, until, _AT_ONCE, _MOST_AT_ONCE)
    if rows:
        texts = [searched_text(_decode(body), position, bare=True) for _, position, body in rows]
        session.run(_SET, [seq for seq, _, _ in rows], texts)
    upto = rows[-1][0] if rows else until
    session.run("UPDATE search_index SET upto = ?", upto)
    return until - upto
