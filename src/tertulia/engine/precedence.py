"""Which model answers, with which settings and window: the request's, else the conversation's, else the agent's."""

from dataclasses import dataclass

from tertulia.domain.agents import Agent
from tertulia.domain.conversations import Conversation
from tertulia.domain.models import ModelCard, ModelSettings
from tertulia.ports.catalogue import Catalogue
from tertulia.ports.provider import Provider


@dataclass(frozen=True, slots=True)
class Choice:
    """The model of a run. ``context_window`` is tokens."""

    provider: Provider
    card: ModelCard
    settings: ModelSettings | None
    context_window: int


def choose(catalogue: Catalogue, agent: Agent, conversation: Conversation, override_model: str | None) -> Choice:
    """The model a message of this conversation goes to.

    A window is never larger than the model's own, where that is known. Settings made for another provider than the
    chosen model's stay behind: they were set beside a model that this choice overrides.

    :raises InvalidArgument: if the model cannot be used.
    """
    handle = override_model or conversation.model or agent.model
    provider, card = catalogue.resolve(handle)
    candidates = (conversation.model_settings, agent.model_settings)
    settings = next((s for s in candidates if s is not None and catalogue.fits(handle, s)), None)
    limit = conversation.context_window_limit or agent.context_window_limit
    known = not card.window_guessed
    window = min(limit, card.context_window) if limit and known else limit or card.context_window
    return Choice(provider, card, settings, window)
