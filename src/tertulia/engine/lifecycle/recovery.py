"""Resuming a run whose worker died or was stopped: what is stored of it says where it was.

An interrupted reply is requested again. Of its calls without a return, one whose tool was about to run and must
not run twice gets a return that says it was interrupted; the others are run.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec
from msgspec.structs import replace

from tertulia.context.pairing import interrupted_return
from tertulia.domain.clock import utc_now
from tertulia.domain.events import Event, HiddenReasoning, ReasoningDelta, Resumed, RunStarted, TextDelta, ToolCallDelta
from tertulia.domain.messages import Message, ToolCallPart
from tertulia.domain.runs import Run, Usage
from tertulia.engine.approvals import Settlement, lost_calls, pending_calls
from tertulia.engine.lifecycle.compaction_run import METADATA
from tertulia.engine.lifecycle.finalize import chunk_after, end_plainly, last_events, mark_ended
from tertulia.engine.lifecycle.start import Begun
from tertulia.engine.requests import SendRequest, decode_request
from tertulia.engine.tools.toolbox import Toolbox
from tertulia.engine.turn.context import Turn
from tertulia.engine.turn.outcome import Ending
from tertulia.engine.turn.tool_calls import return_message
from tertulia.ports.queries import Page, StepQuery
from tertulia.ports.runs import Claim
from tertulia.ports.store import Snapshot, Transaction

MAX_ATTEMPTS = 10
"""How many workers may die of one run, or be stopped under it, before it is ended."""

SUSPICIOUS_CUTS = 2
"""How many may die under it while they do the same (run the same tool, or ask the model at the same place) before it is
resumed beside no other of which that is true."""

MAX_CUTS = 6
"""How many may die so before it is ended. All but the first two had no other suspect, so the others that it shared
them with are not ended with it; and whoever kills workers at random hardly ever hits one run so often."""

_events = msgspec.json.Decoder(list[Event])


@dataclass(frozen=True, slots=True)
class Left:
    """What a worker left of a run, as of one instant.

    ``own`` are the run's messages, ``last`` is the sequence id of its last event, ``discarded`` are the replies of
    which there are only pieces, ``noted`` the calls that may have had their effect.
    """

    seen: Snapshot
    own: list[Message]
    calls: list[ToolCallPart]
    pending: list[ToolCallPart]
    noted: set[str]
    usage: Usage
    step_count: int
    last: int
    discarded: tuple[str, ...]


def may_go_on(claim: Claim) -> bool:
    """Whether the run can be resumed. A compaction cannot: the conversation is as it was, so ask again."""
    return claim.attempts <= MAX_ATTEMPTS and claim.run.metadata != METADATA and claim.run.first is not None


def read_left(run: Run, tx: Transaction) -> Left:
    """:raises NotFound: if its conversation was deleted."""
    seen = tx.snapshot(run.conversation_id)
    conversation = seen.conversation
    history = tx.messages.range(conversation.id, conversation.context_from, conversation.head)
    own = [message for message in history if message.run_id == run.id]
    steps = tx.steps.find(StepQuery(page=Page(limit=None), run_id=run.id))
    last, discarded = _log_end(run, own, tx)
    return Left(
        seen=seen,
        own=own,
        calls=lost_calls(history),
        pending=pending_calls(history),
        noted=tx.runs.noted_calls(run.id),
        usage=sum((step.usage for step in steps), Usage()),
        step_count=len(steps),
        last=last,
        discarded=discarded,
    )


def cut_off(run: Run, left: Left) -> Run:
    """The run, with one more worker counted that died while it was doing the same thing."""
    cuts = dict(run.cuts or {})
    return replace(run, cuts=cuts | {what: cuts.get(what, 0) + 1 for what in _doing(left)})


def cause_of_death(run: Run) -> str | None:
    """What the run was doing when too many workers died; None if the run is to be resumed."""
    return next((what for what, times in (run.cuts or {}).items() if times >= MAX_CUTS), None)


def is_suspect(run: Run, left: Left) -> bool:
    """Whether what it would do next may be what kills workers."""
    cuts = run.cuts or {}
    return any(cuts.get(what, 0) >= SUSPICIOUS_CUTS for what in _doing(left))


def set_aside(run: Run, token: int, tx: Transaction) -> None:
    """Leave the run, of which not more was done than to count the death before, to a worker with room for a suspect."""
    tx.runs.hold(run.id, token)
    tx.runs.update(replace(run, times_set_aside=run.times_set_aside + 1))
    tx.runs.set_aside(run.id, token)


def _doing(left: Left) -> list[str]:
    tools = [f"running the tool '{name}'" for name in dict.fromkeys(call.name for call in left.calls)]
    return tools or [f"making the reply at position {left.seen.conversation.head}"]


def request_of(run: Run) -> SendRequest:
    """The run's request, without what is in the history already."""
    if run.request is not None:
        return decode_request(run.request)
    return SendRequest(conversation_id=run.conversation_id, background=run.background)


def begin_again(run: Run, left: Left, toolbox: Toolbox) -> tuple[Begun, list[Message]]:
    """The run from where it was left, and returns for the calls that must not run again."""
    known = {spec.name: spec for spec in toolbox.specs(left.seen.agent, left.seen.tools)}
    again, lost = list[ToolCallPart](), list[ToolCallPart]()
    for call in left.calls:
        spec = known.get(call.name)
        (lost if call.id in left.noted and not (spec and spec.idempotent) else again).append(call)
    conversation = left.seen.conversation
    settlement = Settlement(approved=again, pending=left.pending)
    begun = Begun(run, conversation, conversation.head, [], settlement)
    return begun, [return_message(interrupted_return(call), run) for call in lost]


def restore(turn: Turn, run: Run, left: Left) -> None:
    """Make the turn resume the run: what it may still do depends on what it did."""
    turn.first = run.first if run.first is not None else turn.first
    turn.usage, turn.step_count = left.usage, left.step_count
    turn.started_ns -= max(0, round((utc_now() - run.created_at).total_seconds() * 1e9))
    for message in left.own:
        for part in message.tool_returns:
            turn.rules.record(part.name, part.content if isinstance(part.content, str) else "")


def takeover_events(run: Run, last: int, discarded: tuple[str, ...]) -> list[Event]:
    """What readers are told first of a run that another worker has now, whatever becomes of it.

    The worker before may have shown more than was stored: without this, what comes has numbers that were shown already.
    """
    # It may have died before anything was stored.
    first = [] if last else [RunStarted(run.id, run.created_at.timestamp())]
    return [*first, Resumed(run.id, utc_now().timestamp(), discarded)]


def end_unable(claim: Claim, ending: Ending, tx: Transaction) -> None:
    """End a run that could not be gone on with, looking at nothing that may be the reason."""
    run, last = claim.run, tx.events.last(claim.run.id)
    told = chunk_after(last, [*takeover_events(run, last, ()), *last_events(ending)])
    end_plainly(run, claim.token, ending, told, tx)


def end_lost(claim: Claim, ending: Ending, tx: Transaction) -> None:
    """End a run that nobody may resume: a return for every call that has none, and the run's failure."""
    run = claim.run
    tx.runs.hold(run.id, claim.token)
    conversation = tx.conversations.get(run.conversation_id)
    history = tx.messages.range(conversation.id, conversation.context_from, conversation.head)
    returns = [return_message(interrupted_return(call), run) for call in lost_calls(history)]
    if returns:
        tx.messages.append(conversation.id, returns)
    mark_ended(run, ending, tx)
    last, discarded = _log_end(run, history, tx)
    told = [*takeover_events(run, last, discarded), *last_events(ending, added=returns)]
    tx.events.append(run.id, chunk_after(last, told))


def _log_end(run: Run, stored: Iterable[Message], tx: Transaction) -> tuple[int, tuple[str, ...]]:
    """The sequence id of the last event there is, and the replies told of that are not among the stored messages."""
    chunks = tx.events.after(run.id, 0)
    replied = (_message_of(event) for chunk in chunks for event in _events.decode(chunk.data))
    known = {message.id for message in stored}
    discarded = dict.fromkeys(id_ for id_ in replied if id_ is not None and id_ not in known)
    return chunks[-1].last if chunks else 0, tuple(discarded)


def _message_of(event: Event) -> str | None:
    if isinstance(event, TextDelta | ReasoningDelta | HiddenReasoning | ToolCallDelta):
        return event.message_id
    return None
