"""Callbacks: telling the address that a request named that its run has ended, until it answers or tries run out.

The body is signed so that the receiver knows who sends it: the header ``X-Tertulia-Signature`` is ``t=<seconds since
the epoch>,v1=<hex>``, the HMAC-SHA256 of ``<t>.<body>``. What came of it stands in the run.
"""

import asyncio
import hashlib
import hmac
import time
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Final

import msgspec
import structlog
from msgspec.structs import replace

from tertulia.domain.clock import utc_now
from tertulia.domain.errors import InvalidArgument, NotFound, StoreUnavailable
from tertulia.domain.runs import ACTIVE_STATUSES, Run
from tertulia.ports.callbacks import CallbackFailed, CallbackSender
from tertulia.ports.queries import Page, RunQuery
from tertulia.ports.store import Store, Transaction

WAITS: Final = (1.0, 5.0, 25.0, 125.0)
"""Seconds between one try and the next."""

_RESUMED: Final = timedelta(days=1)
_OTHERS_TRY: Final = timedelta(seconds=2 * sum(WAITS))
"""How long another worker may still be trying to tell of a run that has ended."""
_SUCCESS: Final = range(200, 300)
_WORTH_ANOTHER_TRY: Final = {408, 425, 429}
_SERVER_ERROR: Final = 500

_log = structlog.get_logger(__name__)


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """What is sent."""

    run_id: str
    agent_id: str
    conversation_id: str
    status: str
    stop_reason: str | None
    completed_at: datetime | None
    error: dict[str, object] | None
    metadata: dict[str, object] | None


class Callbacks:
    """Sends the callbacks of runs that have ended."""

    def __init__(
        self,
        store: Store,
        sender: CallbackSender,
        secret: Callable[[], bytes],
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._sender = sender
        self._secret = secret
        self._pause = pause

    def check(self, url: str) -> None:
        """Say whether callbacks may go to this address, see :meth:`CallbackSender.check`, and can be signed.

        :raises InvalidArgument: if there is nothing to sign them with and nothing can be kept.
        """
        self._sender.check(url)
        self._secret()

    async def send(self, run: Run) -> None:
        """Tell the run's address, if it has one and was not told yet."""
        run_id, url = run.id, run.callback_url
        if url is None:
            return
        try:
            ended = await self._store.read(lambda tx: tx.runs.get(run_id))
        except NotFound:
            return  # deleted with its conversation: nobody is left to be told of
        if ended.callback_sent_at is not None or ended.status in ACTIVE_STATUSES:
            return
        status, error = await self._deliver(ended, url)
        sent_at = utc_now()

        def record(tx: Transaction) -> None:
            told = replace(
                tx.runs.get(run_id), callback_sent_at=sent_at, callback_status_code=status, callback_error=error
            )
            tx.runs.update(told)

        try:
            await self._store.write(record)
        except NotFound:
            return
        _log.info("callback_sent", run_id=run_id, status=status, error=error)

    async def unsent(self) -> list[Run]:
        """The runs of the last day whose address was not told, and that nobody can still be telling."""
        runs = await self._store.read(lambda tx: tx.runs.find(RunQuery(page=Page(limit=1000), background=True)))
        now = utc_now()
        since, until = now - _RESUMED, now - (_OTHERS_TRY if self._store.shared else timedelta())
        untold = [run for run in runs if run.callback_url and run.callback_sent_at is None]
        return [run for run in untold if run.completed_at and since < run.completed_at < until]

    async def catch_up(self) -> None:
        """Tell what processes that ended left untold: now, and every few minutes where there are others."""
        while True:
            try:
                for run in await self.unsent():
                    await self.send(run)
            except StoreUnavailable as error:
                _log.warning("callbacks_wait", error=str(error))
            if not self._store.shared:
                return
            await asyncio.sleep(_OTHERS_TRY.total_seconds())

    async def _deliver(self, run: Run, url: str) -> tuple[int | None, str | None]:
        """The last answer's status, and what went wrong if it is no success."""
        body = msgspec.json.encode(_notice(run))
        try:
            secret = self._secret()
        except InvalidArgument as unsigned:  # it could be when the run was asked for, or another server took it
            return None, str(unsigned)
        status: int | None = None
        error: str | None = None
        for wait in (*WAITS, None):
            try:
                status, error = await self._sender.post(url, body, _headers(run, body, secret)), None
            except CallbackFailed as failure:
                status, error = None, failure.message
                if failure.final:
                    break
            else:
                if status in _SUCCESS:
                    return status, None
                error = f"The address answered with status {status}."
                if status < _SERVER_ERROR and status not in _WORTH_ANOTHER_TRY:
                    break
            if wait is not None:
                await self._pause(wait)
        return status, error


def _headers(run: Run, body: bytes, secret: bytes) -> dict[str, str]:
    at = str(int(time.time()))
    signature = hmac.new(secret, at.encode() + b"." + body, hashlib.sha256).hexdigest()
    return {
        "content-type": "application/json",
        "user-agent": "Tertulia",
        "x-tertulia-delivery": run.id,
        "x-tertulia-signature": f"t={at},v1={signature}",
    }


def _notice(run: Run) -> Notice:
    return Notice(
        run_id=run.id,
        agent_id=run.agent_id,
        conversation_id="default" if run.conversation_id == run.agent_id else run.conversation_id,
        status=run.status,
        stop_reason=run.stop_reason,
        completed_at=run.completed_at,
        error=run.error,
        metadata=run.metadata,
    )
