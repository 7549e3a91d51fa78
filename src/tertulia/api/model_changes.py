"""What becomes of stored settings when an agent or a conversation is given another model."""

from typing import Any

import structlog
from msgspec.structs import replace

from tertulia.api.deps import Services
from tertulia.api.wire.ignored import DROPPED, note
from tertulia.domain.agents import Agent
from tertulia.domain.models import ModelSettings
from tertulia.engine.in_force import carry_over

_log = structlog.get_logger(__name__)


def adapt_settings(services: Services, model: str, stored: ModelSettings, place: str = "") -> ModelSettings | None:
    """The settings as far as the model takes them. The reply names the others, and so does the log.

    :raises InvalidArgument: if there is no such model.
    """
    kept, dropped = carry_over(services.catalogue, model, stored)
    if dropped:
        names = [f"{place}{name}" for name in dropped]
        _log.warning("settings_dropped", model=model, settings=names)
        note(names, DROPPED)
    return kept


def adapt_agent(services: Services, agent: Agent, model: str, changes: dict[str, Any]) -> None:
    """Add to the changes of an agent what else its new model changes, where the request says nothing of it."""
    if "model_settings" not in changes and agent.model_settings is not None:
        changes["model_settings"] = adapt_settings(services, model, agent.model_settings)
    summary = agent.compaction_settings
    if "compaction_settings" in changes or summary is None or summary.model or summary.model_settings is None:
        return
    kept = adapt_settings(services, model, summary.model_settings, "compaction_settings.")
    changes["compaction_settings"] = replace(summary, model_settings=kept)
