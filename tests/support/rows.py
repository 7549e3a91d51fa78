"""Rows for tests that need something to hang theirs on."""

from tertulia.domain.agents import Agent
from tertulia.domain.clock import utc_now
from tertulia.domain.conversations import Conversation
from tertulia.domain.ids import new_agent_id, new_message_id, new_run_id
from tertulia.domain.messages import Message, TextPart
from tertulia.domain.runs import Run
from tertulia.ports.store import Store, Transaction


async def store_run(store: Store) -> Run:
    """An active run of a new agent's default conversation."""
    now, agent_id = utc_now(), new_agent_id()
    agent = Agent(
        id=agent_id, name="Ada", agent_type="letta_v1_agent", system="", model="m/x", created_at=now, updated_at=now
    )
    system = Message(
        id=new_message_id(),
        agent_id=agent_id,
        conversation_id=agent_id,
        role="system",
        content=(TextPart("Be kind."),),
        created_at=now,
    )
    run = Run(id=new_run_id(), agent_id=agent_id, conversation_id=agent_id, status="running", created_at=now)

    def write(tx: Transaction) -> None:
        tx.agents.insert(agent)
        tx.conversations.insert(Conversation(id=agent_id, agent_id=agent_id, created_at=now, updated_at=now), system)
        tx.runs.insert(run)

    await store.write(write)
    return run
