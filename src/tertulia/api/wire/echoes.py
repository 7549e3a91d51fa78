"""What a change of an agent says again of what the agent shows.

Clients read an agent, change a field and write all of it back. What a field of the request has in common with what the
agent shows says nothing, so a value that is shown because it is in force does not become one that was set.
"""

from typing import Any, Final

import msgspec
from pydantic import BaseModel

from tertulia.api.wire.agent_state import AgentStateBody
from tertulia.api.wire.agents import UpdateAgentBody
from tertulia.api.wire.model_settings import AnyModelSettings, settings_from_wire
from tertulia.domain.models import ModelSettings
from tertulia.engine.in_force import DERIVED

_REPEATED: Final = ("model", "message_ids", "response_format", "embedding", "embedding_config")

MAY_REPEAT: Final = frozenset({*_REPEATED, "model_settings", "llm_config"})
"""The fields of a change that are held against what the agent shows."""


def without_echo(body: UpdateAgentBody, shown: AgentStateBody, stored: ModelSettings | None) -> UpdateAgentBody:
    """The change without the fields that say what ``shown`` does; ``llm_config`` is read beside it, part by part.

    ``stored`` are the agent's settings without what is only shown.
    """
    fields = {name: getattr(body, name) for name in body.model_fields_set}
    for name in _REPEATED:
        if name in fields and _plain(fields[name]) == _plain(getattr(shown, name)):
            del fields[name]
    settings: AnyModelSettings | None = fields.get("model_settings")
    if settings is not None:
        said = _set_in(settings, shown.model_settings, stored)
        nothing_set = shown.model_settings and ModelSettings(provider_type=shown.model_settings.provider_type)
        if said == (stored or nothing_set):
            del fields["model_settings"]
        else:
            fields["model_settings"] = settings.model_copy(
                update={name: getattr(said, name) for name in DERIVED if hasattr(settings, name)}
            )
    return UpdateAgentBody.model_construct(set(fields), **fields)


def _set_in(settings: AnyModelSettings, shown: AnyModelSettings | None, stored: ModelSettings | None) -> ModelSettings:
    """The settings, without what was only shown."""
    said = settings_from_wire(settings)
    if shown is None or type(shown) is not type(settings):
        return said
    only_shown = {
        name: None
        for name in DERIVED
        if getattr(said, name) == getattr(shown, name) and (stored is None or getattr(stored, name) is None)
    }
    return msgspec.structs.replace(said, **only_shown)


def _plain(value: Any) -> Any:
    """What is said, in JSON's terms. A field that is null and one that is not there say the same."""
    if isinstance(value, BaseModel):
        return value.model_dump(exclude_none=True, mode="json")
    if isinstance(value, dict):
        return {name: inner for name, inner in value.items() if inner is not None}  # pyright: ignore[reportUnknownVariableType]  JSON
    return value or None if isinstance(value, list) else value  # pyright: ignore[reportUnknownVariableType]  as above
