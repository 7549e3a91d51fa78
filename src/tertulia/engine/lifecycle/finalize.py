"""Ending a run: whatever happened, one transaction leaves the conversation ready for its next message."""

import time
from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from tertulia.context.pairing import interrupted_return
from tertulia.domain.agents import AgentActivity
from tertulia.domain.clock import utc_now
from tertulia.domain.events import Ended, Event, MessageAdded, Stopped, UsageReported
from tertulia.domain.messages import Message
from tertulia.domain.runs import Run, StepStatus
from tertulia.engine.approvals import pending_calls
from tertulia.engine.turn.context import Turn
from tertulia.engine.turn.outcome import Ending
from tertulia.engine.turn.step import StepRecord
from tertulia.engine.turn.tool_calls import return_message
from tertulia.ports.events import EventChunk
from tertulia.ports.store import Transaction
from tertulia.ports.telemetry import StepEnded


async def finish(turn: Turn, ending: Ending, open_step: StepRecord | None) -> Run:
    """Store the last reply (as far as it came), a return for every call that has none, and the run's end.

    Readers are told that it ended when that is durable.
    """
    if turn.rolled_back and ending.status == "cancelled":
        return await _take_back(turn, ending)
    whole = ending.status == "completed"
    status: StepStatus = "success" if whole else "cancelled" if ending.status == "cancelled" else "failed"
    step = open_step.step(status, ending.stop_reason, error=ending) if open_step else None
    reply = open_step.message(partial=not whole) if open_step else None
    lost = turn.history.open_calls()
    if lost:
        waiting = {call.id for call in pending_calls(turn.history.messages)}
        lost = [call for call in lost if call.id not in waiting]
    mended = [return_message(interrupted_return(call), turn.run) for call in lost]
    messages = [*mended, *([reply] if reply else [])]
    run = _with_times(turn, with_end(turn.run, ending))
    usage = UsageReported(turn.usage, turn.step_count, turn.context_tokens, turn.reply_logprobs)
    activity = activity_of(run)

    def write(tx: Transaction) -> None:
        if open_step is not None and step is not None:
            open_step.write(tx, step)
        tx.runs.update(run)
        tx.conversations.touch(run.conversation_id, last_run_completion=run.completed_at)
        tx.agents.set_activity(run.agent_id, activity)

    turn.faults("before_end_stored")
    await turn.commit(write, messages=messages, events=last_events(ending, usage, added=mended))
    turn.faults("after_end_stored")
    if step is not None:
        turn.telemetry(StepEnded(step))
    return run


async def _take_back(turn: Turn, ending: Ending) -> Run:
    """End a run as if it had never been; that it was, its own record says."""
    run = _with_times(turn, with_end(turn.run, ending))

    def write(tx: Transaction) -> None:
        tx.messages.truncate(run.conversation_id, turn.first)
        # What it added may be a summary: the view is again what it was.
        before = turn.conversation
        pins = [position for position in before.pins if position < turn.first]
        tx.conversations.set_context(run.conversation_id, min(before.context_from, turn.first), pins)
        tx.runs.update(run)
        tx.agents.set_activity(run.agent_id, activity_of(run))

    await turn.commit(write, events=last_events(ending))
    return run


def end_plainly(run: Run, token: int, ending: Ending, told: EventChunk | None, tx: Transaction) -> None:
    """End a run that could not be ended with all its details; ``told`` is what its readers are told of that."""
    tx.runs.hold(run.id, token)
    tx.runs.update(with_end(run, ending))
    if told is not None:
        tx.events.append(run.id, told)


def mark_ended(run: Run, ending: Ending, tx: Transaction) -> None:
    """The end in the run's record and in its agent's."""
    over = with_end(run, ending)
    tx.runs.update(over)
    tx.agents.set_activity(run.agent_id, activity_of(over))


def chunk_after(last: int, events: Sequence[Event]) -> EventChunk:
    """Events that go on after the sequence id ``last``, for a transaction that has no open log."""
    return EventChunk(last + 1, last + len(events), msgspec.json.encode(events))


def activity_of(run: Run) -> AgentActivity:
    """What the agent's record says of a run that ended."""
    return AgentActivity(
        last_run_completion=run.completed_at,
        last_run_duration_ms=(run.total_duration_ns or 0) // 1_000_000,
        last_stop_reason=run.stop_reason,
    )


def last_events(ending: Ending, *usage: UsageReported, added: Sequence[Message] = ()) -> list[Event]:
    """The log's last events: only a run that came to its own end reports what it used."""
    stopped: list[Event] = [*map(MessageAdded, added), Stopped(ending.stop_reason)]
    if ending.failed is not None:
        return [*stopped, ending.failed, Ended()]
    if ending.status == "cancelled":
        return [*stopped, Ended()]
    return [*stopped, *usage, Ended()]


def with_end(run: Run, ending: Ending) -> Run:
    """The run's record with its end."""
    failed = ending.failed
    return replace(
        run,
        request=None,
        status=ending.status,
        stop_reason=ending.stop_reason,
        abandoned=ending.abandoned,
        completed_at=utc_now(),
        error={"error_type": failed.error_type, "message": failed.message, "detail": failed.detail} if failed else None,
    )


def _with_times(turn: Turn, run: Run) -> Run:
    return replace(run, total_duration_ns=time.monotonic_ns() - turn.started_ns, ttft_ns=turn.ttft_ns)
