"""Agents: creating, changing and showing them with their memory, tools and default conversation."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import structlog
from msgspec.structs import replace

from tertulia.domain.agents import Agent, AgentActivity, AgentType, BusyPolicy, CompactionSettings
from tertulia.domain.blocks import Block, check
from tertulia.domain.clock import utc_now
from tertulia.domain.conversations import Conversation
from tertulia.domain.errors import ConversationBusy, InvalidArgument, NotFound, StoreUnavailable
from tertulia.domain.ids import new_agent_id, new_message_id
from tertulia.domain.messages import Message
from tertulia.domain.models import EmbeddingCard, ModelCard, ModelSettings
from tertulia.domain.tools import StoredTool, ToolSpec
from tertulia.engine.agent_blocks import block_by_label, check_labels, edit, set_blocks
from tertulia.engine.approvals import pending_request
from tertulia.engine.conversations import in_context_ids
from tertulia.engine.default_prompts import default_system
from tertulia.engine.in_force import settings_in_force
from tertulia.engine.requests import NewMessage
from tertulia.engine.runs import Runs
from tertulia.engine.system_prompts import recompile, system_message
from tertulia.engine.tools.defaults import base_rules, tool_names
from tertulia.engine.tools.of_agents import attached, detached, with_approval, with_tools
from tertulia.engine.tools.toolbox import Toolbox
from tertulia.engine.turn.context import run_to_end
from tertulia.engine.turn.tool_rules import distinct
from tertulia.engine.validation import check_agent
from tertulia.ports.catalogue import Catalogue
from tertulia.ports.queries import AgentQuery
from tertulia.ports.store import Store, Transaction

_log = structlog.get_logger(__name__)

_ROWS_AT_ONCE = 200
"""Of an agent that is deleted; others write between one such piece and the next."""
_SWEEP_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentDraft:
    """What a client says of an agent to be; None takes the default.

    ``initial_messages`` begin the default conversation. ``memory_variables`` replace ``{{name}}`` in block values.
    """

    name: str | None = None
    agent_type: AgentType = "letta_v1_agent"
    system: str | None = None
    description: str | None = None
    model: str | None = None
    model_settings: ModelSettings | None = None
    context_window_limit: int | None = None
    embedding: str | None = None
    compaction_settings: CompactionSettings | None = None
    tools: tuple[str, ...] = ()
    tool_ids: tuple[str, ...] = ()
    include_base_tools: bool = True
    include_base_tool_rules: bool | None = None
    tool_rules: tuple[dict[str, Any], ...] = ()
    tags: tuple[str, ...] = ()
    metadata: dict[str, Any] | None = None
    timezone: str = "UTC"
    hidden: bool | None = None
    message_buffer_autoclear: bool = False
    project_id: str | None = None
    max_files_open: int | None = None
    per_file_view_window_char_limit: int | None = None
    busy_policy: BusyPolicy | None = None
    fallback_models: tuple[str, ...] = ()
    memory_blocks: tuple[Block, ...] = ()
    block_ids: tuple[str, ...] = ()
    memory_variables: Mapping[str, str] = field(default_factory=dict[str, str])
    initial_messages: tuple[NewMessage, ...] = ()


_AS_DRAFTED: Final = tuple(
    name
    for name in Agent.__struct_fields__
    if name in AgentDraft.__slots__ and name not in {"name", "system", "model", "tool_ids", "tool_rules", "tags"}
)
"""Fields of an agent that are just what its draft says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentView:
    """An agent with everything that is shown of it. ``model`` is None when its provider is not configured any more.

    ``settings`` are those in force: the agent's, and what its model does by itself.

    ``pending_approval`` is what the default conversation waits for: the reply with the calls that have no answer yet.
    """

    agent: Agent
    activity: AgentActivity
    blocks: list[Block]
    tools: list[ToolSpec]
    model: ModelCard | None
    settings: ModelSettings | None
    embedding: EmbeddingCard | None
    message_ids: list[str]
    pending_approval: Message | None = None


class Agents:
    """The operations on agents."""

    def __init__(self, store: Store, catalogue: Catalogue, toolbox: Toolbox, runs: Runs) -> None:
        self._runs = runs
        self._store = store
        self._catalogue = catalogue
        self._toolbox = toolbox

    async def create(self, draft: AgentDraft) -> AgentView:
        """Make an agent, its new blocks and its default conversation.

        :raises InvalidArgument: if its model, settings, tools or timezone cannot be used.
        :raises NotFound: if a block or tool id names nothing.
        """
        agent, names = self._agent(draft), tool_names(draft.agent_type, draft.tools, base=draft.include_base_tools)
        blocks = [_fill_in(block, draft.memory_variables) for block in draft.memory_blocks]
        messages = [_initial(new, agent) for new in draft.initial_messages]

        def write(tx: Transaction) -> _Loaded:
            ids = dict.fromkeys([*self._toolbox.ids_of(names, tx), *agent.tool_ids])
            equipped = with_tools(replace(agent, tool_ids=tuple(ids)), (), self._toolbox, tx)
            return _insert(equipped, blocks, draft.block_ids, messages, tx)

        return self._view(await self._store.write(write))

    async def get(self, agent_id: str) -> AgentView:
        return self._view(await self._store.read(lambda tx: _load(tx, tx.agents.get(agent_id))))

    async def find(self, query: AgentQuery) -> list[AgentView]:
        loaded = await self._store.read(lambda tx: [_load(tx, agent) for agent in tx.agents.find(query)])
        return [self._view(each) for each in loaded]

    async def update(self, agent_id: str, changes: Mapping[str, Any]) -> AgentView:
        """Change the named fields of the agent; ``block_ids`` replaces its blocks, the ``last_…`` fields its activity.

        :raises InvalidArgument: as for ``create``.
        """
        fields = dict(changes)
        block_ids: Sequence[str] | None = fields.pop("block_ids", None)
        if "tool_rules" in fields:
            fields["tool_rules"] = distinct(fields["tool_rules"])
        activity = {name: fields.pop(name) for name in AgentActivity.__struct_fields__ if name in fields}

        def write(tx: Transaction) -> _Loaded:
            before = tx.agents.get(agent_id)
            changed = replace(before, **fields, updated_at=utc_now())
            check_agent(self._catalogue, changed, before)
            agent = with_tools(changed, before.tool_ids, self._toolbox, tx)
            tx.agents.update(agent)
            if block_ids is not None:
                set_blocks(tx, agent_id, block_ids)
            if activity:
                tx.agents.set_activity(agent_id, replace(tx.agents.activity([agent_id])[agent_id], **activity))
            return _load(tx, agent)

        return self._view(await self._store.write(write))

    async def delete(self, agent_id: str) -> None:
        """Remove the agent and all that was said with it; what it is running is stopped first."""
        await self._runs.cancel_agent(agent_id)
        await self._store.write(lambda tx: tx.agents.mark_deleted(agent_id))
        await self._runs.cancel_agent(agent_id)  # what began in between has nothing to be said in
        await run_to_end(self._remove(agent_id))

    async def finish_deletions(self) -> None:
        """Go on with what a process that died was deleting."""
        for agent_id in await self._store.read(lambda tx: tx.agents.half_deleted()):
            _log.info("deletion_resumed", agent_id=agent_id)
            await self._remove(agent_id)

    async def sweep(self) -> None:
        """Finish deletions now and again, until cancelled: another process may have died in the middle of one."""
        while True:
            try:
                await self.finish_deletions()
            except StoreUnavailable as error:
                _log.warning("deletions_not_finished", error=str(error))
            await asyncio.sleep(_SWEEP_SECONDS)

    async def _remove(self, agent_id: str) -> None:
        """In pieces, between which others write: an agent may have a million messages."""
        while await self._store.write(lambda tx: tx.agents.delete_some(agent_id, _ROWS_AT_ONCE)):
            pass
        with contextlib.suppress(NotFound):  # another process has finished it
            await self._store.write(lambda tx: tx.agents.delete(agent_id))

    async def attach_tool(self, agent_id: str, tool_id: str) -> AgentView:
        """Give the agent a tool.

        :raises NotFound: if there is no such tool.
        """

        def change(agent: Agent, tx: Transaction) -> Agent:
            self._toolbox.check([tool_id], tx)
            return attached(agent, tool_id)

        return await self._change(agent_id, change)

    async def detach_tool(self, agent_id: str, tool_id: str) -> AgentView:
        """Take a tool away.

        :raises NotFound: if the agent does not have it.
        """
        return await self._change(agent_id, lambda agent, _: detached(agent, tool_id))

    async def set_approval(self, agent_id: str, tool_name: str, *, required: bool) -> AgentView:
        """Say whether calls of a tool wait for a person's approval.

        :raises NotFound: if the agent has no tool of this name.
        """

        def change(agent: Agent, tx: Transaction) -> Agent:
            if tool_name not in {spec.name for spec in self._toolbox.specs(agent, tx.tools_of(agent))}:
                raise NotFound("Tool", tool_name)
            return with_approval(agent, tool_name, required=required)

        return await self._change(agent_id, change)

    async def _change(self, agent_id: str, change: Callable[[Agent, Transaction], Agent]) -> AgentView:
        def write(tx: Transaction) -> _Loaded:
            before = tx.agents.get(agent_id)
            changed = with_tools(change(before, tx), before.tool_ids, self._toolbox, tx)
            agent = replace(changed, updated_at=utc_now())
            tx.agents.update(agent)
            return _load(tx, agent)

        return self._view(await self._store.write(write))

    async def attach_block(self, agent_id: str, block_id: str) -> AgentView:
        def write(tx: Transaction) -> _Loaded:
            agent, block = tx.agents.get(agent_id), tx.blocks.get(block_id)
            check_labels([*tx.blocks.of_agents([agent_id])[agent_id], block])
            tx.blocks.attach(agent_id, block_id)
            return _load(tx, agent)

        return self._view(await self._store.write(write))

    async def detach_block(self, agent_id: str, block_id: str) -> AgentView:
        def write(tx: Transaction) -> _Loaded:
            agent = tx.agents.get(agent_id)
            if block_id not in {block.id for block in tx.blocks.of_agents([agent_id])[agent_id]}:
                raise NotFound("Block", block_id)
            tx.blocks.detach(agent_id, block_id)
            return _load(tx, agent)

        return self._view(await self._store.write(write))

    async def block_by_label(self, agent_id: str, label: str) -> Block:
        return await self._store.read(lambda tx: block_by_label(tx, agent_id, label))

    async def edit_block(self, block_id: str, changes: Mapping[str, Any]) -> Block:
        """Change the named fields of a block, whoever else uses it.

        :raises BlockLimitExceeded: if the value is longer than the limit.
        """
        return await self._store.write(lambda tx: edit(tx, tx.blocks.get(block_id), changes))

    async def edit_block_by_label(self, agent_id: str, label: str, changes: Mapping[str, Any]) -> Block:
        return await self._store.write(lambda tx: edit(tx, block_by_label(tx, agent_id, label), changes))

    async def recompile(self, agent_id: str, *, dry_run: bool, update_timestamp: bool) -> str:
        """The default conversation's system prompt, compiled now; stored unless it is a dry run."""
        work = partial(recompile, agent_id, dry_run=dry_run, update_timestamp=update_timestamp)
        return await (self._store.read(work) if dry_run else self._store.write(work))

    async def reset_messages(self, agent_id: str) -> AgentView:
        """Forget the default conversation's messages, the system prompt aside."""

        def write(tx: Transaction) -> _Loaded:
            agent = tx.agents.get(agent_id)
            active = tx.runs.active(agent_id)
            if active is not None:
                raise ConversationBusy(active.id)
            tx.messages.reset(agent_id)
            tx.conversations.set_context(agent_id, 1)
            return _load(tx, agent)

        return self._view(await self._store.write(write))

    def _agent(self, draft: AgentDraft) -> Agent:
        now, agent_id = utc_now(), new_agent_id()
        names = tool_names(draft.agent_type, draft.tools, base=draft.include_base_tools)
        rules = base_rules(draft.agent_type, names, wanted=draft.include_base_tool_rules)
        agent = Agent(
            id=agent_id,
            name=draft.name or f"agent {agent_id[-6:]}",
            system=default_system(draft.agent_type) if draft.system is None else draft.system,
            model=draft.model or self._default_model(),
            created_at=now,
            updated_at=now,
            tool_ids=draft.tool_ids,
            tool_rules=distinct((*rules, *draft.tool_rules)),
            tags=tuple(dict.fromkeys(draft.tags)),
            **{name: getattr(draft, name) for name in _AS_DRAFTED},
        )
        check_agent(self._catalogue, agent)
        return agent

    def _default_model(self) -> str:
        """The model of an agent that names none.

        :raises InvalidArgument: if there is none that can be used.
        """
        model, hint = self._catalogue.default_model, "Name a model in 'model' (GET /v1/models/ lists them)"
        if model is None:
            raise InvalidArgument(
                f"INVALID_ARGUMENT: no model given and no default model is configured. {hint} or set "
                "TERTULIA_DEFAULT_MODEL.",
            )
        try:
            self._catalogue.card(model)
        except InvalidArgument as error:
            reason = error.message.removeprefix("INVALID_ARGUMENT: ")
            raise InvalidArgument(
                f"INVALID_ARGUMENT: no model given, and the default model '{model}' cannot be used: {reason} {hint}, "
                "or set TERTULIA_DEFAULT_MODEL to one of them.",
            ) from error
        return model

    def _view(self, loaded: "_Loaded") -> AgentView:
        agent = loaded.agent
        try:
            model = self._catalogue.card(agent.model)
        except InvalidArgument:
            model = None  # its provider was taken out of the configuration; the agent is still there to be shown
        return AgentView(
            agent=agent,
            activity=loaded.activity,
            blocks=loaded.blocks,
            tools=self._toolbox.specs(agent, loaded.tools),
            model=model,
            settings=settings_in_force(self._catalogue, agent.model, agent.model_settings),
            embedding=self._catalogue.embedding(agent.embedding) if agent.embedding else None,
            message_ids=loaded.message_ids,
            pending_approval=loaded.pending_approval,
        )


@dataclass(frozen=True, slots=True)
class _Loaded:
    agent: Agent
    activity: AgentActivity
    blocks: list[Block]
    tools: list[StoredTool]
    message_ids: list[str]
    pending_approval: Message | None


def _load(tx: Transaction, agent: Agent) -> _Loaded:
    ids, default = [agent.id], tx.conversations.get(agent.id)
    return _Loaded(
        agent,
        tx.agents.activity(ids)[agent.id],
        tx.blocks.of_agents(ids)[agent.id],
        tx.tools_of(agent),
        in_context_ids(tx, default),
        pending_request(default, tx),
    )


def _insert(
    agent: Agent, blocks: Sequence[Block], block_ids: Sequence[str], messages: Sequence[Message], tx: Transaction
) -> _Loaded:
    shared = [tx.blocks.get(block_id) for block_id in dict.fromkeys(block_ids)]
    check_labels([*blocks, *shared])
    tx.agents.insert(agent)
    for block in blocks:
        tx.blocks.insert(block)
    for block in (*blocks, *shared):
        tx.blocks.attach(agent.id, block.id)
    default = Conversation(id=agent.id, agent_id=agent.id, created_at=agent.created_at, updated_at=agent.created_at)
    tx.conversations.insert(default, system_message(agent, [*blocks, *shared], default))
    if messages:
        tx.messages.append(default.id, messages)
    return _load(tx, agent)


def _fill_in(block: Block, variables: Mapping[str, str]) -> Block:
    value = block.value
    for name, replacement in variables.items():
        value = value.replace("{{" + name + "}}", replacement)
    return check(replace(block, value=value))


def _initial(new: NewMessage, agent: Agent) -> Message:
    return Message(
        id=new_message_id(),
        agent_id=agent.id,
        conversation_id=agent.id,
        role=new.role,
        content=new.content,
        created_at=utc_now(),
        otid=new.otid,
        name=new.name,
        sender_id=new.sender_id,
        group_id=new.group_id,
        batch_item_id=new.batch_item_id,
    )
