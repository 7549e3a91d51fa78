"""Nouns with nothing special about them, for tests to vary."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

from tertulia.domain.agents import Agent
from tertulia.domain.blocks import Block
from tertulia.domain.conversations import Conversation
from tertulia.domain.ids import (
    new_agent_id,
    new_block_id,
    new_conversation_id,
    new_message_id,
    new_run_id,
    new_step_id,
)
from tertulia.domain.messages import Message, TextPart
from tertulia.domain.runs import Run, Step, StepTrace, Usage
from tertulia.ports.store import Store, Transaction

Work: TypeAlias = Callable[[Transaction], Any]

START = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


def at(minutes: float) -> datetime:
    """The instant so many minutes after the start of the test's time."""
    return START + timedelta(minutes=minutes)


def an_agent(**fields: Any) -> Agent:
    defaults: dict[str, Any] = {
        "id": new_agent_id(),
        "name": "Ana",
        "agent_type": "letta_v1_agent",
        "system": "You are Ana.",
        "model": "local/tiny",
        "created_at": START,
        "updated_at": START,
    }
    return Agent(**defaults | fields)


def a_block(**fields: Any) -> Block:
    defaults: dict[str, Any] = {
        "id": new_block_id(),
        "label": "human",
        "value": "Likes tea.",
        "created_at": START,
        "updated_at": START,
    }
    return Block(**defaults | fields)


def a_conversation(agent: Agent, **fields: Any) -> Conversation:
    defaults: dict[str, Any] = {
        "id": new_conversation_id(),
        "agent_id": agent.id,
        "created_at": START,
        "updated_at": START,
    }
    return Conversation(**defaults | fields)


def a_message(conversation: Conversation, text: str = "hello", **fields: Any) -> Message:
    defaults: dict[str, Any] = {
        "id": new_message_id(),
        "agent_id": conversation.agent_id,
        "conversation_id": conversation.id,
        "role": "user",
        "content": (TextPart(text),),
        "created_at": START,
    }
    return Message(**defaults | fields)


def a_prompt(conversation: Conversation, text: str = "You are Ana.") -> Message:
    return a_message(conversation, text, role="system")


def a_run(conversation: Conversation, **fields: Any) -> Run:
    defaults: dict[str, Any] = {
        "id": new_run_id(),
        "agent_id": conversation.agent_id,
        "conversation_id": conversation.id,
        "status": "running",
        "created_at": START,
    }
    return Run(**defaults | fields)


def a_step(run: Run, **fields: Any) -> Step:
    defaults: dict[str, Any] = {
        "id": new_step_id(),
        "run_id": run.id,
        "agent_id": run.agent_id,
        "conversation_id": run.conversation_id,
        "status": "success",
        "created_at": START,
        "model": "tiny",
        "model_handle": "local/tiny",
        "model_endpoint": None,
        "provider_name": "local",
        "provider_category": "base",
        "context_window_limit": 8192,
        "usage": Usage(prompt_tokens=10, completion_tokens=2, total_tokens=12),
    }
    return Step(**defaults | fields)


def a_trace(step: Step, frame: str = "digest", **fields: Any) -> StepTrace:
    defaults: dict[str, Any] = {
        "step_id": step.id,
        "conversation_id": step.conversation_id,
        "frame": frame,
        "context_from": 1,
        "head": 2,
        "reply": {"choices": [{"index": 0}]},
        "created_at": START,
    }
    return StepTrace(**defaults | fields)


async def stored_agent(store: Store, **fields: Any) -> Agent:
    agent = an_agent(**fields)
    await store.write(lambda tx: tx.agents.insert(agent))
    return agent


async def stored_block(store: Store, *attached_to: Agent, **fields: Any) -> Block:
    block = a_block(**fields)
    await store.write(lambda tx: tx.blocks.insert(block))
    for agent in attached_to:
        await store.write(lambda tx, agent=agent: tx.blocks.attach(agent.id, block.id))
    return block


async def stored_conversation(store: Store, agent: Agent | None = None, **fields: Any) -> Conversation:
    """A conversation as it is read back, of a new agent unless one is given."""
    conversation = a_conversation(agent or await stored_agent(store), **fields)
    await store.write(lambda tx: tx.conversations.insert(conversation, a_prompt(conversation)))
    return await store.read(lambda tx: tx.conversations.get(conversation.id))


async def stored_messages(store: Store, conversation: Conversation, *texts: str, **fields: Any) -> list[Message]:
    messages = [a_message(conversation, text, **fields) for text in texts]
    await store.write(lambda tx: tx.messages.append(conversation.id, messages))
    return messages


async def stored_run(store: Store, conversation: Conversation | None = None, **fields: Any) -> Run:
    """A finished run unless the fields say otherwise."""
    run = a_run(conversation or await stored_conversation(store), **{"status": "completed", **fields})
    await store.write(lambda tx: tx.runs.insert(run))
    return run


async def stored_step(store: Store, run: Run | None = None, **fields: Any) -> Step:
    step = a_step(run or await stored_run(store), **fields)
    await store.write(lambda tx: tx.steps.insert(step))
    return step
