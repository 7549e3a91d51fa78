"""The queue of a conversation: its runs of status ``created`` in the store, in the order they came."""

from msgspec.structs import replace

from tertulia.domain.errors import QueueFull
from tertulia.domain.events import RunStarted
from tertulia.domain.runs import Run
from tertulia.engine.lifecycle.finalize import chunk_after, ended, last_events
from tertulia.engine.lifecycle.start import sent_before
from tertulia.engine.requests import SendRequest, encode_request
from tertulia.engine.turn.outcome import Ending
from tertulia.ports.store import Transaction


def enqueue(run: Run, request: SendRequest, limit: int, tx: Transaction) -> Run | None:
    """Put the run at the end of its conversation's queue; None if the conversation is free meanwhile.

    Its readers follow its log already, which begins with it.

    :raises QueueFull: if as many wait as may.
    """
    tx.conversations.get(run.conversation_id, lock=True)
    known = sent_before(request, run, tx)
    if known is not None:
        return known
    active, waiting = tx.runs.active(run.conversation_id), tx.runs.queued(run.conversation_id)
    if active is None and not waiting:
        return None
    if len(waiting) >= limit:
        raise QueueFull(limit, (active or waiting[0]).id)
    waits = replace(run, status="created", queued_request=encode_request(request))
    tx.runs.insert(waits)
    tx.events.append(run.id, chunk_after(0, [RunStarted(run.id, run.created_at.timestamp())]))
    return waits


def end_waiting(run_id: str, ending: Ending, tx: Transaction) -> Run | None:
    """End a run that waits for its turn, and tell its readers; None if it does not wait, or its turn came."""
    run = tx.runs.get(run_id)
    if run.status != "created":
        return None
    over = ended(run, ending)
    tx.runs.update(over)
    tx.events.append(run_id, chunk_after(tx.events.last(run_id), last_events(ending)))
    return over
