"""A model that fails: a clear error each time, and the next message works."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from letta_client import Letta
from letta_client.types import Conversation

from tests.conformance.helpers import answer, send, spoken, stream
from tests.conformance.requirements import requirement
from tests.conformance.wire import Recorder
from tests.support.openai_endpoint import Drop, Gate, OpenAIEndpoint, Pause, Raw, Refuse, Reply, Send, text

TOO_LONG = "This model's maximum context length is 128000 tokens. However, your messages resulted in 130000 tokens."

# What the model does, the error type, and the status of a JSON reply.
FAILURES: dict[str, tuple[Callable[[], Reply], str, int]] = {
    "a wrong key": (lambda: [Refuse(401, "Incorrect API key provided: sk-t***")], "llm_authentication", 401),
    "a forbidden model": (lambda: [Refuse(403, "Project does not have access")], "llm_authentication", 401),
    "a rate limit": (
        lambda: [Refuse(429, "Rate limit reached", headers=(("retry-after", "7"),))],
        "llm_rate_limit",
        429,
    ),
    "an unknown model": (lambda: [Refuse(404, "The model `gpt-4o-mini` does not exist")], "llm_error", 502),
    "a bad request": (lambda: [Refuse(400, "Unsupported value")], "llm_error", 502),
    "a broken service": (lambda: [Refuse(500, "The server had an error")], "llm_error", 502),
    "an overloaded service": (lambda: [Refuse(503, "Overloaded")], "llm_error", 502),
    "a dropped connection": (lambda: [Drop()], "llm_error", 502),
    "a connection dropped in the middle": (lambda: [Send({"content": "Once upon"}), Drop()], "llm_error", 502),
    "garbage": (lambda: [Raw(b"\x00\xff<html>not what you think</html>\n\n")], "llm_error", 502),
    "broken JSON": (lambda: [Raw(b'data: {"choices": [{"del\n\n')], "llm_error", 502),
    "an error in the stream": (
        lambda: [
            Send({"content": "Once"}),
            Raw(b'data: {"error": {"message": "exploded", "type": "server_error"}}\n\n'),
        ],
        "llm_error",
        502,
    ),
    "an end without a finish": (lambda: [Send({"content": "Once upon"})], "llm_error", 502),
    "silence": (lambda: [Pause(Gate())], "llm_timeout", 504),
    "silence in the middle": (lambda: [Send({"content": "Once"}), Pause(Gate())], "llm_timeout", 504),
}


@requirement("provider-failure.json")
@pytest.mark.parametrize("name", FAILURES)
def test_a_failing_model_is_told_in_a_json_reply_and_the_next_message_works(
    client: Letta, http: httpx.Client, conversation: Conversation, endpoint: OpenAIEndpoint, name: str
) -> None:
    make_reply, error_type, status = FAILURES[name]
    endpoint.answer_with(lambda request: make_reply())
    body = {"input": "hello", "streaming": False}
    reply = http.post(f"/v1/conversations/{conversation.id}/messages", json=body)
    assert reply.status_code == status, reply.text
    error: dict[str, Any] = reply.json()["error"]
    assert error["type"] == error_type
    assert error["message"]
    assert error["detail"]
    endpoint.script(text("ok"))
    assert answer(send(client, conversation.id)) == "ok"


@requirement("provider-failure.stream")
@pytest.mark.parametrize("name", FAILURES)
def test_a_failing_model_is_told_in_the_stream_and_the_next_message_works(
    client: Letta,
    http: httpx.Client,
    conversation: Conversation,
    endpoint: OpenAIEndpoint,
    recorder: Recorder,
    name: str,
) -> None:
    make_reply, error_type, _ = FAILURES[name]
    endpoint.answer_with(lambda request: make_reply())
    body = {"input": "hello", "stream_tokens": True}
    http.post(f"/v1/conversations/{conversation.id}/messages", json=body)
    told = {frame.type: frame.data for frame in recorder.last.frames}
    assert told["stop_reason"]["stop_reason"] == "llm_api_error"
    assert told["error_message"]["error_type"] == error_type
    assert told["error_message"]["message"]
    endpoint.script(text("ok"))
    assert spoken(stream(client, conversation.id)) == "ok"


@requirement("provider-failure.retry-after")
def test_the_providers_retry_after_is_passed_on(
    http: httpx.Client, conversation: Conversation, endpoint: OpenAIEndpoint
) -> None:
    endpoint.script([Refuse(429, "Rate limit reached", headers=(("retry-after", "7"),))])
    body = {"input": "hello", "streaming": False}
    reply = http.post(f"/v1/conversations/{conversation.id}/messages", json=body)
    assert reply.headers["retry-after"] == "7"


@requirement("provider-failure.context-too-long")
def test_a_context_that_does_not_fit_is_told_with_the_numbers(
    client: Letta, http: httpx.Client, conversation: Conversation, endpoint: OpenAIEndpoint
) -> None:
    endpoint.answer_with(lambda request: [Refuse(400, TOO_LONG, code="context_length_exceeded")])
    body = {"input": "hello", "streaming": False}
    reply = http.post(f"/v1/conversations/{conversation.id}/messages", json=body)
    assert reply.status_code >= 400
    assert "context" in reply.text
    endpoint.script(text("short again"))
    assert answer(send(client, conversation.id)) == "short again"


@requirement("provider-failure.nothing-lost")
def test_the_message_that_met_a_failure_is_kept_or_refused_but_never_doubled(
    client: Letta, http: httpx.Client, conversation: Conversation, endpoint: OpenAIEndpoint
) -> None:
    endpoint.script([Refuse(500, "broken")], text("better"))
    body = {"input": "are you there?", "streaming": False}
    http.post(f"/v1/conversations/{conversation.id}/messages", json=body)
    send(client, conversation.id, "hello again")
    roles = [message["role"] for message in endpoint.wait_for_requests(2)[1].messages]
    assert roles in (["system", "user", "user"], ["system", "user"])
    assert str(endpoint.requests[1].body).count("are you there?") <= 1
