"""Sending messages, resuming a run's stream and stopping runs, for every route that does so."""

import asyncio
import re
from dataclasses import replace
from functools import partial
from typing import Any, Final, get_args

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from tertulia.api.deps import Services, services_of
from tertulia.api.replies import BlockingReply
from tertulia.api.sse import EventStream
from tertulia.api.wire.documented import STREAM, LettaResponse
from tertulia.api.wire.requests import ResumeBody, SendBody, send_request
from tertulia.domain.agents import BusyPolicy
from tertulia.domain.errors import Conflict, InvalidArgument, NotFound, Unprocessable
from tertulia.domain.runs import ACTIVE_STATUSES, Run
from tertulia.engine.lifecycle.repeats import fingerprint
from tertulia.engine.requests import SendRequest
from tertulia.engine.retention import check_kept
from tertulia.ports.store import Transaction

BUSY_HEADER: Final = "x-tertulia-busy"
"""Ours: a header, so that clients can send it which do not know the field ``busy_policy`` of the body."""

_MANY: Final = 500  # messages

RETRIES_HEADER: Final = "x-stainless-retry-count"

_TRACEPARENT: Final = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")

REPLY: Final[dict[int | str, dict[str, Any]]] = {200: {"model": LettaResponse, "content": STREAM}}
STREAMED: Final[dict[int | str, dict[str, Any]]] = {200: {"content": STREAM, "description": "The run's frames."}}


async def send(request: Request, conversation_id: str, body: SendBody, *, streaming: bool) -> Response:
    """Start a run for the messages and answer with it, in the form that was asked for."""
    services = services_of(request)
    wanted = await read_request(request, conversation_id, body, streaming=streaming)
    run = await services.runs.start(repeatable(request, wanted))
    if run.status not in ACTIVE_STATUSES:  # the request was sent before
        await services.store.read(partial(check_kept, run))
    if streaming:
        return EventStream(services.runs, run, include_pings=body.include_pings)
    return BlockingReply(services.runs, run)


async def read_request(request: Request, conversation_id: str, body: SendBody, *, streaming: bool) -> SendRequest:
    """What the engine is asked to do; made beside the loop where it has many messages."""
    make = partial(
        send_request,
        conversation_id,
        body,
        streaming=streaming,
        busy=busy_policy(request),
        traceparent=traceparent(request),
    )
    return await asyncio.to_thread(make) if len(body.messages or ()) > _MANY else make()


async def preview(request: Request, conversation_id: str, body: SendBody) -> dict[str, Any]:
    """What the model would be sent for the messages, as the object that its provider takes."""
    wanted = await read_request(request, conversation_id, body, streaming=False)
    shown: dict[str, Any] = msgspec.json.decode(await services_of(request).previews.of(wanted))
    return shown


def repeatable(request: Request, wanted: SendRequest) -> SendRequest:
    """The request, told apart from others where the client's library says how often it has sent it.

    The official ones count in a header what they send again after a timeout, a lost connection or a failure.
    """
    said = request.headers.get(RETRIES_HEADER)
    if said is None:
        return wanted
    again = said.isascii() and said.isdigit() and int(said[:9]) > 0
    return replace(wanted, fingerprint=fingerprint(replace(wanted, traceparent=None)), retried=again)


def traceparent(request: Request) -> str | None:
    """The client's trace that the run is to be part of; None where the header says nothing that means one."""
    said = request.headers.get("traceparent", "")
    return said if _TRACEPARENT.fullmatch(said) else None


def busy_policy(request: Request) -> BusyPolicy | None:
    """What the request's header says to do while the conversation answers another message; None if there is none.

    :raises Unprocessable: if it says something else.
    """
    said = request.headers.get(BUSY_HEADER)
    if said is None:
        return None
    policy = next((known for known in get_args(BusyPolicy) if known == said.strip().lower()), None)
    if policy is None:
        raise Unprocessable(
            f"The header {BUSY_HEADER} is '{said}'; it must be one of {', '.join(get_args(BusyPolicy))}."
        )
    return policy


async def resume(services: Services, conversation_id: str, body: ResumeBody) -> Response:
    """Go on with the stream of the run that is named by id or ``otid``, or else of the one that is running."""
    run = await services.store.read(partial(_run_to_resume, conversation_id, body))
    return await stream(services, run, body)


async def stream(services: Services, run: Run, body: ResumeBody) -> Response:
    """The run's frames after ``starting_after``, then those to come.

    :raises Gone: if they are not kept any more.
    """
    await services.store.read(partial(check_kept, run))
    return EventStream(services.runs, run, after=body.starting_after, include_pings=bool(body.include_pings))


def _run_to_resume(conversation_id: str, body: ResumeBody, tx: Transaction) -> Run:
    tx.conversations.get(conversation_id)
    if body.run_id:
        run = tx.runs.get(body.run_id)
        if run.conversation_id != conversation_id:
            raise NotFound("Run", run.id)
        return run
    if body.otid:
        started = tx.messages.runs_by_otid(conversation_id, [body.otid])
        if body.otid in started:
            return tx.runs.get(started[body.otid])
        waiting = next((run for run in tx.runs.queued(conversation_id) if body.otid in run.input_otids), None)
        if waiting is None:
            raise NotFound("Run for a message", body.otid)
        return waiting
    active = tx.runs.active(conversation_id)
    if active is None:
        raise InvalidArgument("INVALID_ARGUMENT: No active runs found for this conversation.")
    return active


def cancel_results(run_ids: list[str], whose: str) -> dict[str, str]:
    """What clients are told of runs that were stopped.

    :raises Conflict: if there were none.
    """
    if not run_ids:
        raise Conflict(f"CONFLICT: No active runs to cancel for {whose}")
    return dict.fromkeys(run_ids, "cancelled")
