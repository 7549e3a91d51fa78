"""Noticing that a client has gone away while its reply is still being made."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.types import Receive


async def outlasts(
    receive: Receive,
    work: "asyncio.Future[Any]",
    *,
    pulse: Callable[[], Awaitable[None]] | None = None,
    pulse_seconds: float | None = None,
) -> bool:
    """Wait for the work as long as the client is there: True if it is done, False if the client left before.

    ``pulse`` is called whenever that many seconds went by. Work that is not done when this returns or raises has
    been cancelled.
    """
    leaving = asyncio.ensure_future(_wait_for_leaving(receive))
    try:
        while not (work.done() or leaving.done()):
            done, _ = await asyncio.wait((work, leaving), timeout=pulse_seconds, return_when=asyncio.FIRST_COMPLETED)
            if not done and pulse is not None:
                await pulse()
        return work.done()
    finally:
        leaving.cancel()
        if not work.done():
            work.cancel()
            await asyncio.wait([work])


async def _wait_for_leaving(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
