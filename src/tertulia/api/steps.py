"""``/v1/steps``: each call of a model, what it cost, and what was said on the provider's wire."""

from dataclasses import replace as replace_query
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from msgspec.structs import replace
from starlette.responses import Response

from tertulia.api.bodies import document_body, read_body
from tertulia.api.deps import CurrentServices, services_of
from tertulia.api.message_lists import LISTED, MessagesOldestFirst, config_of, list_messages
from tertulia.api.pages import NewestFirst100
from tertulia.api.wire.instants import SentInstant
from tertulia.api.wire.steps import (
    FeedbackBody,
    ProviderTrace,
    Step,
    StepMetrics,
    metrics_to_wire,
    step_to_wire,
    trace_to_wire,
)
from tertulia.domain import runs
from tertulia.domain.errors import InvalidArgument
from tertulia.ports.queries import StepQuery
from tertulia.ports.store import Transaction

router = APIRouter(tags=["steps"])


@router.get("/v1/steps", operation_id="list_steps")
async def list_steps(
    *,
    services: CurrentServices,
    agent_id: str | None = None,
    model: str | None = None,
    feedback: Literal["positive", "negative"] | None = None,
    has_feedback: bool | None = None,
    tags: Annotated[list[str] | None, Query()] = None,
    project_id: str | None = None,
    start_date: SentInstant | None = None,
    end_date: SentInstant | None = None,
    trace_ids: Annotated[list[str] | None, Query()] = None,
    asked: NewestFirst100,
) -> list[Step]:
    """Steps with any of the ``tags``; the dates are when they began."""
    if trace_ids:
        raise InvalidArgument("INVALID_ARGUMENT: steps cannot be filtered by trace_ids: none of this release has one.")
    query = StepQuery(
        page=asked,
        agent_id=agent_id,
        model=model,
        feedback=feedback,
        has_feedback=has_feedback,
        tags=tuple(tags or ()),
        project_id=project_id,
        start=start_date,
        end=end_date,
    )
    return [step_to_wire(step) for step in await services.store.read(lambda tx: tx.steps.find(query))]


@router.get("/v1/steps/{step_id}", operation_id="retrieve_step")
async def retrieve_step(services: CurrentServices, step_id: str) -> Step:
    return step_to_wire(await services.store.read(lambda tx: tx.steps.get(step_id)))


@router.get("/v1/steps/{step_id}/messages", operation_id="list_messages_for_step", responses=LISTED)
async def list_messages_for_step(
    *,
    services: CurrentServices,
    step_id: str,
    asked: MessagesOldestFirst,
) -> Response:
    """The model's reply and what its tool calls returned."""
    query = replace_query(asked, step_id=step_id)
    return await list_messages(services, query, config_of(None), lambda tx: tx.steps.get(step_id))


@router.get("/v1/steps/{step_id}/metrics", operation_id="retrieve_metrics_for_step")
async def retrieve_metrics_for_step(services: CurrentServices, step_id: str) -> StepMetrics:
    return metrics_to_wire(await services.store.read(lambda tx: tx.steps.get(step_id)))


@router.get("/v1/steps/{step_id}/trace", operation_id="retrieve_trace_for_step", response_model=ProviderTrace | None)
async def retrieve_trace_for_step(services: CurrentServices, step_id: str) -> ProviderTrace | None:
    """The request and the reply as they were sent; null where they were not kept."""
    trace = await services.runs.trace(step_id)
    return None if trace is None else trace_to_wire(trace.step, trace.stored, trace.request)


@router.patch(
    "/v1/steps/{step_id}/feedback",
    operation_id="modify_feedback_for_step",
    openapi_extra=document_body(FeedbackBody),
)
async def modify_feedback_for_step(request: Request, step_id: str) -> Step:
    """Say how good the step was, or take that back with ``null``; ``tags`` are added to the step's."""
    services, body = services_of(request), await read_body(request, FeedbackBody)

    def write(tx: Transaction) -> runs.Step:
        step = tx.steps.get(step_id)
        step = replace(step, tags=tuple(dict.fromkeys((*step.tags, *(body.tags or ())))))
        if "feedback" in body.model_fields_set:
            step = replace(step, feedback=body.feedback)
        tx.steps.update(step)
        return step

    return step_to_wire(await services.store.write(write))
