"""``/v1/agents/{agent_id}/messages``: the messages of an agent, and sending to its default conversation."""

from dataclasses import replace
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from tertulia.api.bodies import document_body, read_body
from tertulia.api.conversation_ids import ConversationFilter
from tertulia.api.deps import CurrentServices, services_of
from tertulia.api.message_lists import LISTED, MessagesNewestFirst, MessageTypes, config_of, list_messages
from tertulia.api.sending import REPLY, STREAMED, cancel_results, preview, read_request, repeatable, send
from tertulia.api.wire.agent_state import AgentStateBody, agent_state
from tertulia.api.wire.requests import AsyncSendBody, CancelBody, ResetBody, SendBody
from tertulia.api.wire.runs import Run, run_to_wire
from tertulia.domain.errors import NotFound, Unsupported
from tertulia.domain.runs import RequestConfig
from tertulia.ports.store import Transaction

router = APIRouter(tags=["agents"])


@router.post(
    "/v1/agents/{agent_id}/messages",
    operation_id="send_message",
    responses=REPLY,
    openapi_extra=document_body(SendBody),
)
async def send_message(agent_id: str, request: Request) -> Response:
    """Send messages to the agent's default conversation. The reply is one object unless ``streaming`` is true."""
    body = await read_body(request, SendBody)
    return await send(request, agent_id, body, streaming=bool(body.streaming))


@router.post(
    "/v1/agents/{agent_id}/messages/stream",
    operation_id="create_agent_message_stream",
    responses=STREAMED,
    openapi_extra=document_body(SendBody),
)
async def create_agent_message_stream(agent_id: str, request: Request) -> Response:
    """The same with the reply always streamed."""
    return await send(request, agent_id, await read_body(request, SendBody), streaming=True)


@router.post(
    "/v1/agents/{agent_id}/messages/async",
    operation_id="create_agent_message_async",
    openapi_extra=document_body(AsyncSendBody),
)
async def create_agent_message_async(agent_id: str, request: Request) -> Run:
    """Send messages and get the run that answers them in the background. ``callback_url`` is told of its end."""
    services, body = services_of(request), await read_body(request, AsyncSendBody)
    if body.callback_url is not None:
        services.callbacks.check(body.callback_url)
    wanted = await read_request(request, agent_id, body, streaming=True)
    wanted = replace(wanted, background=True, callback_url=body.callback_url)
    run = await services.runs.start(repeatable(request, wanted))
    return run_to_wire(run)


@router.post(
    "/v1/agents/{agent_id}/messages/preview-raw-payload",
    operation_id="preview_model_request",
    openapi_extra=document_body(SendBody),
)
async def preview_model_request(agent_id: str, request: Request) -> dict[str, Any]:
    """The body that the model's provider would be sent for this request. Nothing is sent or stored."""
    return await preview(request, agent_id, await read_body(request, SendBody))


@router.get("/v1/agents/{agent_id}/messages", operation_id="list_messages", responses=LISTED)
async def list_agent_messages(
    *,
    services: CurrentServices,
    agent_id: str,
    conversation_id: ConversationFilter = None,
    asked: MessagesNewestFirst,
    group_id: str | None = None,
    include_err: bool | None = None,
    include_return_message_types: MessageTypes = None,
    use_assistant_message: bool = True,
    assistant_message_tool_name: str = "send_message",
    assistant_message_tool_kwarg: str = "message",
) -> Response:
    """Messages of all conversations of the agent in the order they were written, or of one of them."""
    stored_id = services.conversations.resolve(conversation_id, agent_id) if conversation_id else None
    query = replace(
        asked,
        conversation_id=stored_id,
        agent_id=None if stored_id else agent_id,
        group_id=group_id,
        include_errors=include_err is not False,
    )
    config = RequestConfig(
        use_assistant_message=use_assistant_message,
        assistant_message_tool_name=assistant_message_tool_name,
        assistant_message_tool_kwarg=assistant_message_tool_kwarg,
        include_return_message_types=config_of(include_return_message_types).include_return_message_types,
    )

    def exists(tx: Transaction) -> None:
        tx.agents.get(agent_id)
        if stored_id is not None and tx.conversations.get(stored_id).agent_id != agent_id:
            raise NotFound("Conversation", stored_id)

    return await list_messages(services, query, config, exists)


@router.post(
    "/v1/agents/{agent_id}/messages/cancel",
    operation_id="cancel_message",
    openapi_extra=document_body(CancelBody, required=False),
)
async def cancel_message(agent_id: str, request: Request) -> dict[str, str]:
    """Stop the named runs of the agent, or all that are active in any of its conversations."""
    services, body = services_of(request), await read_body(request, CancelBody, optional=True)

    named = body.run_ids

    def check(tx: Transaction) -> None:
        tx.agents.get(agent_id)
        for run_id in named or ():
            if tx.runs.get(run_id).agent_id != agent_id:
                raise NotFound("Run", run_id)

    await services.store.read(check)
    if named is None:
        stopped = await services.runs.cancel_agent(agent_id)
    else:
        stopped = [run_id for run_id in named if await services.runs.cancel(run_id)]
    return cancel_results(stopped, f"agent {agent_id}")


@router.patch(
    "/v1/agents/{agent_id}/reset-messages",
    operation_id="reset_messages",
    openapi_extra=document_body(ResetBody, required=False),
)
async def reset_messages(agent_id: str, request: Request) -> AgentStateBody:
    """Forget the messages of the agent's default conversation, the system prompt aside."""
    services, body = services_of(request), await read_body(request, ResetBody, optional=True)
    if body.add_default_initial_messages:
        raise Unsupported(
            "Agents have no default initial messages on this server. Reset without 'add_default_initial_messages'."
        )
    return agent_state(await services.agents.reset_messages(agent_id))
