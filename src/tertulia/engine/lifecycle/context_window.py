"""What a model is shown for the next message of a conversation, part by part, with the tokens each part takes.

The shape is what the public documentation of the API calls the context window overview.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from tertulia.context.budget import TokenMeter, all_parts, count_tokens
from tertulia.context.compiler import SystemPrompt, system_prompt
from tertulia.context.summaries import as_shown
from tertulia.domain.errors import InvalidArgument, NotFound
from tertulia.domain.messages import Message
from tertulia.domain.tools import ToolSpec
from tertulia.engine.system_prompts import refresh
from tertulia.engine.tools.toolbox import Toolbox
from tertulia.engine.turn.history import Histories, History
from tertulia.engine.turn.images import Images
from tertulia.engine.turn.model_choice import Choice, choose
from tertulia.ports.catalogue import Catalogue
from tertulia.ports.store import Snapshot, Store, Transaction

_NO_WINDOW: Final = 0
"""Of an agent whose model is gone and that has no limit of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextWindow:
    """``size`` is the largest number of tokens the model takes; the others are what each part has of them.

    ``summary`` stands for what was compacted away and is not among ``messages``, nor is the system prompt.
    """

    size: int
    prompt: SystemPrompt
    instructions_tokens: int
    memory_tokens: int
    metadata_tokens: int
    summary: str | None
    summary_tokens: int
    tools: tuple[ToolSpec, ...]
    tools_tokens: int
    messages: tuple[Message, ...]
    messages_tokens: int
    recalled: int

    @property
    def current(self) -> int:
        prompt = self.instructions_tokens + self.memory_tokens + self.metadata_tokens
        return prompt + self.summary_tokens + self.tools_tokens + self.messages_tokens


class ContextWindows:
    """Looks at conversations as their next run would. Asks no model and stores nothing."""

    def __init__(self, store: Store, catalogue: Catalogue, toolbox: Toolbox, images: Images) -> None:
        self._store = store
        self._catalogue = catalogue
        self._toolbox = toolbox
        self._images = images

    async def of(self, conversation_id: str, agent_id: str) -> ContextWindow:
        """The context window of one of the agent's conversations.

        :raises NotFound: if the agent has no such conversation.
        """
        seen, recalled = await self._store.read(partial(_look, conversation_id, agent_id))
        history = await Histories(self._store, self._images).of(seen.conversation)
        summary, messages = _split_summary(history)
        tools = tuple(self._toolbox.specs(seen.agent, seen.tools))
        system = refresh(seen.agent, seen.blocks, seen.conversation, seen.system) or seen.system
        prompt = system_prompt(seen.agent, seen.blocks, seen.conversation.wire_id, system.created_at)
        texts = (prompt.instructions, prompt.memory, prompt.metadata, summary or "")
        counts = await asyncio.to_thread(lambda: [count_tokens(text) for text in texts])
        choice = self._choice(seen)
        return ContextWindow(
            size=choice.context_window if choice else _window_without_model(seen),
            prompt=prompt,
            instructions_tokens=counts[0],
            memory_tokens=counts[1],
            metadata_tokens=counts[2],
            summary=summary,
            summary_tokens=counts[3],
            tools=tools,
            tools_tokens=await _count((), tools, None),
            messages=messages,
            messages_tokens=await _count(messages, (), choice),
            recalled=recalled,
        )

    def _choice(self, seen: Snapshot) -> Choice | None:
        try:
            return choose(self._catalogue, seen.agent, seen.conversation, None)[0]
        except InvalidArgument:  # its provider is not configured any more
            return None


def _window_without_model(seen: Snapshot) -> int:
    return seen.conversation.context_window_limit or seen.agent.context_window_limit or _NO_WINDOW


def _look(conversation_id: str, agent_id: str, tx: Transaction) -> tuple[Snapshot, int]:
    tx.agents.get(agent_id)
    seen = tx.snapshot(conversation_id)
    if seen.agent.id != agent_id:
        raise NotFound("Conversation", conversation_id)
    return seen, tx.messages.count(seen.agent.id)


def _split_summary(history: History) -> tuple[str | None, tuple[Message, ...]]:
    """The summary as the model reads it, and the other messages in view."""
    shown = [message for _, message in history.in_view()]
    summaries = [as_shown(message).text for message in shown if message.role == "summary"]
    return "\n\n".join(summaries) or None, tuple(message for message in shown if message.role != "summary")


async def _count(messages: Sequence[Message], tools: Sequence[ToolSpec], choice: Choice | None) -> int:
    if not messages and not tools:
        return 0
    sent = choice.parts_sent if choice else all_parts
    return await TokenMeter().measure("", messages, window=0, sent=sent, tools=tools)
