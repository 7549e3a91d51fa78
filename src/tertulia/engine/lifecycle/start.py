"""The beginning of a run: one transaction that takes the conversation and stores what was sent, or says why not."""

from dataclasses import dataclass
from dataclasses import replace as replace_request
from datetime import timedelta

from msgspec.structs import replace

from tertulia.domain.agents import Agent
from tertulia.domain.conversations import Conversation
from tertulia.domain.errors import ConversationBusy
from tertulia.domain.ids import new_message_id
from tertulia.domain.messages import Message
from tertulia.domain.runs import Run
from tertulia.engine.approvals import Settlement, deny_expired, refuse_if_pending, settle, tail
from tertulia.engine.lifecycle.repeats import take_up
from tertulia.engine.requests import NewMessage, SendRequest, encode_request
from tertulia.ports.store import Transaction


@dataclass(frozen=True, slots=True)
class Begun:
    """A run that has its conversation. ``first`` is the position of the first of its messages.

    ``told`` is how many events its log has already, as those of runs that waited have.
    """

    run: Run
    conversation: Conversation
    first: int
    messages: list[Message]
    settlement: Settlement
    told: int = 0


def begin(
    run: Run,
    request: SendRequest,
    agent: Agent,
    system: Message | None,
    deadline: timedelta,
    worker_id: str,
    tx: Transaction,
) -> Begun | Run:
    """Begin the run, the worker's from now on; or the earlier run that was sent just this, to be read instead.

    :raises ConversationBusy: if the conversation is answering another message.
    :raises ApprovalPending: if it waits for answers to tool calls.
    :raises NothingPending: if an answer is to a call that waits for none.
    :raises Conflict: if only some of the messages were sent before.
    """
    conversation = tx.conversations.get(run.conversation_id, lock=True)
    taken = take_up(request, run, conversation, tx)
    if isinstance(taken, Run):
        return taken
    conversation, request = taken
    if request.busy == "enqueue" and run.queued_request is None and tx.runs.queued(run.conversation_id):
        raise ConversationBusy(tx.runs.queued(run.conversation_id)[-1].id)
    last = tail(conversation, tx, whole=bool(request.answers))
    if request.answers:
        settlement = settle(last, request.answers, run, run.created_at)
        if settlement.repeats and not request.messages:
            return tx.runs.get(settlement.repeats)
        if settlement.pending and request.messages:
            refuse_if_pending(last)
        answered = settlement.messages
    else:
        answered = deny_expired(last, run, run.created_at, deadline)
        if not answered:
            refuse_if_pending(last)
        settlement = Settlement()
    told = 0 if run.queued_request is None else tx.events.last(run.id)
    waited = run.queued_request is not None
    run = replace(run, status="running", queued_request=None, request=_encode_rest(request), first=conversation.head)
    if waited:
        tx.runs.begin(run, worker_id)
    else:
        tx.runs.insert(run, worker_id)
    messages = [*answered, *(to_message(message, run) for message in request.messages)]
    if system is not None:
        tx.messages.set_system(run.conversation_id, system)
    head = tx.messages.append(run.conversation_id, messages, at=run.created_at)
    first = head - len(messages)
    if agent.message_buffer_autoclear and request.messages and not request.answers:
        tx.conversations.set_context(run.conversation_id, first)
        conversation = replace(conversation, context_from=first, pins=())
    return Begun(run, replace(conversation, head=head), first, messages, settlement, told)


def to_message(message: NewMessage, run: Run) -> Message:
    """What was sent as a message of the run's conversation."""
    return Message(
        id=new_message_id(),
        agent_id=run.agent_id,
        conversation_id=run.conversation_id,
        role=message.role,
        content=message.content,
        created_at=run.created_at,
        run_id=run.id,
        otid=message.otid,
        name=message.name,
        sender_id=message.sender_id,
        group_id=message.group_id,
        batch_item_id=message.batch_item_id,
    )


def _encode_rest(request: SendRequest) -> bytes | None:
    """What a run needs of its request in order to be resumed: everything that is not in the history by then.

    None where it asks for nothing out of the ordinary.
    """
    plain = SendRequest(
        conversation_id=request.conversation_id,
        busy=request.busy,
        background=request.background,
        callback_url=request.callback_url,
        config=request.config,
    )
    kept = replace_request(request, messages=(), answers=(), fingerprint=None, retried=False)
    return None if kept == plain else encode_request(kept)
