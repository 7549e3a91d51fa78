"""Sending messages, going on with a run's stream and stopping runs, for every route that does so."""

from functools import partial
from typing import Any, Final

from starlette.responses import Response

from tertulia.api.deps import Services
from tertulia.api.replies import BlockingReply
from tertulia.api.sse import EventStream
from tertulia.api.wire.documented import STREAM, LettaResponse
from tertulia.api.wire.requests import ResumeBody, SendBody, send_request
from tertulia.domain.errors import Conflict, InvalidArgument, NotFound
from tertulia.domain.runs import Run
from tertulia.ports.store import Transaction

REPLY: Final[dict[int | str, dict[str, Any]]] = {200: {"model": LettaResponse, "content": STREAM}}
STREAMED: Final[dict[int | str, dict[str, Any]]] = {200: {"content": STREAM, "description": "The run's frames."}}


async def send(services: Services, conversation_id: str, body: SendBody, *, streaming: bool) -> Response:
    """Start a run for the messages and answer with it, in the form that was asked for."""
    run = await services.runs.start(send_request(conversation_id, body, streaming=streaming))
    if streaming:
        return EventStream(services.runs, run, include_pings=body.include_pings)
    return BlockingReply(services.runs, run)


async def resume(services: Services, conversation_id: str, body: ResumeBody) -> Response:
    """Go on with the stream of the run that is named by id or ``otid``, or else of the one that is running."""
    run = await services.store.read(partial(_wanted_run, conversation_id, body))
    return stream(services, run, body)


def stream(services: Services, run: Run, body: ResumeBody) -> Response:
    return EventStream(services.runs, run, after=body.starting_after, include_pings=bool(body.include_pings))


def _wanted_run(conversation_id: str, body: ResumeBody, tx: Transaction) -> Run:
    tx.conversations.get(conversation_id)
    if body.run_id:
        run = tx.runs.get(body.run_id)
        if run.conversation_id != conversation_id:
            raise NotFound("Run", run.id)
        return run
    if body.otid:
        started = tx.messages.runs_by_otid(conversation_id, [body.otid])
        if body.otid not in started:
            raise NotFound("Run for a message", body.otid)
        return tx.runs.get(started[body.otid])
    active = tx.runs.active(conversation_id)
    if active is None:
        raise InvalidArgument("INVALID_ARGUMENT: No active runs found for this conversation.")
    return active


def cancelled(run_ids: list[str], whose: str) -> dict[str, str]:
    """What clients are told of runs that were stopped.

    :raises Conflict: if there were none.
    """
    if not run_ids:
        raise Conflict(f"CONFLICT: No active runs to cancel for {whose}")
    return dict.fromkeys(run_ids, "cancelled")
