"""The loop: ask the model, run the tools it calls, ask again, until a reply calls none.

Every way of reading a reply reads what this loop writes to the run's log. A reply is made durable before the tools it
calls run, and each return when it is there, so that whatever happens the history is one that providers accept.
"""

import time
from collections.abc import Sequence
from contextlib import aclosing

import msgspec
import structlog

from tertulia.domain.errors import (
    ContextTooLong,
    ProviderConnectionLost,
    ProviderContentFiltered,
    ProviderEmptyReply,
    ProviderError,
    ProviderQuotaUsedUp,
)
from tertulia.domain.events import MessageAdded
from tertulia.domain.messages import ToolCallPart
from tertulia.domain.runs import FailedTry, Usage
from tertulia.engine.turn.compaction import Compactor, Room
from tertulia.engine.turn.context import Turn
from tertulia.engine.turn.cut_calls import MOST_IN_A_ROW, without_broken_calls
from tertulia.engine.turn.images import Images
from tertulia.engine.turn.model_call import ModelCall
from tertulia.engine.turn.outcome import Ending
from tertulia.engine.turn.refused_images import leave_out_images
from tertulia.engine.turn.step import StepRecord, failed_try
from tertulia.engine.turn.tool_calls import return_message, return_part, run_calls
from tertulia.ports.store import Transaction
from tertulia.ports.telemetry import StepBegan, StepEnded

_log = structlog.get_logger(__name__)


class Loop:
    """The loop of one turn. ``open_step`` is the step whose reply is not stored yet, complete or not."""

    def __init__(self, turn: Turn, compactor: Compactor, images: Images) -> None:
        self.open_step: StepRecord | None = None
        self._turn = turn
        self._compactor = compactor
        self._images = images

    async def run(self) -> Ending:
        """Answer the turn's message. The last reply is left in ``open_step``, to be stored with the run's end.

        :raises ProviderError: if the model's reply could not be had.
        """
        turn = self._turn
        if turn.interrupted:
            await _return_interrupted(turn)
        if turn.approved:
            await _run_tools(turn, None, turn.approved)
        if turn.pending:
            return Ending("requires_approval")
        if turn.step_count and (ending := _over_after_tools(turn)):  # one that another worker began
            return ending
        cut_in_a_row = 0
        while True:
            step = await self._reply()
            calls = step.reply.calls()
            last = turn.step_count >= turn.max_steps
            if not calls and (last or not turn.rules.missing):
                return Ending("max_tokens_exceeded" if _reached_its_limit(step) else "end_turn")
            turn.faults("before_reply_stored")
            told = await self._store_reply(step)
            turn.faults("after_reply_stored")
            calls = [call for call in calls if call.id not in told]
            await _run_tools(turn, step, [call for call in calls if not call.awaits])
            turn.telemetry(StepEnded(step.step("success", None)))
            turn.on_step()
            if any(call.awaits for call in calls):
                return Ending("requires_approval")
            if ending := _over_after_tools(turn):
                return ending
            cut_in_a_row = cut_in_a_row + 1 if told and _reached_its_limit(step) else 0
            if cut_in_a_row == MOST_IN_A_ROW:
                return Ending("max_tokens_exceeded")

    async def _reply(self) -> StepRecord:
        """The next step with its reply: of the model, or of the first to fall back on that can give one.

        :raises ProviderError: if none can, or one refuses what the others would refuse as well.
        """
        turn = self._turn
        turn.step_count += 1
        turn.telemetry(StepBegan(turn.run.id, turn.step_count))
        failed: list[FailedTry] = []
        *others, last = turn.choices
        for choice in others:
            turn.choice = choice
            try:
                return await self._reply_of_choice(failed)
            except ProviderError as error:
                step = self.open_step
                if step is None or not step.reply.empty or not _is_outage(error):
                    raise
                failed = [*step.failed_tries, failed_try(choice.card, error)]
                _log.warning("model_fell_back", run_id=turn.run.id, step_id=step.id, **msgspec.to_builtins(failed[-1]))
        turn.choice = last
        return await self._reply_of_choice(failed)

    async def _reply_of_choice(self, failed: Sequence[FailedTry]) -> StepRecord:
        """The next step with the reply of the turn's choice.

        A history that is too long for it is made shorter, and one whose images it refuses is shown without them.

        :raises ContextTooLong: if that is not possible.
        """
        turn = self._turn
        room = Room(turn, self._compactor, self._images)
        while True:
            step = self.open_step = StepRecord(turn, await room.request(), failed)
            head = turn.history.head
            try:
                usage = await _ask(turn, step)
            except ContextTooLong as error:
                if not step.reply.empty:
                    raise
                self.open_step = None  # nothing was said: what counts is the request that is accepted
                failed = step.failed_tries
                await room.make_more(step.request, error)
            except ProviderError as error:
                if not step.reply.empty or not leave_out_images(turn, error):
                    raise
                self.open_step = None
                failed = [*step.failed_tries, failed_try(turn.choice.card, error)]
            else:
                turn.history.taken = (turn.choice.card.handle, head)
                room.learn(step.request, head, usage)
                return step

    async def _store_reply(self, step: StepRecord) -> set[str]:
        """The ids of its calls that nobody could run, which have their returns with it."""
        message, record = step.message(partial=False), step.step("success", None)
        messages = without_broken_calls(step, message) if message else []
        told = list(map(MessageAdded, messages[1:]))
        asked = messages[0] if messages and any(call.awaits for call in messages[0].tool_calls) else None

        def write(tx: Transaction) -> None:
            step.write(tx, record)
            if asked is not None:
                tx.conversations.set_asked(asked.conversation_id, asked.created_at)

        await self._turn.commit(write, messages=messages, events=told, then=self._close_step)
        return {part.tool_call_id for added in messages[1:] for part in added.tool_returns}

    def _close_step(self) -> None:
        self.open_step = None


def _reached_its_limit(step: StepRecord) -> bool:
    finished = step.reply.finished
    return finished is not None and finished.reason == "length"


def _is_outage(error: ProviderError) -> bool:
    """Whether another model may well answer what this one could not. A quota is one provider's own."""
    return error.may_pass or isinstance(error, ProviderQuotaUsedUp)


async def _ask(turn: Turn, step: StepRecord) -> Usage:
    """Have the step's reply, and say what it used."""
    provider, reply = turn.choice.provider, step.reply
    turn.faults("before_model_call")
    call = ModelCall(turn.telemetry, provider, step.request, run_id=turn.run.id, purpose="reply")
    try:
        with call:
            await call.drain(reply.push, turn.log, turn.faults, step.on_retry)
            finished = call.finished
            if finished is None:
                raise ProviderConnectionLost(f"{provider.name} ended its reply before it was complete.")
            if finished.reason == "content_filter":
                raise ProviderContentFiltered(f"{provider.name} stopped the reply: its content filter objected.")
            if finished.reason != "length" and reply.empty:
                raise ProviderEmptyReply(provider.name, turn.choice.card.handle)
    finally:
        step.llm_ns = call.duration_ns
        if turn.ttft_ns is None and call.first_ns is not None:
            turn.ttft_ns = call.first_ns - turn.started_ns
    usage = finished.usage or Usage()
    turn.usage += usage
    turn.reply_logprobs = finished.logprobs
    turn.context_tokens = usage.total_tokens or None
    return usage


def _over_after_tools(turn: Turn) -> Ending | None:
    """Why the run is over now that its calls have returned; None if the model is asked again."""
    if turn.rules.over and not turn.rules.missing:
        return Ending("tool_rule")
    return Ending("max_steps") if turn.step_count >= turn.max_steps else None


async def _return_interrupted(turn: Turn) -> None:
    messages = turn.interrupted
    await turn.commit(lambda _: None, messages=messages, events=list(map(MessageAdded, messages)))
    for part in (part for message in messages for part in message.tool_returns):
        turn.rules.record(part.name, "")


async def _run_tools(turn: Turn, step: StepRecord | None, calls: Sequence[ToolCallPart]) -> None:
    begun, left = time.monotonic_ns(), len(calls)
    parallel = turn.choice.settings is None or turn.choice.settings.parallel_tool_calls is not False

    async def note(call: ToolCallPart) -> None:
        await turn.commit(lambda tx: tx.runs.note_call(turn.run.id, call.id))
        turn.faults("call_noted")

    running = run_calls(calls, turn, parallel=parallel, note=note)
    async with aclosing(running) as outcomes:
        async for call, outcome in outcomes:
            turn.faults("during_call")
            left -= 1
            message = return_message(return_part(call, outcome), turn.run, step_id=step.id if step else None)
            # With the last return the step is over, and what its tools took is known.
            over = step.step("success", None, tools_ns=time.monotonic_ns() - begun) if step and left == 0 else None
            await turn.commit(
                lambda tx, over=over: tx.steps.update(over) if over else None,
                messages=[message],
                events=[MessageAdded(message)],
            )
            if left:
                turn.faults("between_calls")
