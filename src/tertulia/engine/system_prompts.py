"""A conversation's stored system prompt: made with it, recompiled when what it was compiled from changed."""

from collections.abc import Sequence
from datetime import datetime

from msgspec.structs import replace

from tertulia.context.compiler import compile_system
from tertulia.domain.agents import Agent
from tertulia.domain.blocks import Block
from tertulia.domain.clock import utc_now
from tertulia.domain.conversations import Conversation
from tertulia.domain.ids import new_message_id
from tertulia.domain.messages import Message, TextPart
from tertulia.ports.store import Transaction


def system_message(agent: Agent, blocks: Sequence[Block], conversation: Conversation) -> Message:
    """The first message of a new conversation. Its date is when it was compiled."""
    now = utc_now()
    return Message(
        id=new_message_id(),
        agent_id=agent.id,
        conversation_id=conversation.id,
        role="system",
        content=(TextPart(compile_system(agent, blocks, conversation.wire_id, now)),),
        created_at=now,
    )


def refresh(agent: Agent, blocks: Sequence[Block], conversation: Conversation, system: Message) -> Message | None:
    """The system prompt anew, or None if compiling it again changes nothing."""
    if compile_system(agent, blocks, conversation.wire_id, system.created_at) == system.text:
        return None
    return _compile_at(agent, blocks, conversation, system, utc_now())


def recompile(conversation_id: str, tx: Transaction, *, dry_run: bool, update_timestamp: bool = True) -> str:
    """The prompt compiled now from what the transaction sees; stored unless it is a dry run."""
    conversation = tx.conversations.get(conversation_id)
    agent = tx.agents.get(conversation.agent_id)
    blocks, system = tx.blocks.of_conversation(conversation), tx.messages.system(conversation_id)
    at = utc_now() if update_timestamp else system.created_at
    anew = _compile_at(agent, blocks, conversation, system, at)
    if not dry_run:
        tx.messages.set_system(conversation_id, anew)
    return anew.text


def _compile_at(
    agent: Agent, blocks: Sequence[Block], conversation: Conversation, system: Message, at: datetime
) -> Message:
    text = compile_system(agent, blocks, conversation.wire_id, at)
    return replace(system, content=(TextPart(text),), created_at=at)
