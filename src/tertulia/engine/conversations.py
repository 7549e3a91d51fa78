"""Conversations: opening, changing, showing and removing an agent's threads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from msgspec.structs import replace

from tertulia.domain.clock import utc_now
from tertulia.domain.conversations import Conversation
from tertulia.domain.errors import InvalidArgument, NotFound
from tertulia.domain.ids import DEFAULT_CONVERSATION, new_conversation_id
from tertulia.domain.messages import ToolCallPart
from tertulia.domain.models import ModelSettings
from tertulia.engine.approvals import pending_request
from tertulia.engine.forks import fork_conversation
from tertulia.engine.isolated_blocks import delete_own_blocks, isolate
from tertulia.engine.lifecycle.compaction_run import Compacted, undo
from tertulia.engine.runs import Runs
from tertulia.engine.system_prompts import recompile, system_message
from tertulia.engine.turn.history import Histories, pinned_messages
from tertulia.engine.validation import check_conversation
from tertulia.ports.catalogue import Catalogue
from tertulia.ports.faults import Faults, no_faults
from tertulia.ports.queries import ConversationQuery
from tertulia.ports.store import Store, Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationDraft:
    """What a client says of a conversation to be. It gets its own copies of the agent's blocks that it isolates."""

    summary: str | None = None
    description: str | None = None
    model: str | None = None
    model_settings: ModelSettings | None = None
    context_window_limit: int | None = None
    fallback_models: tuple[str, ...] | None = None
    hidden: bool = False
    isolated_block_labels: tuple[str, ...] = ()


class Conversations:
    """The operations on conversations. Ids are stored ids; ``resolve`` makes them from the wire's."""

    def __init__(
        self, store: Store, catalogue: Catalogue, runs: Runs, histories: Histories, faults: Faults = no_faults
    ) -> None:
        self._faults = faults
        self._store = store
        self._catalogue = catalogue
        self._runs = runs
        self._histories = histories

    def resolve(self, conversation_id: str, agent_id: str | None = None) -> str:
        """The stored id: an agent's default conversation is stored under the agent's id.

        Clients of before ``default`` put the agent's id in its place, which so needs no case of its own.

        :raises InvalidArgument: if ``default`` comes without an agent.
        """
        if conversation_id != DEFAULT_CONVERSATION:
            return conversation_id
        if agent_id is None:
            raise InvalidArgument(
                "INVALID_ARGUMENT: 'default' names the default conversation of an agent: pass agent_id as well.",
            )
        return agent_id

    async def create(self, agent_id: str, draft: ConversationDraft) -> Conversation:
        """Open a conversation with an agent.

        :raises NotFound: if there is no such agent.
        :raises InvalidArgument: if the model or its settings cannot be used.
        """
        now = utc_now()
        conversation = Conversation(
            id=new_conversation_id(),
            agent_id=agent_id,
            created_at=now,
            updated_at=now,
            summary=draft.summary,
            description=draft.description,
            model=draft.model,
            model_settings=draft.model_settings,
            context_window_limit=draft.context_window_limit,
            fallback_models=draft.fallback_models,
            hidden=draft.hidden,
        )
        return await self._store.write(partial(self._insert, conversation, draft.isolated_block_labels))

    async def fork(self, conversation_id: str, message_id: str | None = None, *, hidden: bool = False) -> Conversation:
        """A new conversation that goes on from this one's end, or from a message and what its calls came to.

        :raises NotFound: if there is no such conversation, or no such message in it.
        :raises Conflict: if the message's tool calls are being run just now.
        """

        def write(tx: Transaction) -> Conversation:
            _get(tx, conversation_id)
            fork = fork_conversation(conversation_id, message_id, tx, hidden=hidden)
            self._faults("during_fork")
            return fork

        return await self._store.write(write)

    async def get(self, conversation_id: str) -> Conversation:
        return await self._store.read(lambda tx: _get(tx, conversation_id))

    async def with_context(self, conversation_id: str) -> tuple[Conversation, list[str]]:
        """The conversation and the ids of the messages that the model is shown."""

        def read(tx: Transaction) -> tuple[Conversation, list[str]]:
            conversation = _get(tx, conversation_id)
            return conversation, in_context_ids(tx, conversation)

        return await self._store.read(read)

    async def pending_calls(self, conversation_id: str) -> Sequence[ToolCallPart]:
        """The tool calls that wait for an answer before the conversation goes on."""

        def read(tx: Transaction) -> Sequence[ToolCallPart]:
            request = pending_request(_get(tx, conversation_id), tx)
            return request.tool_calls if request else ()

        return await self._store.read(read)

    async def find(self, query: ConversationQuery) -> list[Conversation]:
        return await self._store.read(lambda tx: tx.conversations.find(query))

    async def update(self, conversation_id: str, changes: Mapping[str, Any]) -> Conversation:
        """Change the named fields. ``archived`` also sets or clears ``archived_at``.

        :raises InvalidArgument: if the model or its settings cannot be used.
        """

        def write(tx: Transaction) -> Conversation:
            now, before = utc_now(), _get(tx, conversation_id)
            after = replace(before, **changes, updated_at=now)
            if after.archived != before.archived:
                after = replace(after, archived_at=now if after.archived else None)
            check_conversation(self._catalogue, tx.agents.get(after.agent_id), after, before)
            tx.conversations.update(after)
            return after

        return await self._store.write(write)

    async def delete(self, conversation_id: str) -> None:
        """Remove a conversation; what it is running is stopped first.

        :raises InvalidArgument: for a default conversation, which lives as long as its agent.
        """
        conversation = await self.get(conversation_id)
        if conversation.is_default:
            raise InvalidArgument(
                "INVALID_ARGUMENT: the default conversation cannot be deleted. Reset it with PATCH "
                f"/v1/agents/{conversation.agent_id}/reset-messages, or delete the agent.",
            )
        await self._runs.cancel_conversation(conversation_id)

        def write(tx: Transaction) -> None:
            delete_own_blocks(tx.conversations.get(conversation_id), tx)
            tx.conversations.delete(conversation_id)

        await self._store.write(write)
        await self._runs.cancel_conversation(conversation_id)  # what began in between has nothing to be said in
        self._histories.forget(conversation_id)

    async def undo_compaction(self, conversation_id: str) -> Compacted:
        """Take the last compaction back; see :func:`~tertulia.engine.lifecycle.compaction_run.undo`."""
        return await self._store.write(partial(undo, conversation_id))

    async def recompile(self, conversation_id: str, *, dry_run: bool) -> str:
        """The system prompt, compiled now; stored unless it is a dry run."""
        work = partial(recompile, conversation_id, dry_run=dry_run)
        return await (self._store.read(work) if dry_run else self._store.write(work))

    def _insert(self, conversation: Conversation, labels: Sequence[str], tx: Transaction) -> Conversation:
        agent = tx.agents.get(conversation.agent_id)
        check_conversation(self._catalogue, agent, conversation)
        conversation = replace(conversation, isolated_block_ids=isolate(labels, agent.id, tx))
        blocks = tx.blocks.of_conversation(conversation)
        tx.conversations.insert(conversation, system_message(agent, blocks, conversation))
        return tx.conversations.get(conversation.id)


def in_context_ids(tx: Transaction, conversation: Conversation) -> list[str]:
    """The ids of the messages that the model is shown, the system prompt first."""
    pinned = [message.id for _, message in pinned_messages(conversation.id, conversation.pins, tx)]
    shown = tx.messages.ids_from(conversation.id, conversation.context_from)
    return [tx.messages.system(conversation.id).id, *pinned, *shown]


def _get(tx: Transaction, conversation_id: str) -> Conversation:
    try:
        return tx.conversations.get(conversation_id)
    except NotFound:
        # An agent's id stands for its default conversation; say what was asked for.
        noun = "Agent" if conversation_id.startswith("agent-") else "Conversation"
        raise NotFound(noun, conversation_id) from None
