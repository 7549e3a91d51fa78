"""A whole engine over a real database and a scripted model, and short ways to do what a client does."""

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass

from tertulia.api.deps import Services
from tertulia.domain.blocks import new_block
from tertulia.domain.events import Event
from tertulia.domain.messages import Message, TextPart
from tertulia.domain.runs import Run
from tertulia.engine.agents import AgentDraft, AgentView
from tertulia.engine.conversations import ConversationDraft
from tertulia.engine.requests import NewMessage, SendRequest
from tertulia.ports.store import Store
from tests.support.scripted import ScriptedProvider


@dataclass(slots=True)
class World:
    """Short ways to do what a client does."""

    services: Services
    model: ScriptedProvider

    @property
    def store(self) -> Store:
        return self.services.store

    async def agent(self, draft: AgentDraft | None = None) -> AgentView:
        block = new_block(label="human", value="Ann")
        return await self.services.agents.create(draft or AgentDraft(name="Ada", memory_blocks=(block,)))

    async def conversation(self, agent_id: str) -> str:
        return (await self.services.conversations.create(agent_id, ConversationDraft())).id

    async def start(self, conversation_id: str, text: str, *, max_steps: int = 10) -> Run:
        message = NewMessage(role="user", content=(TextPart(text),))
        request = SendRequest(conversation_id=conversation_id, messages=(message,), max_steps=max_steps)
        return await self.services.runs.start(request)

    async def events(self, run_id: str) -> list[Event]:
        async with aclosing(self.services.runs.follow(run_id)) as batches:
            return [event async for batch in batches for _, event in batch]

    async def send(self, conversation_id: str, text: str, *, max_steps: int = 10) -> list[Event]:
        return await self.events((await self.start(conversation_id, text, max_steps=max_steps)).id)

    async def run(self, run_id: str) -> Run:
        return await self.store.read(lambda tx: tx.runs.get(run_id))

    async def history(self, conversation_id: str) -> Sequence[Message]:
        """Without the system prompt."""
        return await self.store.read(
            lambda tx: tx.messages.range(conversation_id, 1, tx.conversations.get(conversation_id).head)
        )

    async def told(self, conversation_id: str) -> list[tuple[str, str]]:
        return [(message.role, message.text) for message in await self.history(conversation_id)]
