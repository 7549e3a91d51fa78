"""Retention: how long the events of ended runs are kept to be read again. Messages, runs and steps stay."""

import asyncio
from datetime import timedelta

import structlog

from tertulia.domain.clock import utc_now
from tertulia.domain.errors import Gone, StoreUnavailable
from tertulia.domain.runs import ACTIVE_STATUSES, Run
from tertulia.ports.store import Store, Transaction

EVENTS_KEPT = timedelta(days=7)
_BATCH = 500
_DAY_SECONDS = 86_400

_log = structlog.get_logger(__name__)


async def prune_events(store: Store, kept: timedelta) -> int:
    """Remove the events of ended runs that are older; of how many runs that was."""
    before, pruned = utc_now() - kept, 0
    while batch := await store.write(lambda tx: tx.events.prune(before, _BATCH)):
        pruned += batch
    if pruned:
        _log.info("events_pruned", runs=pruned)
    return pruned


async def prune_daily(store: Store, kept: timedelta) -> None:
    """Prune now and every day, until cancelled."""
    while True:
        try:
            await prune_events(store, kept)
        except StoreUnavailable as error:
            _log.warning("events_not_pruned", error=str(error))
        await asyncio.sleep(_DAY_SECONDS)


def check_kept(run: Run, tx: Transaction) -> None:
    """Say whether a run can be read from its events.

    :raises Gone: if it is over and they have been removed.
    """
    if run.status not in ACTIVE_STATUSES and not tx.events.kept(run.id):
        raise Gone(
            f"GONE: the stream of run '{run.id}' is no longer kept (TERTULIA_EVENT_RETENTION says how long streams "
            f"are). Its messages are still there: GET /v1/runs/{run.id}/messages.",
            run_id=run.id,
        )
