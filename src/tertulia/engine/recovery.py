"""What a server does at start about the runs that its last process left unfinished.

Everything acknowledged is in the store. A reply that was on its way is lost with the process that was receiving it; its
run ends as failed, calls that were made get a return saying that they were interrupted, readers that come back are
told, and the conversation accepts its next message.
"""

from functools import partial

import msgspec
import structlog

from tertulia.context.pairing import interrupted_return
from tertulia.domain.errors import NotFound
from tertulia.domain.events import Event, MessageAdded
from tertulia.domain.runs import ACTIVE_STATUSES, Run
from tertulia.engine.approvals import lost_calls
from tertulia.engine.endings import CRASHED
from tertulia.engine.finish import activity_of, ended, last_events
from tertulia.engine.tool_calls import return_message
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
    returns = [return_message(interrupted_return(call), run) for call in lost_calls(history)]
    if returns:
        tx.messages.append(conversation.id, returns)
    crashed = ended(run, CRASHED)
    tx.runs.update(crashed)
    tx.agents.set_activity(run.agent_id, activity_of(crashed))
    events: list[Event] = [*map(MessageAdded, returns), *last_events(CRASHED)]
    chunks = tx.events.after(run.id, 0)
    first = chunks[-1].last + 1 if chunks else 1
    tx.events.append(run.id, EventChunk(first, first + len(events) - 1, msgspec.json.encode(events)))
