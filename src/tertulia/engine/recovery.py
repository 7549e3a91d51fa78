"""What a server does at start about the runs that its last process left unfinished.

Everything acknowledged is in the store. A reply that was on its way is lost with the process that was receiving it; its
run ends as failed, calls that were made get a return saying that they were interrupted, readers that come back are
told, and the conversation accepts its next message.
"""

from functools import partial

import msgspec
import structlog
from msgspec.structs import replace

from tertulia.context.pairing import interrupted_return, unanswered
from tertulia.domain.clock import utc_now
from tertulia.domain.errors import NotFound
from tertulia.domain.events import Ended, Event, MessageAdded, Stopped
from tertulia.domain.ids import new_message_id
from tertulia.domain.messages import Message
from tertulia.domain.runs import ACTIVE_STATUSES, Run
from tertulia.engine.approvals import pending_calls
from tertulia.engine.endings import CRASHED
from tertulia.engine.finish import activity_of
from tertulia.ports.store import EventChunk, Store, Transaction

_log = structlog.get_logger(__name__)


async def end_unfinished(store: Store) -> list[str]:
    """End every run that is still active; their ids."""
    runs = await store.read(lambda tx: tx.runs.all_active())
    for run in runs:
        await store.write(partial(_end, run))
        _log.warning("run_interrupted", run_id=run.id, conversation_id=run.conversation_id)
    return [run.id for run in runs]


async def end_if_unfinished(store: Store, run_id: str) -> None:
    """End a run of this process whose end could not be stored when it came."""

    def end(tx: Transaction) -> None:
        run = tx.runs.get(run_id)
        if run.status in ACTIVE_STATUSES:
            _end(run, tx)

    try:
        await store.write(end)
    except NotFound:
        return  # deleted meanwhile


def _end(run: Run, tx: Transaction) -> None:
    conversation = tx.conversations.get(run.conversation_id)
    history = tx.messages.range(conversation.id, conversation.context_from, conversation.head)
    waiting = {call.id for call in pending_calls(history)}
    returns = [
        Message(
            id=new_message_id(),
            agent_id=run.agent_id,
            conversation_id=conversation.id,
            role="tool",
            content=(interrupted_return(call),),
            created_at=utc_now(),
            run_id=run.id,
            name=call.name,
            is_err=True,
        )
        for call in unanswered(history)
        if call.id not in waiting
    ]
    if returns:
        tx.messages.append(conversation.id, returns)
    failed = CRASHED.failed
    ended = replace(
        run,
        status=CRASHED.status,
        stop_reason=CRASHED.stop_reason,
        completed_at=utc_now(),
        error=msgspec.to_builtins(failed),
    )
    tx.runs.update(ended)
    tx.agents.set_activity(run.agent_id, activity_of(ended))
    events: list[Event] = [*map(MessageAdded, returns), Stopped(CRASHED.stop_reason)]
    events += [failed, Ended()] if failed else [Ended()]
    chunks = tx.events.after(run.id, 0)
    first = chunks[-1].last + 1 if chunks else 1
    tx.events.append(run.id, EventChunk(first, first + len(events) - 1, msgspec.json.encode(events)))
