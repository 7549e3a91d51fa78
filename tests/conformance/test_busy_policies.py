"""What a client can ask for instead of a 409: to wait, to go before, to take back. Ours alone; the SDK passes it on."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from letta_client import Letta
from letta_client.types import Conversation

from tests.conformance.helpers import answer, detail, history, of_type, send, spoken, stream, types
from tests.conformance.requirements import requirement
from tests.support.openai_endpoint import TIMEOUT, Gate, OpenAIEndpoint, Pause, Send, text


@pytest.fixture
def gate(endpoint: OpenAIEndpoint) -> Iterator[Gate]:
    """The first reply has begun and waits here; the next ones follow by number."""
    gate = Gate()
    endpoint.script([Send({"content": "one"}), Pause(gate), *text("!")], text("two"), text("three"))
    yield gate
    gate.open()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


def _asking(policy: str, *, by_header: bool = False) -> dict[str, Any]:
    if by_header:
        return {"extra_headers": {"x-tertulia-busy": policy}}
    return {"extra_body": {"busy_policy": policy}}


def _wait_for_queue(client: Letta, conversation_id: str, length: int) -> None:
    """Return once so many runs wait. There is no event for it outside the server, so it is asked again and again."""
    deadline = time.monotonic() + TIMEOUT
    while len(client.runs.list(conversation_id=conversation_id, statuses=["created"]).items) < length:
        assert time.monotonic() < deadline, "the runs never stood in the queue"


@requirement("busy-policy.enqueue")
@pytest.mark.parametrize("by_header", [True, False], ids=["header", "body"])
def test_queued_messages_are_answered_in_their_order(
    client: Letta, conversation: Conversation, gate: Gate, pool: ThreadPoolExecutor, by_header: bool
) -> None:
    first = pool.submit(send, client, conversation.id, "q1")
    gate.wait_reached()
    options = _asking("enqueue", by_header=by_header)
    with client.conversations.messages.create(conversation.id, input="q2", **options) as second:
        ping: Any = next(second)
        assert client.runs.retrieve(ping.run_id).status == "created"
        third = pool.submit(send, client, conversation.id, "q3", **options)
        _wait_for_queue(client, conversation.id, 2)
        gate.open()
        assert spoken([ping, *second]) == "two"
    assert answer(first.result(TIMEOUT)) == "one!"
    assert answer(third.result(TIMEOUT)) == "three"
    said = [m.content for m in history(client, conversation.id)[1:]]
    assert said == ["q1", "one!", "q2", "two", "q3", "three"]


@requirement("busy-policy.interrupt")
def test_an_interrupting_message_stops_the_run_and_is_answered(
    client: Letta, conversation: Conversation, gate: Gate, pool: ThreadPoolExecutor
) -> None:
    first = pool.submit(stream, client, conversation.id, "q1")
    gate.wait_reached()
    assert answer(send(client, conversation.id, "q2", **_asking("interrupt"))) == "two"
    assert of_type(first.result(TIMEOUT), "stop_reason")[0].stop_reason == "cancelled"
    kept = history(client, conversation.id)
    assert [m.content for m in of_type(kept, "user_message")] == ["q1", "q2"]
    assert kept[-1].content == "two"


@requirement("busy-policy.rollback")
def test_a_message_that_rolls_back_takes_the_place_of_the_one_that_ran(
    client: Letta, conversation: Conversation, endpoint: OpenAIEndpoint, gate: Gate, pool: ThreadPoolExecutor
) -> None:
    first = pool.submit(stream, client, conversation.id, "q1")
    gate.wait_reached()
    assert answer(send(client, conversation.id, "q2", **_asking("rollback"))) == "two"
    assert of_type(first.result(TIMEOUT), "stop_reason")[0].stop_reason == "cancelled"
    kept = history(client, conversation.id)
    assert types(kept) == ["system_message", "user_message", "assistant_message"]
    assert [m.content for m in kept[1:]] == ["q2", "two"]
    assert "q1" not in str(endpoint.requests[-1].body["messages"][1:])


@requirement("busy-policy.unknown")
def test_an_unknown_policy_is_refused(client: Letta, conversation: Conversation) -> None:
    for by_header in (True, False):
        options = _asking("perhaps", by_header=by_header)
        assert "enqueue" in detail(422, lambda options=options: send(client, conversation.id, **options))
