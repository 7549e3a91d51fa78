"""Which model answers, with which settings and window: the request's, else the conversation's, else the agent's.

Which others stand in where that one cannot answer now, the conversation says, else the agent.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from tertulia.domain.agents import Agent
from tertulia.domain.conversations import Conversation
from tertulia.domain.errors import InvalidArgument
from tertulia.domain.messages import Message, Part
from tertulia.domain.models import ModelCard, ModelSettings
from tertulia.ports.catalogue import Catalogue
from tertulia.ports.provider import Provider

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Choice:
    """A model of a run. ``context_window`` is tokens; a provider that knows better makes it smaller."""

    provider: Provider
    card: ModelCard
    settings: ModelSettings | None
    context_window: int

    def parts_sent(self, message: Message) -> Sequence[Part]:
        """What of a message goes into a request to the model."""
        return self.provider.parts_sent(self.card.name, message)


def choose(
    catalogue: Catalogue, agent: Agent, conversation: Conversation, override_model: str | None
) -> tuple[Choice, ...]:
    """The model a message of this conversation goes to, and those it goes to where that one cannot answer now.

    A window is never larger than the model's own, where that is known. Settings made for another provider than the
    chosen model's stay behind: they were set beside a model that this choice overrides. A fallback whose provider is
    not configured any more is passed over.

    :raises InvalidArgument: if the model cannot be used.
    """
    handle = override_model or conversation.model or agent.model
    named = agent.fallback_models if conversation.fallback_models is None else conversation.fallback_models
    choices = [_choice(catalogue, agent, conversation, handle)]
    for fallback in named or ():
        try:
            choice = _choice(catalogue, agent, conversation, fallback)
        except InvalidArgument as error:
            _log.warning("fallback_unusable", model=fallback, agent_id=agent.id, error=error.message)
        else:
            if all(choice.card.handle != other.card.handle for other in choices):
                choices.append(choice)
    return tuple(choices)


def _choice(catalogue: Catalogue, agent: Agent, conversation: Conversation, handle: str) -> Choice:
    provider, card = catalogue.resolve(handle)
    candidates = (conversation.model_settings, agent.model_settings)
    settings = next((s for s in candidates if s is not None and catalogue.fits(handle, s)), None)
    limit = conversation.context_window_limit or agent.context_window_limit
    known = not card.window_guessed
    window = min(limit, card.context_window) if limit and known else limit or card.context_window
    return Choice(provider, card, settings, window)
