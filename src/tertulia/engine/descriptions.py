"""Describing: a line about what a conversation is about, from a model, for conversations that have none."""

from typing import Final

import structlog
from msgspec.structs import replace

from tertulia.domain.clock import utc_now
from tertulia.domain.conversations import Conversation
from tertulia.domain.errors import InvalidArgument, NotFound, ProviderError
from tertulia.domain.ids import new_message_id
from tertulia.domain.messages import Message, TextPart
from tertulia.domain.runs import Run
from tertulia.engine.turn.model_call import ModelCall
from tertulia.ports.catalogue import Catalogue
from tertulia.ports.provider import ModelRequest
from tertulia.ports.store import Store, Transaction
from tertulia.ports.telemetry import Telemetry, no_telemetry

_INSTRUCTIONS: Final = (
    "You are given the beginning of a conversation between a user and an assistant. Say in one plain sentence of at "
    "most twenty words what it is about. Answer with that sentence alone, in the language of the conversation."
)
_MESSAGES: Final = 20
_CHARS_PER_MESSAGE: Final = 1_000
_LONGEST: Final = 300  # characters of a description

_log = structlog.get_logger(__name__)


class Describer:
    """Gives conversations their description, by the model with this handle."""

    def __init__(self, store: Store, catalogue: Catalogue, model: str, telemetry: Telemetry = no_telemetry) -> None:
        self._store = store
        self._catalogue = catalogue
        self._model = model
        self._telemetry = telemetry

    async def describe(self, run: Run) -> None:
        """Describe the run's conversation if the run went well and nobody has described it yet."""
        run_id = run.id
        try:
            conversation, beginning = await self._store.read(lambda tx: _beginning(run_id, tx))
            if beginning:
                description = await self._ask(conversation, beginning)
                await self._store.write(lambda tx: _keep(conversation.id, description, tx))
        except NotFound:
            return  # deleted meanwhile
        except (ProviderError, InvalidArgument) as error:
            _log.warning("conversation_not_described", run_id=run_id, model=self._model, error=error.message)

    async def _ask(self, conversation: Conversation, beginning: str) -> str:
        provider, card = self._catalogue.resolve(self._model)
        question = Message(
            id=new_message_id(),
            agent_id=conversation.agent_id,
            conversation_id=conversation.id,
            role="user",
            content=(TextPart(beginning),),
            created_at=utc_now(),
        )
        request = ModelRequest(
            model=card.name,
            system=_INSTRUCTIONS,
            instructions=_INSTRUCTIONS,
            messages=[question],
            context_window=card.context_window,
        )
        with ModelCall(self._telemetry, provider, request, run_id=None, purpose="description") as call:
            said = await call.text()
        return " ".join(said.split())[:_LONGEST]


def _beginning(run_id: str, tx: Transaction) -> tuple[Conversation, str]:
    """The conversation and what was said first in it; nothing if it needs no description."""
    run = tx.runs.get(run_id)
    conversation = tx.conversations.get(run.conversation_id)
    if run.status != "completed" or conversation.description is not None:
        return conversation, ""
    messages = tx.messages.range(conversation.id, 1, min(conversation.head, 1 + _MESSAGES))
    said = [
        f"{message.role}: {message.text[:_CHARS_PER_MESSAGE]}"
        for message in messages
        if message.role in {"user", "assistant"} and message.text
    ]
    return conversation, "\n\n".join(said)


def _keep(conversation_id: str, description: str, tx: Transaction) -> None:
    conversation = tx.conversations.get(conversation_id)
    if conversation.description is None and description:
        tx.conversations.update(replace(conversation, description=description, updated_at=utc_now()))
