"""What lists can be asked for: filters, order and page of each noun."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from tertulia.domain.messages import Role
from tertulia.domain.runs import RunStatus, StopReason


@dataclass(frozen=True, slots=True)
class Page:
    """A slice of a list: at most ``limit`` rows going on after the row named ``after``, in the list's order.

    ``before`` names a row to stop short of: the page ends just before it. None for ``limit`` is no limit.
    An id that names no row of the list gives :class:`~tertulia.domain.errors.NotFound`.
    """

    limit: int | None = 50
    after: str | None = None
    before: str | None = None
    ascending: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentQuery:
    """``None`` does not filter. ``text`` matches in the name, without regard to case."""

    page: Page = Page()
    order_by: Literal["created_at", "updated_at", "last_run_completion"] = "created_at"
    name: str | None = None
    text: str | None = None
    tags: tuple[str, ...] = ()
    match_all_tags: bool = False
    project_id: str | None = None
    last_stop_reason: StopReason | None = None
    block_id: str | None = None
    include_hidden: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockQuery:
    """``None`` does not filter. The ``…_search`` fields match a part, without regard to case."""

    page: Page = Page()
    agent_id: str | None = None
    label: str | None = None
    name: str | None = None
    label_search: str | None = None
    description_search: str | None = None
    value_search: str | None = None
    tags: tuple[str, ...] = ()
    match_all_tags: bool = False
    project_id: str | None = None
    templates_only: bool = False
    agents_count_gt: int | None = None
    agents_count_lt: int | None = None
    agents_count_in: tuple[int, ...] = ()
    include_hidden: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationQuery:
    """Default conversations are never listed. Rows without the ordering time come last either way."""

    page: Page = Page()
    order_by: Literal["created_at", "last_run_completion", "last_message_at"] = "created_at"
    agent_id: str | None = None
    archived: bool | None = False
    summary_search: str | None = None
    include_hidden: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageQuery:
    """Stored messages in the order they were written.

    Unlike every other list, ``older_than`` and ``newer_than`` (message ids) mean age, whatever the order is. Within a
    conversation the order is that of positions, across conversations that of creation.
    """

    conversation_id: str | None = None
    agent_id: str | None = None
    run_id: str | None = None
    step_id: str | None = None
    group_id: str | None = None
    roles: tuple[Role, ...] = ()
    include_errors: bool = True
    older_than: str | None = None
    newer_than: str | None = None
    limit: int | None = 100
    ascending: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchQuery:
    """Full text: ``text`` is words in any order, all of them wanted, with no query syntax."""

    text: str
    agent_id: str | None = None
    conversation_id: str | None = None
    roles: tuple[Role, ...] = ()
    start: datetime | None = None
    end: datetime | None = None
    limit: int = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class RunQuery:
    """``of_deleted``: those of agents that are being deleted as well."""

    page: Page = Page()
    agent_ids: tuple[str, ...] = ()
    conversation_id: str | None = None
    statuses: tuple[RunStatus, ...] = ()
    background: bool | None = None
    stop_reason: StopReason | None = None
    of_deleted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StepQuery:
    page: Page = Page()
    run_id: str | None = None
    agent_id: str | None = None
    model: str | None = None
    feedback: Literal["positive", "negative"] | None = None
    has_feedback: bool | None = None
    tags: tuple[str, ...] = ()
    project_id: str | None = None
    start: datetime | None = None
    end: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TagQuery:
    page: Page = field(default_factory=lambda: Page(ascending=True))
    text: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderQuery:
    """``None`` does not filter."""

    page: Page = Page()
    name: str | None = None
    provider_type: str | None = None
