"""What holds of a model where nobody set anything: what clients are shown in place of the settings that are not set."""

from collections.abc import Sequence
from typing import Any, Final

from msgspec import structs
from msgspec.structs import replace

from tertulia.domain.errors import InvalidArgument
from tertulia.domain.models import ModelCard, ModelSettings
from tertulia.ports.catalogue import Catalogue

DERIVED: Final = ("max_output_tokens", "parallel_tool_calls")
"""The settings that are shown although they are not set. What a model is sent does not come from here."""


def settings_in_force(catalogue: Catalogue, handle: str, stored: ModelSettings | None) -> ModelSettings | None:
    """The settings that were stored, completed with what the model does by itself.

    They are of the shape that the model's provider takes. What cannot be set there is not shown. None where nothing was
    stored and the model's provider is not configured.
    """
    try:
        card = catalogue.card(handle)
    except InvalidArgument:
        return stored
    if stored is not None and not catalogue.fits(handle, stored):
        return stored
    shown = stored or ModelSettings(provider_type=catalogue.settings_type(handle))
    for name, value in _by_itself(card).items():
        if getattr(shown, name) is None and _can_be_set(
            catalogue, handle, ModelSettings(provider_type=shown.provider_type), name, value
        ):
            shown = replace(shown, **{name: value})
    return shown


def carry_over(catalogue: Catalogue, handle: str, stored: ModelSettings) -> tuple[ModelSettings | None, Sequence[str]]:
    """What another model takes of the settings that were made for one before it, and the names of what it does not.

    :raises InvalidArgument: if there is no such model.
    """
    catalogue.card(handle)
    kind = stored.provider_type if catalogue.fits(handle, stored) else catalogue.settings_type(handle)
    kept = ModelSettings(provider_type=kind)
    dropped: list[str] = []
    for name, value in structs.asdict(stored).items():
        if name == "provider_type" or value is None:
            continue
        if _can_be_set(catalogue, handle, kept, name, value):
            kept = replace(kept, **{name: value})
        else:
            dropped.append(name)
    return (kept if kept != ModelSettings(provider_type=kind) else None), dropped


def _by_itself(card: ModelCard) -> dict[str, Any]:
    own = {"max_output_tokens": card.max_output_tokens, "parallel_tool_calls": True}
    return {name: value for name, value in own.items() if value is not None}


def _can_be_set(catalogue: Catalogue, handle: str, beside: ModelSettings, name: str, value: object) -> bool:
    try:
        catalogue.check_settings(handle, replace(beside, **{name: value}))
    except InvalidArgument:
        return False
    return True
