"""``/v1/runs``: what became of each request, and its stream once more."""

from dataclasses import replace
from itertools import islice
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from tertulia.api.bodies import document_body, read_body
from tertulia.api.conversation_ids import ConversationFilter
from tertulia.api.deps import CurrentServices, services_of
from tertulia.api.message_lists import LISTED, MessagesOldestFirst, list_messages
from tertulia.api.pages import MAX_LIMIT, After, Before, Limit, NewestFirst100, Order, page
from tertulia.api.sending import STREAMED, stream
from tertulia.api.wire.requests import ResumeBody
from tertulia.api.wire.runs import Run, RunUsage, run_to_wire, usage_to_wire
from tertulia.api.wire.spans import Span, spans_of
from tertulia.api.wire.steps import Step, step_to_wire
from tertulia.domain import runs
from tertulia.domain.errors import InvalidArgument, Unprocessable
from tertulia.domain.runs import ACTIVE_STATUSES, RequestConfig, RunStatus, StopReason, Usage
from tertulia.ports.queries import Page, RunQuery, StepQuery
from tertulia.ports.store import Transaction

router = APIRouter(tags=["runs"])


@router.get("/v1/runs", operation_id="list_runs")
async def list_runs(
    *,
    services: CurrentServices,
    agent_id: str | None = None,
    agent_ids: Annotated[list[str] | None, Query(deprecated=True)] = None,
    conversation_id: ConversationFilter = None,
    statuses: Annotated[list[RunStatus] | None, Query()] = None,
    active: bool = False,
    background: bool | None = None,
    stop_reason: StopReason | None = None,
    before: Before = None,
    after: After = None,
    limit: Limit = 100,
    order: Order | None = None,
    ascending: Annotated[bool | None, Query(deprecated=True)] = None,
    order_by: Literal["created_at"] = "created_at",
) -> list[Run]:
    """``active`` are the runs that have not ended; beside ``statuses`` both have to hold."""
    if order is not None and ascending is not None and ascending != (order == "asc"):
        raise InvalidArgument("INVALID_ARGUMENT: 'order' and 'ascending' contradict each other. Send 'order' alone.")
    chosen = _statuses(statuses, active=active)
    if chosen is None:
        return []
    query = RunQuery(
        page=page(limit, after, before, ascending=ascending or order == "asc"),
        agent_ids=tuple(agent_ids or ()) + ((agent_id,) if agent_id else ()),
        conversation_id=services.conversations.resolve(conversation_id, agent_id) if conversation_id else None,
        statuses=chosen,
        background=background,
        stop_reason=stop_reason,
    )
    return [run_to_wire(run) for run in await services.store.read(lambda tx: tx.runs.find(query))]


def _statuses(wanted: list[RunStatus] | None, *, active: bool) -> tuple[RunStatus, ...] | None:
    """The statuses to look for: an empty tuple is all of them, None is none."""
    if not active:
        return tuple(wanted or ())
    if not wanted:
        return ACTIVE_STATUSES
    return tuple(status for status in wanted if status in ACTIVE_STATUSES) or None


@router.get("/v1/runs/active", operation_id="list_active_runs", deprecated=True)
async def list_active_runs(
    *,
    services: CurrentServices,
    agent_ids: Annotated[list[str] | None, Query()] = None,
    background: bool | None = None,
) -> list[Run]:
    """An older way to ask for the runs that have not ended."""
    query = RunQuery(
        page=Page(limit=MAX_LIMIT),
        agent_ids=tuple(agent_ids or ()),
        statuses=ACTIVE_STATUSES,
        background=background,
    )
    return [run_to_wire(run) for run in await services.store.read(lambda tx: tx.runs.find(query))]


@router.get("/v1/jobs", operation_id="list_jobs", deprecated=True)
async def list_jobs() -> list[Run]:
    """None: what was a job once is a run."""
    return []


@router.get("/v1/runs/{run_id}", operation_id="retrieve_run")
async def retrieve_run(services: CurrentServices, run_id: str) -> Run:
    return run_to_wire(await services.store.read(lambda tx: tx.runs.get(run_id)))


@router.get("/v1/runs/{run_id}/messages", operation_id="list_messages_for_run", responses=LISTED)
async def list_messages_for_run(
    *,
    services: CurrentServices,
    run_id: str,
    asked: MessagesOldestFirst,
) -> Response:
    """The messages that started the run and those it made, as its request wanted to be shown them."""
    query = replace(asked, run_id=run_id)
    run = await services.store.read(lambda tx: tx.runs.get(run_id))
    config = run.request_config or RequestConfig()
    return await list_messages(services, query, config, lambda tx: tx.runs.get(run_id))


@router.get("/v1/runs/{run_id}/steps", operation_id="list_steps_for_run")
async def list_steps_for_run(
    *,
    services: CurrentServices,
    run_id: str,
    asked: NewestFirst100,
) -> list[Step]:
    query = StepQuery(page=asked, run_id=run_id)

    def find(tx: Transaction) -> list[Step]:
        tx.runs.get(run_id)
        return [step_to_wire(step) for step in tx.steps.find(query)]

    return await services.store.read(find)


@router.get("/v1/runs/{run_id}/trace", operation_id="retrieve_trace_for_run")
async def retrieve_trace_for_run(services: CurrentServices, run_id: str, limit: Limit = 1000) -> list[Span]:
    """What the run did and how long each part took, as spans in the order they began."""

    def read(tx: Transaction) -> tuple[runs.Run, list[runs.Step]]:
        run = tx.runs.get(run_id)
        return run, tx.steps.find(StepQuery(page=Page(limit=None, ascending=True), run_id=run_id))

    run, steps = await services.store.read(read)
    return list(islice(spans_of(run, steps), limit))


@router.get("/v1/runs/{run_id}/usage", operation_id="retrieve_usage_for_run")
async def retrieve_usage_for_run(services: CurrentServices, run_id: str) -> RunUsage:
    def add_up(tx: Transaction) -> Usage:
        tx.runs.get(run_id)
        steps = tx.steps.find(StepQuery(page=Page(limit=None), run_id=run_id))
        return sum((step.usage for step in steps), Usage())

    return usage_to_wire(await services.store.read(add_up))


@router.post(
    "/v1/runs/{run_id}/stream",
    operation_id="retrieve_stream_for_run",
    responses=STREAMED,
    openapi_extra=document_body(ResumeBody, required=False),
)
async def retrieve_stream_for_run(run_id: str, request: Request) -> Response:
    """The run's frames after ``starting_after``, then those to come."""
    services, body = services_of(request), await read_body(request, ResumeBody, optional=True)
    if body.run_id is not None and body.run_id != run_id:
        raise Unprocessable(f"'run_id' in the body ({body.run_id}) is not the run in the path. Omit it.")
    run = await services.store.read(lambda tx: tx.runs.get(run_id))
    return await stream(services, run, body)
