"""Approvals that nobody gives: calls that have waited longer than the deadline are denied, though nobody writes.

Every worker looks. What is due the store finds by a note. The calls of a conversation are denied in one transaction,
which holds it and sees for itself what is pending: one worker does it, once.
"""

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final

import structlog

from tertulia.domain.clock import utc_now
from tertulia.domain.errors import NotFound, StoreUnavailable
from tertulia.engine.approvals import deny_expired, pending_request
from tertulia.ports.store import Store, Transaction

_log = structlog.get_logger(__name__)

_PAUSE: Final = timedelta(minutes=1)
_AT_ONCE: Final = 100


@dataclass(frozen=True, slots=True)
class _Asker:
    """The run that asked. It may be that of a conversation which this one was forked from, and gone with it."""

    id: str | None
    agent_id: str
    conversation_id: str


async def deny_overdue(store: Store, deadline: timedelta) -> int:
    """Deny what has waited too long; of how many conversations that was."""
    now, denied = utc_now(), 0
    while due := await store.read(lambda tx: tx.conversations.asked_before(now - deadline, _AT_ONCE)):
        for conversation_id in due:
            try:
                calls = await store.write(partial(_deny, conversation_id, now, deadline))
            except NotFound:
                continue  # it was deleted just now
            if calls:
                denied += 1
                _log.info("approval_expired", conversation_id=conversation_id, calls=calls)
        if len(due) < _AT_ONCE:
            break
    return denied


async def watch_deadlines(store: Store, deadline: timedelta) -> None:
    """Deny what is overdue now and every minute, or more often if less time is given, until cancelled."""
    while True:
        try:
            await deny_overdue(store, deadline)
        except StoreUnavailable as error:
            _log.warning("approvals_not_looked_at", error=str(error))
        await asyncio.sleep(min(_PAUSE, deadline).total_seconds())


def _deny(conversation_id: str, now: datetime, deadline: timedelta, tx: Transaction) -> int:
    """How many calls were denied: none if they were answered meanwhile, or are being answered."""
    conversation = tx.conversations.get(conversation_id)
    if tx.runs.active(conversation_id):
        return 0  # its own calls may come to wait; it is looked at again when it is over
    request = pending_request(conversation, tx)
    if request is None:
        tx.conversations.set_asked(conversation_id, None)
        return 0
    asker = _Asker(request.run_id, conversation.agent_id, conversation_id)
    denials = deny_expired([request], asker, now, deadline)
    tx.conversations.set_asked(conversation_id, None if denials else request.created_at)
    if denials:
        tx.messages.append(conversation_id, denials, at=now)
    return len(denials)
