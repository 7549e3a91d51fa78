"""Approvals: tool calls that wait for a person's decision or for the client that runs them, and what answers do.

That a call is pending is never stored: a call is pending while it has no return. So there is no state to get stuck, an
answer and its effect are one transaction, and a crash leaves either both or none.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeAlias

from msgspec.structs import replace

from tertulia.context.pairing import unanswered
from tertulia.domain.conversations import Conversation
from tertulia.domain.errors import ApprovalPending, NothingPending
from tertulia.domain.ids import new_message_id
from tertulia.domain.messages import ApprovalPart, Message, ToolCallPart, ToolReturnPart
from tertulia.domain.runs import Run
from tertulia.engine.requests import NewAnswer
from tertulia.engine.turn.tool_calls import RunOf, return_message
from tertulia.ports.store import Transaction

TAIL = 256
"""How many of the last messages are looked at for pending calls: more than one reply can call."""


@dataclass(slots=True)
class Settlement:
    """What answers come to: messages for the history, calls to be run now, and calls that still wait.

    ``repeats`` is the run that was given the same answers before, when all of them were.
    """

    messages: list[Message] = field(default_factory=list[Message])
    approved: list[ToolCallPart] = field(default_factory=list[ToolCallPart])
    pending: list[ToolCallPart] = field(default_factory=list[ToolCallPart])
    repeats: str | None = None


def pending_calls(history: Sequence[Message]) -> list[ToolCallPart]:
    """The calls that wait for an answer, in order. Only the last reply can have any."""
    answered: set[str] = set()
    for message in reversed(history):
        if message.role == "tool":
            answered.update(part.tool_call_id for part in message.tool_returns)
        elif message.role == "approval":
            answered.update(part.tool_call_id for part in message.content if isinstance(part, ApprovalPart))
        elif message.role == "assistant":
            return [call for call in message.tool_calls if call.awaits and call.id not in answered]
        elif message.role != "summary":
            return []
    return []


def pending_request(conversation: Conversation, tx: Transaction) -> Message | None:
    """The reply that made the calls which wait for an answer, with these alone of what it says; None if none waits."""
    history = tail(conversation, tx, whole=False)
    pending = pending_calls(history)
    return replace(_pending_reply(history), content=tuple(pending)) if pending else None


def lost_calls(history: Sequence[Message]) -> list[ToolCallPart]:
    """The calls that have no return and wait for nobody's answer."""
    waiting = {call.id for call in pending_calls(history)}
    return [call for call in unanswered(history) if call.id not in waiting]


def tail(conversation: Conversation, tx: Transaction, *, whole: bool) -> Sequence[Message]:
    """The end of the history; no more of it than tells that no call is pending, unless the ``whole`` is wanted.

    Pending calls are always in view. An answer that is repeated may be to a call that no longer is.
    """
    head = conversation.head
    last = tx.messages.range(conversation.id, max(conversation.context_from, head - 1), head)
    settled = not last or last[0].role == "user" or (last[0].role == "assistant" and not last[0].tool_calls)
    if settled and not whole:
        return last
    return tx.messages.range(conversation.id, max(1 if whole else conversation.context_from, head - TAIL), head)


def settle(history: Sequence[Message], answers: Sequence[NewAnswer], run: Run, now: datetime) -> Settlement:
    """What the answers come to. An answer that was given before is let pass if it is the same.

    :raises NothingPending: if an answer is to a call that does not wait for one.
    """
    pending = {call.id: call for call in pending_calls(history)}
    settled = Settlement()
    answered = _answers_in(history)
    for answer in answers:
        given = _by_call(answer, history, list(pending))
        earlier = {id_: _run_of_answer(answered, part) for id_, part in given.items() if id_ not in pending}
        unknown = [id_ for id_, run_id in earlier.items() if run_id is None]
        if unknown or not given:
            raise NothingPending(unknown, list(pending), answer.request_id)
        settled.repeats = next((run_id for run_id in earlier.values() if run_id), settled.repeats)
        fresh = {id_: part for id_, part in given.items() if id_ in pending}
        if fresh:
            settled.messages.append(_record(answer, tuple(fresh.values()), _pending_reply(history).id, run, now=now))
            for id_, part in fresh.items():
                _apply(settled, pending.pop(id_), part, run, now)
    if settled.messages:
        settled.repeats = None
    settled.pending = list(pending.values())
    return settled


def refuse_if_pending(history: Sequence[Message]) -> None:
    """Let a new message pass only if no call waits for an answer.

    :raises ApprovalPending: if one does.
    """
    pending = pending_calls(history)
    if pending:
        raise ApprovalPending([call.id for call in pending])


def deny_expired(history: Sequence[Message], owner: RunOf, now: datetime, deadline: timedelta) -> list[Message]:
    """Denials for the pending calls if they have waited longer than the deadline; they block nobody for ever."""
    pending = pending_calls(history)
    if not pending or now - _pending_reply(history).created_at < deadline:
        return []
    reason = f"No answer came within {deadline}. The call was not run."
    return [return_message(_denial(call, reason), owner, now=now) for call in pending]


def _by_call(
    answer: NewAnswer, history: Sequence[Message], pending: Sequence[str]
) -> dict[str, ApprovalPart | ToolReturnPart]:
    """Each call's answer. One that names no calls is for those of the request it names, or of the last one."""
    named: list[ApprovalPart | ToolReturnPart] = [*answer.decisions, *answer.returns]
    if answer.decision is not None:
        approve, reason = answer.decision
        asked = [m for m in history if any(call.awaits for call in m.tool_calls)]
        if answer.request_id is not None:
            asked = [message for message in asked if message.id == answer.request_id]
        calls = [call.id for call in asked[-1].tool_calls if call.awaits] if asked else []
        # A request that was answered in parts is still asked about for what is left of it.
        calls = [id_ for id_ in calls if id_ in pending] or calls
        named += [ApprovalPart(id_, approve, reason) for id_ in calls]
    return {part.tool_call_id: part for part in named}


_Answers: TypeAlias = dict[str, list[tuple[str | None, ApprovalPart | ToolReturnPart]]]


def _answers_in(history: Sequence[Message]) -> _Answers:
    """The answers to each call in the history, with the runs they were given to, oldest first."""
    found: _Answers = {}
    for message in history:
        for part in message.content if message.role == "approval" else ():
            if isinstance(part, ApprovalPart | ToolReturnPart):
                found.setdefault(part.tool_call_id, []).append((message.run_id, part))
    return found


def _run_of_answer(answered: _Answers, given: ApprovalPart | ToolReturnPart) -> str | None:
    """The run that was given the same answer before."""
    earlier = answered.get(given.tool_call_id, ())
    return next((run_id for run_id, part in earlier if _same(part, given)), None)


def _same(stored: object, given: ApprovalPart | ToolReturnPart) -> bool:
    if isinstance(stored, ToolReturnPart) and isinstance(given, ToolReturnPart):
        return replace(stored, name="") == replace(given, name="")
    return stored == given


def _record(
    answer: NewAnswer, parts: tuple[ApprovalPart | ToolReturnPart, ...], asked_id: str, run: Run, now: datetime
) -> Message:
    """The answer as it was given, for those who read the history; models are shown what came of it."""
    return Message(
        id=new_message_id(),
        agent_id=run.agent_id,
        conversation_id=run.conversation_id,
        role="approval",
        content=parts,
        created_at=now,
        run_id=run.id,
        otid=answer.otid,
        group_id=answer.group_id,
        approval_request_id=asked_id if answer.decision is not None else None,
    )


def _apply(
    settled: Settlement, call: ToolCallPart, given: ApprovalPart | ToolReturnPart, run: Run, now: datetime
) -> None:
    if isinstance(given, ToolReturnPart):
        settled.messages.append(return_message(replace(given, name=call.name), run, now=now))
    elif given.approve and call.awaits == "approval":
        settled.approved.append(call)
    elif given.approve:
        reason = "The client approved the call but sent no result for it, and the tool runs on the client."
        settled.messages.append(return_message(_denial(call, reason), run, now=now))
    else:
        reason = f"The user denied this call: {given.reason or 'no reason given'}"
        settled.messages.append(return_message(_denial(call, reason), run, now=now))


def _denial(call: ToolCallPart, reason: str) -> ToolReturnPart:
    return ToolReturnPart(tool_call_id=call.id, name=call.name, content=reason, status="error")


def _pending_reply(history: Sequence[Message]) -> Message:
    """The reply whose calls are pending: only the last one can have any."""
    return next(message for message in reversed(history) if message.role == "assistant")
