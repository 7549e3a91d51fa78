"""What a run begins with, put together from its request and what the store has: its record, its prompt and its turn."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from sys import intern
from typing import Any, TypeVar

from tertulia.context.skills import with_skills
from tertulia.domain.clock import utc_now
from tertulia.domain.errors import InvalidArgument
from tertulia.domain.ids import new_run_id
from tertulia.domain.messages import Message
from tertulia.domain.runs import Run
from tertulia.engine.lifecycle.start import Begun
from tertulia.engine.requests import SendRequest
from tertulia.engine.system_prompts import refresh
from tertulia.engine.tools.toolbox import Toolbox
from tertulia.engine.turn.context import Turn
from tertulia.engine.turn.history import History
from tertulia.engine.turn.model_choice import Choice, choose
from tertulia.engine.turn.tool_rules import ToolRules
from tertulia.ports.catalogue import Catalogue
from tertulia.ports.event_log import RunLog
from tertulia.ports.faults import Faults, no_faults
from tertulia.ports.provider import MemoryView
from tertulia.ports.store import Snapshot, Store, Transaction
from tertulia.ports.telemetry import Telemetry, no_telemetry
from tertulia.ports.tool import ToolContext

T = TypeVar("T")


def new_run(request: SendRequest, seen: Snapshot) -> Run:
    """The record of a run that is to answer the request."""
    return Run(
        id=new_run_id(),
        # Each message of a run has these: one text for all of a history.
        agent_id=intern(seen.agent.id),
        conversation_id=intern(request.conversation_id),
        status="running",
        created_at=utc_now(),
        background=request.background,
        callback_url=request.callback_url,
        fingerprint=request.fingerprint,
        request_config=request.config,
        input_otids=tuple(sent.otid for sent in (*request.messages, *request.answers) if sent.otid),
    )


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a run needs to know before it begins: the models to ask in their order, and the system prompt.

    ``compiled`` is the conversation's prompt compiled anew; None if what is stored is not stale.
    """

    choices: tuple[Choice, ...]
    prompt: str
    compiled: Message | None = None


def prepare(catalogue: Catalogue, request: SendRequest, seen: Snapshot, *, compile_anew: bool) -> Prepared:
    """Decide what answers the request.

    :raises InvalidArgument: if the model cannot do what the request asks of it. What else, :func:`choose` says.
    """
    compiled = refresh(seen.agent, seen.blocks, seen.conversation, seen.system) if compile_anew else None
    prompt = _prompt_of(request, compiled or seen.system)
    choices = choose(catalogue, seen.agent, seen.conversation, request.override_model)
    card = choices[0].card
    if request.logprobs is not None and not card.gives_logprobs:
        raise InvalidArgument(
            f"INVALID_ARGUMENT: the model {card.handle} returns no log probabilities. Send the message without "
            "'return_logprobs', or to a model of an OpenAI-compatible provider.",
        )
    return Prepared(choices, prompt, compiled)


def _prompt_of(request: SendRequest, system: Message) -> str:
    """The system prompt of this run: the conversation's or the request's own, and the client's skills."""
    prompt = system.text if request.override_system is None else request.override_system
    return with_skills(prompt, request.client_skills)


class Turns:
    """Makes the turns of runs out of what all of them work with."""

    def __init__(
        self,
        store: Store,
        toolbox: Toolbox,
        faults: Faults = no_faults,
        telemetry: Telemetry = no_telemetry,
    ) -> None:
        self.toolbox = toolbox
        self.telemetry = telemetry
        self._store = store
        self._faults = faults

    def turn(
        self,
        request: SendRequest,
        begun: Begun,
        seen: Snapshot,
        prepared: Prepared,
        *,
        log: RunLog,
        token: int = 1,
    ) -> Turn:
        """Everything the run works with."""
        run, conversation = begun.run, begun.conversation
        shown = {block.id: block.version for block in seen.blocks}
        memory = tuple([MemoryView(block.label, block.value, block.description) for block in seen.blocks])
        tools = {tool.spec.name: tool for tool in self.toolbox.tools(seen.agent, seen.tools)}
        client_tools = {spec.name: spec for spec in request.client_tools}
        fenced = FencedStore(self._store, run.id, token)
        return Turn(
            run=run,
            agent=seen.agent,
            conversation=conversation,
            system=prepared.prompt,
            memory=memory,
            choices=prepared.choices,
            choice=prepared.choices[0],
            max_steps=request.max_steps,
            logprobs=request.logprobs,
            tools=tools,
            client_tools=client_tools,
            rules=ToolRules(seen.agent.tool_rules),
            tool_context=ToolContext(fenced, run.agent_id, run.conversation_id, run.id, shown),
            history=History(conversation.id, conversation.epoch, conversation.context_from, begun.first),
            first=begun.first,
            store=self._store,
            log=log,
            started_ns=time.monotonic_ns(),
            token=token,
            faults=self._faults,
            telemetry=self.telemetry,
            traceparent=request.traceparent,
            approved=tuple(begun.settlement.approved),
            pending=bool(begun.settlement.pending),
        )


class FencedStore:
    """The store as a run's tools see it: nothing is written for a run that another worker has."""

    def __init__(self, store: Store, run_id: str, token: int) -> None:
        self._store = store
        self._run_id = run_id
        self._token = token

    @property
    def shared(self) -> bool:
        return self._store.shared

    async def read(self, work: Callable[[Transaction], T]) -> T:
        return await self._store.read(work)

    async def write(self, work: Callable[[Transaction], T]) -> T:
        """:raises LeaseLost: if another worker has the run."""

        def held(tx: Transaction) -> T:
            tx.runs.hold(self._run_id, self._token)
            return work(tx)

        return await self._store.write(held)

    async def check_writing(self, seconds: float) -> None:
        await self._store.check_writing(seconds)

    async def close(self) -> None:
        """The store is not the tools' to close."""

    def describe(self) -> dict[str, Any]:
        return self._store.describe()
