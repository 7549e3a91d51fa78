"""Running the tool calls of a reply: side by side where every tool allows it, one after the other where not."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import Any, Protocol, TypeAlias, cast

import structlog

from tertulia.domain.clock import utc_now
from tertulia.domain.ids import new_message_id
from tertulia.domain.json_values import NotJson, decoded
from tertulia.domain.messages import Message, ToolCallPart, ToolReturnPart
from tertulia.domain.tools import ToolOutcome
from tertulia.engine.turn.context import Turn
from tertulia.ports.telemetry import ToolCalled

_log = structlog.get_logger(__name__)

# Old prompts teach models to pass these; the engine has no use for them, and no tool takes them.
IGNORED_ARGUMENTS = ("request_heartbeat", "inner_thoughts")


Note: TypeAlias = Callable[[ToolCallPart], Awaitable[None]]


async def run_calls(
    calls: Sequence[ToolCallPart], turn: Turn, *, parallel: bool, note: Note
) -> AsyncGenerator[tuple[ToolCallPart, ToolOutcome], None]:
    """Each call with its outcome, in the order they finish. Leaving the generator cancels what still runs.

    ``note`` is told of a call before its tool is run, where that must not run twice. Rules speak of the call before, so
    calls under rules run one after the other.
    """
    tools, rules = turn.tools, turn.rules
    beside = parallel and not rules and all(call.name in tools and tools[call.name].spec.parallel for call in calls)
    if len(calls) > 1 and beside:
        async with aclosing(_beside(calls, turn, note)) as outcomes:
            async for finished in outcomes:
                yield finished
        return
    for call in calls:
        refusal = rules.refusal(call.name, list(tools))
        outcome = _error(refusal) if refusal else await run_call(call, turn, note, rules.prefilled_arguments(call.name))
        if refusal is None:
            rules.record(call.name, outcome.content if isinstance(outcome.content, str) else "")
        yield call, outcome


async def run_call(
    call: ToolCallPart, turn: Turn, note: Note, prefilled: Mapping[str, Any] | None = None
) -> ToolOutcome:
    """The outcome of one call. Whatever a model or a tool does wrong is an outcome for the model to read."""
    tool = turn.tools.get(call.name)
    if tool is None:
        names = ", ".join(sorted(turn.tool_specs)) or "none"
        return _error(f"There is no tool '{call.name}'. The tools you have: {names}.")
    arguments = _arguments(call.arguments)
    if isinstance(arguments, ToolOutcome):
        return arguments
    if not tool.spec.idempotent:
        await note(call)
    started_ns, begun_ns, failed = time.time_ns(), time.monotonic_ns(), True
    try:
        outcome = await tool.call(arguments | dict(prefilled or {}), turn.tool_context)
        failed = outcome.status == "error"
    except Exception as error:  # noqa: BLE001 a tool's own bug: the model is told, the log has the trace, the run goes on
        _log.exception("tool_failed", tool=call.name, run_id=turn.run.id)
        return _error(f"The tool '{call.name}' failed: {type(error).__name__}: {error}")
    finally:
        turn.telemetry(
            ToolCalled(
                run_id=turn.run.id,
                call_id=call.id,
                name=call.name,
                started_ns=started_ns,
                duration_ns=time.monotonic_ns() - begun_ns,
                failed=failed,
            )
        )
    return _clip(outcome, tool.spec.return_char_limit)


def return_part(call: ToolCallPart, outcome: ToolOutcome) -> ToolReturnPart:
    return ToolReturnPart(
        tool_call_id=call.id,
        name=call.name,
        content=outcome.content,
        status=outcome.status,
        stdout=outcome.stdout,
        stderr=outcome.stderr,
    )


class RunOf(Protocol):
    """What a message says of the run that it belongs to."""

    @property
    def id(self) -> str | None: ...
    @property
    def agent_id(self) -> str: ...
    @property
    def conversation_id(self) -> str: ...


def return_message(
    part: ToolReturnPart, run: RunOf, *, step_id: str | None = None, now: datetime | None = None
) -> Message:
    """A call's return as a message of the run's conversation."""
    return Message(
        id=new_message_id(),
        agent_id=run.agent_id,
        conversation_id=run.conversation_id,
        role="tool",
        content=(part,),
        created_at=now or utc_now(),
        run_id=run.id,
        step_id=step_id,
        name=part.name,
        is_err=part.status == "error",
    )


async def _beside(
    calls: Sequence[ToolCallPart], turn: Turn, note: Note
) -> AsyncGenerator[tuple[ToolCallPart, ToolOutcome], None]:
    tasks = {asyncio.create_task(run_call(call, turn, note)): call for call in calls}
    try:
        waiting = set(tasks)
        while waiting:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                yield tasks[task], task.result()
    finally:
        for task in tasks:
            task.cancel()


def _arguments(text: str) -> dict[str, Any] | ToolOutcome:
    try:
        arguments: object = decoded(text or "{}")
    except NotJson as error:
        return _error(f"The arguments are not valid JSON ({error}). Repeat the call with a JSON object.")
    if not isinstance(arguments, dict):
        return _error("The arguments must be a JSON object. Repeat the call with one.")
    named = cast("dict[str, Any]", arguments)
    return {name: value for name, value in named.items() if name not in IGNORED_ARGUMENTS}


def _clip(outcome: ToolOutcome, limit: int) -> ToolOutcome:
    if not isinstance(outcome.content, str) or len(outcome.content) <= limit:
        return outcome
    note = f"… [clipped: {len(outcome.content)} characters, the limit is {limit}]"
    return ToolOutcome(
        content=outcome.content[:limit] + note, status=outcome.status, stdout=outcome.stdout, stderr=outcome.stderr
    )


def _error(text: str) -> ToolOutcome:
    return ToolOutcome(content=text, status="error")
