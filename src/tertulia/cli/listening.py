"""How connections are taken: within which limits, and as many as the system has files for."""

import contextlib
import resource
from collections.abc import Callable
from typing import Any, Final

import structlog
from uvicorn.config import Config
from uvicorn.server import ServerState

from tertulia.edge.connection import Connection
from tertulia.edge.house import House
from tertulia.edge.limits import Limits
from tertulia.settings import Settings

log = structlog.get_logger(__name__)

_OTHER_FILES: Final = 200
"""Those of the database, of models and of tools."""


def house_of(settings: Settings) -> House:
    return House(_limits(settings))


def connections(house: House) -> Callable[..., Connection]:
    """What makes the server's connections, in place of uvicorn's own class."""

    def connect(
        config: Config, server_state: ServerState, app_state: dict[str, Any], _loop: object = None
    ) -> Connection:
        return Connection(config, server_state, app_state, house)

    return connect


def _limits(settings: Settings) -> Limits:
    return Limits(
        max_header_bytes=settings.max_header_bytes,
        request_seconds=settings.request_timeout,
        idle_seconds=settings.keep_alive,
        reader_seconds=settings.reader_timeout,
        max_connections=_possible_connections(settings.max_connections),
    )


def _possible_connections(wanted: int) -> int:
    """As many as wanted, or as this process may have files open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + _OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < needed:
        raised = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return wanted
    possible = max(1, soft - _OTHER_FILES)
    log.info("fewer connections", wanted=wanted, possible=possible, hint="raise the limit of open files (ulimit -n)")
    return possible
