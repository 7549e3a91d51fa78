"""A client that goes away cancels its run; what was finished is kept and the conversation goes on."""

import time
from typing import Any

import httpx
from letta_client import Letta
from letta_client.types import Conversation

from tests.conformance.helpers import answer, history, of_type, send, types
from tests.conformance.requirements import requirement
from tests.support.openai_endpoint import TIMEOUT, Gate, OpenAIEndpoint, Pause, Send, call, calls, text


def _settled(client: Letta, conversation_id: str) -> Any:
    """The conversation's newest run, once it is over. There is no event to wait for from outside: it is asked for."""
    deadline = time.monotonic() + TIMEOUT
    while True:
        run = client.runs.list(conversation_id=conversation_id, limit=1).items[0]
        if run.status not in {"created", "running"} or time.monotonic() > deadline:
            return run


@requirement("vanished.stream-is-cancelled")
def test_a_stream_that_is_left_cancels_its_run_and_the_call_of_the_model(
    client: Letta, conversation: Conversation, endpoint: OpenAIEndpoint
) -> None:
    gate = Gate()
    endpoint.script([Send({"content": "half a "}), Pause(gate), *text("sentence")])
    with client.conversations.messages.create(conversation.id, input="go", stream_tokens=True) as events:
        for event in events:
            if event.message_type == "assistant_message":
                break
    request = endpoint.wait_for_requests(1)[0]
    # The model is let go at once, which frees whatever it was paid for.
    assert request.left.wait(TIMEOUT)
    run = _settled(client, conversation.id)
    assert (run.status, run.stop_reason) == ("cancelled", "cancelled")
    assert answer(send(client, conversation.id, "and now?")) == "ok"
    kept = history(client, conversation.id)
    assert types(kept)[:2] == ["system_message", "user_message"]
    assert [m.content for m in of_type(kept, "user_message")] == ["go", "and now?"]


@requirement("vanished.json-is-cancelled")
def test_a_blocking_request_that_is_left_cancels_its_run(
    http: httpx.Client, client: Letta, conversation: Conversation, endpoint: OpenAIEndpoint
) -> None:
    gate = Gate()
    endpoint.script([Pause(gate), *text("too late")])
    path = f"/v1/conversations/{conversation.id}/messages"
    with httpx.Client(base_url=http.base_url, verify=False) as impatient:
        try:
            impatient.post(path, json={"input": "go", "streaming": False}, timeout=0.5)
        except httpx.ReadTimeout:
            pass
        else:
            raise AssertionError("the reply came although the model had not answered")
    assert endpoint.wait_for_requests(1)[0].left.wait(TIMEOUT)
    assert _settled(client, conversation.id).status == "cancelled"
    assert answer(send(client, conversation.id, "and now?")) == "ok"


@requirement("vanished.tool-calls-have-returns")
def test_every_tool_call_of_a_cancelled_run_has_its_return(
    client: Letta, conversation: Conversation, endpoint: OpenAIEndpoint
) -> None:
    gate = Gate()
    first = calls(call("memory_insert", {"label": "human", "new_string": "Likes tea."}, "call_1"))
    endpoint.script(first, [Pause(gate), *text("never")], text("back again"))
    with client.conversations.messages.create(conversation.id, input="go") as events:
        for event in events:
            if event.message_type == "tool_return_message":
                break
    assert endpoint.wait_for_requests(2)[1].left.wait(TIMEOUT)
    assert answer(send(client, conversation.id, "hello?")) == "back again"
    # The endpoint refuses a request in which a call has no return; the finished call is kept with its own.
    assert endpoint.requests[2].tool_results.keys() == {"call_1"}
    kept = history(client, conversation.id)
    calls_made = {m.tool_call.tool_call_id for m in of_type(kept, "tool_call_message")}
    returned = {m.tool_call_id for m in of_type(kept, "tool_return_message")}
    assert calls_made == returned == {"call_1"}


@requirement("vanished.sent-again-is-one-message")
def test_what_the_sdk_sends_again_after_its_timeout_is_one_message_with_one_answer(
    http: httpx.Client, client: Letta, conversation: Conversation, endpoint: OpenAIEndpoint
) -> None:
    endpoint.script([Pause(Gate()), *text("too late")], text("in time"))
    with Letta(base_url=str(http.base_url), api_key="unused", timeout=0.7, max_retries=2) as impatient:
        assert answer(send(impatient, conversation.id, "go")) == "in time"
    kept = history(client, conversation.id)
    assert [m.content for m in of_type(kept, "user_message")] == ["go"]
    assert [m.content for m in of_type(kept, "assistant_message")] == ["in time"]


@requirement("vanished.sent-again-is-one-message")
def test_a_stream_that_is_asked_for_again_is_of_one_message(
    http: httpx.Client, client: Letta, conversation: Conversation, endpoint: OpenAIEndpoint
) -> None:
    endpoint.script([Send({"content": "half "}), Pause(Gate())], text("in time"))
    path, body = f"/v1/conversations/{conversation.id}/messages", {"input": "go", "stream_tokens": True}
    with http.stream("POST", path, json=body, headers={"X-Stainless-Retry-Count": "0"}) as reply:
        lines = reply.iter_lines()  # kept: with it goes the connection, and with that the run
        next(lines)
        assert endpoint.wait_for_requests(1)
    assert endpoint.requests[0].left.wait(TIMEOUT)
    with http.stream("POST", path, json=body, headers={"x-stainless-retry-count": "1"}) as reply:
        assert reply.read().endswith(b"data: [DONE]\n\n")
    kept = history(client, conversation.id)
    assert [m.content for m in of_type(kept, "user_message")] == ["go"]
    assert [m.content for m in of_type(kept, "assistant_message")] == ["in time"]
