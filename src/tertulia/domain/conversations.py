"""Conversations: a thread of messages with an agent, and the part of it that a model is shown."""

from datetime import datetime

from msgspec import Struct

from tertulia.domain.ids import DEFAULT_CONVERSATION
from tertulia.domain.models import ModelSettings


class Conversation(Struct, frozen=True, kw_only=True):
    """A thread of an agent's messages.

    Its messages stand at positions 0 to ``head`` - 1. Position 0 is the compiled system prompt, the only one that is
    ever rewritten. The model is shown position 0, the summaries at the positions ``pins``, and the positions from
    ``context_from`` on. ``epoch`` rises whenever positions already written change their meaning, so that a cache of the
    history knows.

    ``fallback_models`` stand for the agent's where they are not None; an empty tuple is no fallback at all.

    ``isolated_block_ids`` are blocks of its own that stand for the agent's blocks of the same labels.

    An agent's default conversation is stored under the agent's id and shown as ``default``.
    """

    id: str
    agent_id: str
    created_at: datetime
    updated_at: datetime
    summary: str | None = None
    description: str | None = None
    model: str | None = None
    model_settings: ModelSettings | None = None
    context_window_limit: int | None = None
    archived: bool = False
    archived_at: datetime | None = None
    hidden: bool = False
    last_message_at: datetime | None = None
    last_run_completion: datetime | None = None
    head: int = 0
    context_from: int = 1
    pins: tuple[int, ...] = ()
    isolated_block_ids: tuple[str, ...] = ()
    fallback_models: tuple[str, ...] | None = None
    epoch: int = 0

    @property
    def is_default(self) -> bool:
        return self.id == self.agent_id

    @property
    def wire_id(self) -> str:
        return DEFAULT_CONVERSATION if self.is_default else self.id
