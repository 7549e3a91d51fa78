"""A conversation runs one message at a time, on every route; conversations never wait for each other."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import islice

import pytest
from letta_client import ConflictError, Letta
from letta_client.types import AgentState, Conversation

from tests.conformance.helpers import answer, history, of_type, refused, send, stream, stream_agent, types
from tests.conformance.requirements import requirement
from tests.support.openai_endpoint import TIMEOUT, Gate, OpenAIEndpoint, Pause, text

BUSY = (
    "CONFLICT: Cannot send a new message: Another request (run_id={run_id}) is currently being processed "
    "for this conversation. Please wait for it to complete."
)


@pytest.fixture
def gate(endpoint: OpenAIEndpoint) -> Iterator[Gate]:
    """The first reply waits here; every later one is `ok`."""
    gate = Gate()
    endpoint.script([Pause(gate), *text("finally")])
    yield gate
    gate.open()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as pool:
        yield pool


ROUTES: dict[str, Callable[[Letta, str], object]] = {
    "default, JSON": lambda c, a: send(c, "default", agent_id=a),
    "default, stream": lambda c, a: stream(c, "default", agent_id=a),
    "agent id in the path": send,
    "agent, JSON": lambda c, a: c.agents.messages.create(a, input="x"),
    "agent, stream": lambda c, a: list(c.agents.messages.create(a, input="x", streaming=True)),
    "agent, streaming route": stream_agent,
}


@requirement("busy.every-route-of-the-default-conversation")
def test_every_route_of_a_busy_default_conversation_answers_409(
    client: Letta, agent: AgentState, gate: Gate, pool: ThreadPoolExecutor
) -> None:
    first = pool.submit(send, client, "default", agent_id=agent.id)
    gate.wait_reached()
    (run,) = client.runs.list(agent_id=agent.id, active=True).items
    assert run.status == "running"
    for post in ROUTES.values():
        body = refused(409, lambda post=post: post(client, agent.id))
        assert body == {"detail": BUSY.format(run_id=run.id), "run_id": run.id}
    gate.open()
    assert answer(first.result(TIMEOUT)) == "finally"
    assert send(client, "default", agent_id=agent.id).stop_reason.stop_reason == "end_turn"


@requirement("busy.conversation")
@pytest.mark.parametrize("post", [send, stream], ids=["JSON", "stream"])
def test_a_busy_conversation_answers_409_and_no_other_waits(
    client: Letta, conversation: Conversation, gate: Gate, pool: ThreadPoolExecutor, post: Callable[..., object]
) -> None:
    first = pool.submit(stream, client, conversation.id)
    gate.wait_reached()
    assert "is currently being processed" in refused(409, lambda: post(client, conversation.id))["detail"]
    other = client.conversations.create(agent_id=conversation.agent_id)
    assert answer(send(client, other.id)) == "ok"
    gate.open()
    first.result(TIMEOUT)
    assert types(history(client, conversation.id)) == ["system_message", "user_message", "assistant_message"]


@requirement("busy.one-of-many-wins")
def test_of_many_sends_at_once_each_runs_or_is_refused_and_none_is_lost(
    client: Letta, conversation: Conversation, gate: Gate, pool: ThreadPoolExecutor
) -> None:
    start = threading.Barrier(8)

    def attempt(number: int) -> str:
        start.wait(TIMEOUT)
        try:
            send(client, conversation.id, f"n{number}")
        except ConflictError as error:
            return str(error)
        return f"n{number}"

    sends = [pool.submit(attempt, number) for number in range(8)]
    gate.wait_reached()
    # Seven are refused while the one that runs waits for its model.
    done = [outcome.result(TIMEOUT) for outcome in islice(as_completed(sends, TIMEOUT), 7)]
    assert all("is currently being processed" in outcome for outcome in done)
    gate.open()
    outcomes = [outcome.result(TIMEOUT) for outcome in sends]
    (winner,) = [outcome for outcome in outcomes if outcome.startswith("n")]
    kept = [m.content for m in of_type(history(client, conversation.id), "user_message")]
    assert kept == [winner]


@requirement("busy.deleting-cancels")
@pytest.mark.parametrize("noun", ["conversation", "agent"])
def test_what_is_answering_can_be_deleted(
    client: Letta, conversation: Conversation, gate: Gate, pool: ThreadPoolExecutor, noun: str
) -> None:
    events = pool.submit(stream, client, conversation.id)
    gate.wait_reached()
    if noun == "agent":
        client.agents.delete(conversation.agent_id)
    else:
        client.conversations.delete(conversation.id)
    assert of_type(events.result(TIMEOUT), "stop_reason")[0].stop_reason == "cancelled"
    assert refused(404, lambda: send(client, conversation.id))["detail"]


@requirement("busy.changes-do-not-wait")
def test_agents_blocks_and_conversations_are_changed_while_a_run_is_on(
    client: Letta, agent: AgentState, gate: Gate, pool: ThreadPoolExecutor
) -> None:
    reply = pool.submit(send, client, "default", agent_id=agent.id)
    gate.wait_reached()
    assert client.agents.update(agent.id, description="busy").description == "busy"
    assert client.agents.blocks.update("human", agent_id=agent.id, value="Name: Ada.").value == "Name: Ada."
    assert client.agents.recompile(agent.id)
    assert types(client.agents.messages.list(agent.id, order="asc")) == ["system_message", "user_message"]
    assert "is currently being processed" in refused(409, lambda: client.agents.messages.reset(agent.id))["detail"]
    gate.open()
    assert answer(reply.result(TIMEOUT)) == "finally"
