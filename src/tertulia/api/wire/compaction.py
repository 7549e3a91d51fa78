"""``compaction_settings`` of an agent, from and to the domain."""

from typing import Annotated, Literal

from msgspec import structs
from pydantic import Field

from tertulia.api.wire.common import Count, RequestModel
from tertulia.api.wire.model_settings import ModelSettingsBody, settings_from_wire, settings_to_wire
from tertulia.domain.agents import CompactionSettings


class CompactionSettingsBody(RequestModel):
    mode: Literal["all", "sliding_window", "self_compact_all", "self_compact_sliding_window"] | None = None
    model: str | None = None
    model_settings: ModelSettingsBody | None = None
    prompt: str | None = None
    prompt_acknowledgement: bool | None = None
    clip_chars: Count | None = None
    sliding_window_percentage: Annotated[float, Field(ge=0, le=1)] | None = None


def compaction_from_wire(body: CompactionSettingsBody) -> CompactionSettings:
    fields = body.model_dump(exclude={"model_settings"})
    return CompactionSettings(**fields, model_settings=body.model_settings and settings_from_wire(body.model_settings))


def compaction_to_wire(settings: CompactionSettings) -> CompactionSettingsBody:
    fields = structs.asdict(settings)
    fields["model_settings"] = settings.model_settings and settings_to_wire(settings.model_settings)
    return CompactionSettingsBody.model_validate(fields)
