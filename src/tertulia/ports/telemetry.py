"""What happens in the server, told to whoever counts or traces it. Nothing of what anybody said is in it.

It is told once it has happened, in the order it did, on the event loop; whoever is told must be quick and never raises.
"""

from collections.abc import Callable
from typing import Literal, Protocol, TypeAlias

from msgspec import Struct

from tertulia.domain.models import ModelSettings
from tertulia.domain.runs import Run, Step, Usage
from tertulia.ports.provider import FinishReason

Purpose: TypeAlias = Literal["reply", "summary", "description"]
"""What a model is called for."""

CANCELLED = "cancelled"
"""The ``error_type`` of a call that somebody stopped."""


class RequestBegan(Struct, frozen=True):
    """A client's request came in."""


class RequestAnswered(Struct, frozen=True, kw_only=True):
    """A reply began, or was not made. ``route`` is the path as it was declared, None for one that there is not."""

    method: str
    route: str | None
    status: int
    seconds: float


class RequestEnded(Struct, frozen=True):
    """The reply is complete, or its client went away."""


class RunBegan(Struct, frozen=True, kw_only=True):
    """This worker answers the run. ``resumed``: another one, or a server before this one, began it."""

    run: Run
    agent_name: str
    model: str
    traceparent: str | None = None
    resumed: bool = False


class RunEnded(Struct, frozen=True):
    """The run's end is durable."""

    run: Run


class RunLeft(Struct, frozen=True):
    """The run goes on elsewhere or later; ``lost``: it was taken away."""

    run_id: str
    lost: bool


class RunTakenOver(Struct, frozen=True):
    """A run whose worker was gone is this one's now."""

    run_id: str


class StepBegan(Struct, frozen=True):
    run_id: str
    number: int


class StepEnded(Struct, frozen=True):
    """A step is stored with all that came of it."""

    step: Step


class ModelCalled(Struct, frozen=True, kw_only=True):
    """A call of a model is over. ``started_ns`` is since the epoch; ``error_type`` is what ended it before its time.

    ``provider`` and ``model`` are the halves of the handle. ``run_id`` is None for calls that are no run's.
    """

    run_id: str | None
    purpose: Purpose
    provider: str
    provider_type: str
    model: str
    settings: ModelSettings | None
    started_ns: int
    duration_ns: int
    first_token_ns: int | None = None
    usage: Usage | None = None
    finish_reason: FinishReason | None = None
    request_id: str | None = None
    response_model: str | None = None
    error_type: str | None = None


class ModelRetried(Struct, frozen=True):
    """A provider failed before it said anything, and is asked again."""

    provider: str
    error_type: str


class ToolCalled(Struct, frozen=True, kw_only=True):
    """One of the server's own tools has run."""

    run_id: str
    call_id: str
    name: str
    started_ns: int
    duration_ns: int
    failed: bool


class EventsStored(Struct, frozen=True):
    """Events of live runs were written; None of them could be where ``count`` is 0."""

    count: int
    seconds: float


Happening: TypeAlias = (
    RequestBegan
    | RequestAnswered
    | RequestEnded
    | RunBegan
    | RunEnded
    | RunLeft
    | RunTakenOver
    | StepBegan
    | StepEnded
    | ModelCalled
    | ModelRetried
    | ToolCalled
    | EventsStored
)

Telemetry: TypeAlias = Callable[[Happening], None]


def no_telemetry(happening: Happening) -> None:
    """Nobody is told."""


class PoolUse(Protocol):
    """The connections to a database, as they are used."""

    @property
    def in_use(self) -> int: ...
    @property
    def waiting(self) -> int: ...
    @property
    def size(self) -> int: ...


class MetricsPage(Protocol):
    """All figures as they stand, written for a monitoring system to read."""

    @property
    def content_type(self) -> str: ...
    async def render(self) -> bytes: ...
