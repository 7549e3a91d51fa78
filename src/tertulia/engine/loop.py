"""The loop: ask the model, run the tools it calls, ask again, until a reply calls none.

Every way of reading a reply reads what this loop writes to the run's log. A reply is made durable before the tools it
calls run, and each return when it is there, so that whatever happens the history is one that providers accept.
"""

import time
from collections.abc import Sequence
from contextlib import aclosing

from tertulia.domain.errors import ContextTooLong, ProviderConnectionLost, ProviderContentFiltered
from tertulia.domain.events import MessageAdded
from tertulia.domain.messages import ToolCallPart
from tertulia.domain.runs import StopReason
from tertulia.engine.compaction import Compactor, Room
from tertulia.engine.endings import Ending
from tertulia.engine.steps import StepRecord
from tertulia.engine.tool_calls import return_message, returned, run_calls
from tertulia.engine.turn import Turn
from tertulia.ports.provider import ModelRequest


class Loop:
    """The loop of one turn. ``open_step`` is the step whose reply is not stored yet, complete or not."""

    def __init__(self, turn: Turn, compactor: Compactor) -> None:
        self.open_step: StepRecord | None = None
        self._turn = turn
        self._compactor = compactor

    async def run(self) -> Ending:
        """Answer the turn's message. The last reply is left in ``open_step``, to be stored with the run's end.

        :raises ProviderError: if the model's reply could not be had.
        """
        turn = self._turn
        if turn.approved:
            await _run_tools(turn, None, turn.approved)
        if turn.pending:
            return Ending("requires_approval")
        while True:
            step = await self._reply()
            calls = [part for part in step.reply.content() if isinstance(part, ToolCallPart)]
            last = turn.step_count >= turn.max_steps
            if not calls and (last or not turn.rules.missing):
                return Ending(_why_it_ended(step))
            await self._store_reply(step)
            await _run_tools(turn, step, [call for call in calls if not call.awaits])
            if any(call.awaits for call in calls):
                return Ending("requires_approval")
            if turn.rules.over and not turn.rules.missing:
                return Ending("tool_rule")
            if last:
                return Ending("max_steps")

    async def _reply(self) -> StepRecord:
        """The next step with its reply. A history that is too long for the model is made shorter until it fits.

        :raises ContextTooLong: if that is not possible.
        """
        turn = self._turn
        room = Room(turn, self._compactor, request_for)
        turn.step_count += 1
        while True:
            step = self.open_step = StepRecord(turn, await room.request())
            head = turn.history.head
            try:
                await _ask(turn, step)
            except ContextTooLong as error:
                if step.reply.content():
                    raise
                self.open_step = None  # nothing was said: what counts is the request that is accepted
                await room.make_more(step.request, error)
            else:
                room.learn(step.request, head, step.usage)
                return step

    async def _store_reply(self, step: StepRecord) -> None:
        message, record = step.message(partial=False), step.step("success", None)
        messages = [message] if message else []
        await self._turn.commit(lambda tx: step.write(tx, record), messages=messages, then=self._close_step)

    def _close_step(self) -> None:
        self.open_step = None


def request_for(turn: Turn) -> ModelRequest:
    """The model call that the history as it stands asks for, with the tools that the rules allow now."""
    rules, history, specs = turn.rules, turn.history.shown(), turn.tool_specs
    names = rules.allowed(list(specs)) if rules else list(specs)
    forced = rules.forced
    if rules.missing and history and history[-1].role == "assistant":
        # The model wanted to end before it may: only what is missing is left to do.
        names, forced = rules.missing, True
    return ModelRequest(
        model=turn.card.name,
        system=turn.system,
        messages=history,
        tools=tuple(specs[name] for name in names if name in specs),
        tool_choice="required" if forced else "auto",
        settings=turn.settings,
        instructions=turn.agent.system,
        memory=turn.memory,
        cache_key=turn.conversation.id,
        context_window=turn.context_window,
        logprobs=turn.logprobs,
    )


async def _ask(turn: Turn, step: StepRecord) -> None:
    try:
        async with aclosing(turn.provider.stream(step.request)) as events:
            async for event in events:
                delta = step.reply.push(event)
                if delta is not None:
                    turn.log.append(delta)
                    if turn.ttft_ns is None:
                        turn.ttft_ns = time.monotonic_ns() - turn.started_ns
    finally:
        step.asked()
    finished = step.reply.finished
    if finished is None:
        raise ProviderConnectionLost(f"{turn.provider.name} ended its reply without finishing it.")
    if finished.reason == "content_filter":
        raise ProviderContentFiltered(f"{turn.provider.name} stopped the reply: its content filter objected.")
    turn.usage += step.usage
    turn.reply_logprobs = finished.logprobs
    turn.context_tokens = step.usage.total_tokens or None


def _why_it_ended(step: StepRecord) -> StopReason:
    finished = step.reply.finished
    return "max_tokens_exceeded" if finished and finished.reason == "length" else "end_turn"


async def _run_tools(turn: Turn, step: StepRecord | None, calls: Sequence[ToolCallPart]) -> None:
    begun, left = time.monotonic_ns(), len(calls)
    parallel = turn.settings is None or turn.settings.parallel_tool_calls is not False
    async with aclosing(run_calls(calls, turn.tools, turn.tool_context, turn.rules, parallel=parallel)) as outcomes:
        async for call, outcome in outcomes:
            left -= 1
            message = return_message(returned(call, outcome), turn.run, step_id=step.id if step else None)
            # With the last return the step is over, and what its tools took is known.
            over = step.step("success", None, tools_ns=time.monotonic_ns() - begun) if step and left == 0 else None
            await turn.commit(
                lambda tx, over=over: tx.steps.update(over) if over else None,
                messages=[message],
                events=[MessageAdded(message)],
            )
