"""A turn: everything one run works with, and its way of making things durable before they are told."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from tertulia.domain.agents import Agent
from tertulia.domain.conversations import Conversation
from tertulia.domain.errors import StoreUnavailable
from tertulia.domain.events import Event
from tertulia.domain.messages import Awaited, Base64Image, Message, ToolCallPart
from tertulia.domain.runs import Run, Usage
from tertulia.domain.tools import ToolSpec
from tertulia.engine.turn.history import History
from tertulia.engine.turn.images import Images
from tertulia.engine.turn.model_choice import Choice
from tertulia.engine.turn.tool_rules import ToolRules
from tertulia.ports.event_log import RunLog
from tertulia.ports.faults import Faults, no_faults
from tertulia.ports.provider import MemoryView, ModelRequest
from tertulia.ports.store import Store, Transaction
from tertulia.ports.telemetry import Telemetry, no_telemetry
from tertulia.ports.tool import Tool, ToolContext

T = TypeVar("T")

STORE_WAITS = (0.1, 0.2, 0.5, 1.0, 2.0, 2.0, 2.0)
"""Seconds between one try to store what a model said, and the next."""


def _nothing() -> None:
    """What is called if nobody wants to know."""


@dataclass(slots=True, kw_only=True)
class Turn:
    """One run while it is being answered. Only its own task touches it.

    ``token`` is the fencing token of all it writes. ``approved`` are calls that answers of this run's request let go,
    or that a worker left; ``interrupted`` are returns of those that must not run again; ``pending`` says that others
    still wait. A turn that is ``rolled_back`` takes with it all that it added from position ``first`` on.

    ``choices`` are the model and those to fall back on, ``choice`` the one that is being asked. ``images`` are what the
    history's image addresses lead to, where that model's provider does not fetch them itself. ``on_step`` is called
    when a step that goes on is over: its reply and its calls' returns are stored.
    """

    run: Run
    agent: Agent
    conversation: Conversation
    system: str
    memory: tuple[MemoryView, ...]
    choices: tuple[Choice, ...]
    choice: Choice
    max_steps: int
    logprobs: int | None
    tools: dict[str, Tool]
    client_tools: dict[str, ToolSpec]
    rules: ToolRules
    tool_context: ToolContext
    history: History
    first: int
    store: Store
    log: RunLog
    started_ns: int
    token: int = 1
    faults: Faults = no_faults
    telemetry: Telemetry = no_telemetry
    on_step: Callable[[], None] = _nothing
    traceparent: str | None = None
    usage: Usage = field(default_factory=Usage)
    context_tokens: int | None = None
    reply_logprobs: dict[str, Any] | None = None
    step_count: int = 0
    ttft_ns: int | None = None
    approved: tuple[ToolCallPart, ...] = ()
    interrupted: tuple[Message, ...] = ()
    pending: bool = False
    rolled_back: bool = False
    images: dict[str, Base64Image | str] = field(default_factory=dict[str, Base64Image | str])

    @property
    def tool_specs(self) -> dict[str, ToolSpec]:
        """What the model may be told of: the agent's tools and the client's, which go before those of the same name."""
        return {name: tool.spec for name, tool in self.tools.items()} | self.client_tools

    def awaits(self, name: str) -> Awaited | None:
        """What calls of a tool wait for."""
        if name in self.client_tools:
            return "client"
        return "approval" if self.rules.needs_approval(name) else None

    def request(self) -> ModelRequest:
        """The model call that the history as it stands asks for, with the tools that the rules allow now."""
        choice, specs = self.choice, self.tool_specs
        history = self.history.visible_to(choice.card.handle)
        tools, forced = self.rules.offer(specs, after_reply=bool(history) and history[-1].role == "assistant")
        return ModelRequest(
            model=choice.card.name,
            system=self.system,
            messages=history,
            tools=tools,
            tool_choice="required" if forced else "auto",
            settings=choice.settings,
            instructions=self.agent.system,
            memory=self.memory,
            cache_key=self.conversation.id,
            context_window=choice.context_window,
            logprobs=self.logprobs if choice.card.gives_logprobs else None,
            images=self.images,
        )

    async def load_images(self, images: Images) -> None:
        """Have what the history's image addresses lead to, where the model's provider needs it."""
        self.images = {} if self.choice.provider.takes_image_urls else await images.load(self.history.image_urls)

    async def commit(
        self,
        work: Callable[[Transaction], None],
        *,
        messages: Sequence[Message] = (),
        events: Sequence[Event] = (),
        then: Callable[[], None] | None = None,
    ) -> None:
        """Store messages, whatever ``work`` writes and the events so far in one transaction; then tell the readers.

        ``then`` is what has to follow if it was stored: a cancel that comes meanwhile waits for it, and is raised
        after it.
        """
        await run_to_end(self._commit(work, messages, events, then))

    async def _commit(
        self,
        work: Callable[[Transaction], None],
        messages: Sequence[Message],
        events: Sequence[Event],
        then: Callable[[], None] | None,
    ) -> None:
        await self.log.settle()
        chunk = self.log.stage(*events)

        def write(tx: Transaction) -> int:
            tx.runs.hold(self.run.id, self.token)
            head = tx.messages.append(self.conversation.id, messages) if messages else self.history.head
            work(tx)
            if chunk is not None:
                tx.events.append(self.run.id, chunk)
            return head

        try:
            head = await self._write(write)
        except BaseException:
            self.log.discard(chunk)
            raise
        self.history.append(messages, head)
        if then is not None:
            then()
        self.log.stored(chunk)

    async def _write(self, write: Callable[[Transaction], int]) -> int:
        """What ``write`` gives. A store that cannot be reached is waited for a little: databases are restarted."""
        waits = iter(STORE_WAITS if self.store.shared else ())
        while True:
            try:
                return await self.store.write(write)
            except StoreUnavailable:
                wait = next(waits, None)
                if wait is None:
                    raise
                await asyncio.sleep(wait)


async def run_to_end(work: Awaitable[T]) -> T:
    """The result of the work, which is carried to its end even if the caller is cancelled; the cancel comes after."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            if task.cancelled():
                raise
            cancelled = error
        except BaseException:
            if not task.done():
                raise
    if cancelled is not None:
        task.exception()  # seen, so that it is not reported as forgotten
        raise cancelled
    return task.result()
