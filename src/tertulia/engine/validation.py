"""What is refused of an agent or a conversation when it is set: what could not answer a message later.

Of a change, only what it changes is looked at: an agent whose provider is not configured any more can be renamed.
"""

from collections.abc import Sequence

from tertulia.context.compiler import is_timezone
from tertulia.domain.agents import Agent
from tertulia.domain.conversations import Conversation
from tertulia.domain.errors import InvalidArgument
from tertulia.domain.models import ModelSettings
from tertulia.ports.catalogue import Catalogue


def check_agent(catalogue: Catalogue, agent: Agent, before: Agent | None = None) -> None:
    """Check a new agent, or one that was changed from what it was ``before``. Its tools are not looked at.

    :raises InvalidArgument: if a model, its settings or the timezone cannot be used.
    """
    if before is None or agent.model != before.model:
        catalogue.card(agent.model)
    settings, settings_before = agent.model_settings, before and (before.model, before.model_settings)
    if settings is not None and (agent.model, settings) != settings_before:
        catalogue.check_settings(agent.model, settings)
    _check_compaction(catalogue, agent, before)
    if before is None or (agent.fallback_models, settings) != (before.fallback_models, before.model_settings):
        _check_fallbacks(catalogue, agent.fallback_models, [settings], before.fallback_models if before else ())
    if (before is None or agent.timezone != before.timezone) and not is_timezone(agent.timezone):
        raise InvalidArgument(
            f"INVALID_ARGUMENT: unknown timezone '{agent.timezone}'. Use an IANA name such as 'Europe/Madrid'.",
        )


def _check_compaction(catalogue: Catalogue, agent: Agent, before: Agent | None) -> None:
    """Check the settings of the summarizer, whose model is the agent's unless it has its own."""
    compaction = agent.compaction_settings
    if compaction is None or compaction.model_settings is None:
        return
    if before is None or (agent.model, compaction) != (before.model, before.compaction_settings):
        catalogue.check_settings(compaction.model or agent.model, compaction.model_settings)


def check_conversation(
    catalogue: Catalogue, agent: Agent, conversation: Conversation, before: Conversation | None = None
) -> None:
    """Check a new conversation of the agent, or one that was changed from what it was ``before``.

    :raises InvalidArgument: if a model or its settings cannot be used.
    """
    model, settings = conversation.model, conversation.model_settings
    if model is not None and (before is None or model != before.model):
        catalogue.card(model)
    if before is None or (model, settings) != (before.model, before.model_settings):
        if settings is not None:
            catalogue.check_settings(model or agent.model, settings)
        elif model is not None:
            _check_fitting(catalogue, model, [agent.model_settings])
    fallbacks, old = conversation.fallback_models, (before.fallback_models if before else None)
    if before is None or (fallbacks, settings) != (old, before.model_settings):
        _check_fallbacks(catalogue, fallbacks or (), [settings, agent.model_settings], old or ())


def _check_fallbacks(
    catalogue: Catalogue, handles: Sequence[str], settings: Sequence[ModelSettings | None], before: Sequence[str]
) -> None:
    for handle in handles:
        if handle not in before:
            catalogue.card(handle)
        _check_fitting(catalogue, handle, settings)


def _check_fitting(catalogue: Catalogue, handle: str, settings: Sequence[ModelSettings | None]) -> None:
    """Check that the model can be asked with those that it would be asked with: the first of its provider's type."""
    fitting = next((given for given in settings if given is not None and catalogue.fits(handle, given)), None)
    if fitting is not None:
        catalogue.check_settings(handle, fitting)
