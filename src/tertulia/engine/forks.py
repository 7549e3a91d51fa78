"""Forks: a conversation that goes on from a point of another one. The history behind that point is shared, not copied.

A fork is made where the history is whole: no call of a tool is parted from its return.
"""

from collections.abc import Sequence
from operator import itemgetter

from msgspec.structs import replace

from tertulia.domain.clock import utc_now
from tertulia.domain.conversations import Conversation
from tertulia.domain.errors import Conflict
from tertulia.domain.ids import new_conversation_id
from tertulia.domain.messages import Message
from tertulia.engine.approvals import TAIL, lost_calls, pending_request, tail
from tertulia.engine.isolated_blocks import copy_blocks, own_blocks
from tertulia.engine.system_prompts import system_message
from tertulia.engine.turn.history import pinned_messages
from tertulia.ports.store import Transaction


def fork_conversation(source_id: str, message_id: str | None, tx: Transaction, *, hidden: bool) -> Conversation:
    """Store a fork of the conversation: of all that is durable, or of what came up to a message and with it.

    :raises NotFound: if there is no such conversation, or it has no such message.
    :raises Conflict: if the message's tool calls are being run just now.
    """
    source = tx.conversations.get(source_id)
    agent = tx.agents.get(source.agent_id)
    upto = _end(source, tx) if message_id is None else _after(source, message_id, tx)
    context_from, pins = _context(source, upto, tx)
    now = utc_now()
    fork = replace(
        source,
        id=new_conversation_id(),
        created_at=now,
        updated_at=now,
        archived=False,
        archived_at=None,
        hidden=hidden,
        last_run_completion=None,
        head=upto,
        context_from=context_from,
        pins=pins,
        isolated_block_ids=copy_blocks(own_blocks(source, tx), tx),
        epoch=0,
    )
    blocks = tx.blocks.of_conversation(fork)
    tx.conversations.fork(source.id, fork, system_message(agent, blocks, fork), upto)
    forked = tx.conversations.get(fork.id)
    if request := pending_request(forked, tx):
        tx.conversations.set_asked(fork.id, request.created_at)
    return forked


def _end(source: Conversation, tx: Transaction) -> int:
    """The head, or the reply before it whose calls are being run just now. Calls that wait for an answer may stay."""
    end = tail(source, tx, whole=False)
    running = _running(end)
    for position, message in enumerate(end, source.head - len(end)):
        if any(call.id in running for call in message.tool_calls):
            return position
    return source.head


def _after(source: Conversation, message_id: str, tx: Transaction) -> int:
    """The position after the message and after what its calls came to."""
    position = tx.messages.position(source.id, message_id)
    upto = position + 1
    for message in tx.messages.range(source.id, upto, min(source.head, upto + TAIL)):
        if message.role not in {"tool", "approval"}:
            break
        upto += 1
    running = _running(tx.messages.range(source.id, max(1, upto - TAIL), upto)) if upto == source.head else set[str]()
    if running:
        raise Conflict(
            "CONFLICT: the tool calls of this message are still running. Fork when they have returned, or fork at the "
            "message before it.",
            tool_call_ids=sorted(running),
        )
    return upto


def _running(history: Sequence[Message]) -> set[str]:
    """The calls at the end of a history that have no return and wait for nobody's answer."""
    return {call.id for call in lost_calls(history)}


def _context(source: Conversation, upto: int, tx: Transaction) -> tuple[int, tuple[int, ...]]:
    """Where the model's view of the fork begins: as in the source, or as before the summaries that the fork lacks."""
    context_from, pins = source.context_from, source.pins
    while context_from > upto or any(pin >= upto for pin in pins):
        pinned = sorted(pinned_messages(source.id, pins, tx), key=itemgetter(0), reverse=True)
        before = next((message.compaction for _, message in pinned if message.compaction), None)
        if before is None:
            return 1, ()
        context_from, pins = before.context_from, before.pins
    return context_from, pins
