"""``compaction_settings`` from and to the domain, and what compacting is asked with and answers."""

from typing import Annotated, Literal

from msgspec import structs
from pydantic import Field

from tertulia.api.wire.common import STORED, BodyModel, Name, PositiveCount, ResponseModel, Text
from tertulia.api.wire.model_settings import ModelSettingsBody, settings_from_wire, settings_to_wire
from tertulia.domain.agents import CompactionSettings
from tertulia.engine.lifecycle.compaction_run import Compacted


class CompactionSettingsBody(BodyModel):
    mode: Literal["all", "sliding_window", "self_compact_all", "self_compact_sliding_window"] | None = None
    model: Name | None = None
    model_settings: ModelSettingsBody | None = None
    prompt: Text | None = None
    prompt_acknowledgement: bool | None = None
    clip_chars: PositiveCount | None = None
    sliding_window_percentage: Annotated[float, Field(ge=0, le=1)] | None = None


class SummarizeBody(BodyModel):
    """``compaction_settings`` stand in place of the agent's, field by field, this once."""

    compaction_settings: CompactionSettingsBody | None = None


class CompactBody(SummarizeBody):
    agent_id: Name | None = None


class CompactionUndoBody(BodyModel):
    agent_id: Name | None = None


class CompactionResponse(ResponseModel):
    """Counts are messages in context, the system prompt among them."""

    summary: str
    num_messages_before: int
    num_messages_after: int


def compacted_to_wire(compacted: Compacted) -> CompactionResponse:
    return CompactionResponse(
        summary=compacted.summary,
        num_messages_before=compacted.messages_before,
        num_messages_after=compacted.messages_after,
    )


def compaction_from_wire(body: CompactionSettingsBody) -> CompactionSettings:
    fields = body.model_dump(exclude={"model_settings"})
    return CompactionSettings(**fields, model_settings=body.model_settings and settings_from_wire(body.model_settings))


def compaction_to_wire(settings: CompactionSettings) -> CompactionSettingsBody:
    fields = structs.asdict(settings)
    fields["model_settings"] = settings.model_settings and settings_to_wire(settings.model_settings)
    return CompactionSettingsBody.model_validate(fields, context=STORED)
