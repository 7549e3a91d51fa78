"""The endpoint that tests take their models from does what it is told, and refuses what the service would."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import openai
import pytest

from tests.support.openai_endpoint import (
    TIMEOUT,
    Drop,
    Gate,
    OpenAIEndpoint,
    Pause,
    Refuse,
    Send,
    call,
    calls,
    text,
    think,
    usage,
)

HELLO: list[Any] = [{"role": "user", "content": "hello"}]


@pytest.fixture
def endpoint() -> Iterator[OpenAIEndpoint]:
    with OpenAIEndpoint() as endpoint:
        yield endpoint


@pytest.fixture
def client(endpoint: OpenAIEndpoint) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=endpoint.url, api_key="sk-test", max_retries=0) as client:
        yield client


def _chunks(client: openai.OpenAI, **options: Any) -> list[Any]:
    return list(client.chat.completions.create(model="gpt-4o", messages=HELLO, stream=True, **options))


def test_text_comes_in_its_pieces_and_usage_when_asked_for(endpoint: OpenAIEndpoint, client: openai.OpenAI) -> None:
    endpoint.script(text("a", "b", usage=usage(7, 2)), text("c"))
    chunks = _chunks(client, stream_options={"include_usage": True})
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "ab"
    assert chunks[-1].usage.prompt_tokens == 7
    assert all(chunk.usage is None for chunk in _chunks(client))
    assert [request.last_user_text for request in endpoint.requests] == ["hello", "hello"]


def test_tool_calls_are_interleaved_and_whole(endpoint: OpenAIEndpoint, client: openai.OpenAI) -> None:
    endpoint.script(calls(call("f", {"x": 1}, "call_a"), call("g", {"y": "two"}, "call_b")))
    arguments = {0: "", 1: ""}
    for chunk in _chunks(client):
        pieces: list[Any] = chunk.choices[0].delta.tool_calls or []
        for piece in pieces:
            arguments[piece.index] += piece.function.arguments
    assert [json.loads(text) for text in arguments.values()] == [{"x": 1}, {"y": "two"}]


def test_reasoning_comes_before_the_answer(endpoint: OpenAIEndpoint, client: openai.OpenAI) -> None:
    endpoint.script(think("hm", answer="yes"))
    deltas = [chunk.choices[0].delta for chunk in _chunks(client)]
    assert next(getattr(delta, "reasoning_content", None) for delta in deltas if delta.content != "") == "hm"


def test_a_gate_holds_the_reply_until_it_is_opened(endpoint: OpenAIEndpoint, client: openai.OpenAI) -> None:
    gate = Gate()
    endpoint.script([Pause(gate), *text("late")])
    with ThreadPoolExecutor(1) as pool:
        outcome = pool.submit(_chunks, client)
        gate.wait_reached()
        assert not outcome.done()
        gate.open()
        assert outcome.result(TIMEOUT)


def test_an_error_has_its_status_and_headers(endpoint: OpenAIEndpoint, client: openai.OpenAI) -> None:
    endpoint.script([Refuse(429, "slow down", headers=(("retry-after", "7"),))])
    with pytest.raises(openai.RateLimitError) as caught:
        _chunks(client)
    assert caught.value.response.headers["retry-after"] == "7"


def test_a_dropped_connection_is_no_end(endpoint: OpenAIEndpoint, client: openai.OpenAI) -> None:
    endpoint.script([Send({"content": "a"}), Drop()])
    with pytest.raises((httpx.HTTPError, openai.APIConnectionError)):
        _chunks(client)


def test_a_caller_who_leaves_is_noticed(endpoint: OpenAIEndpoint, client: openai.OpenAI) -> None:
    endpoint.script([Send({"content": "a"}), Pause(Gate())])
    stream = client.chat.completions.create(model="gpt-4o", messages=HELLO, stream=True)
    next(iter(stream))
    stream.close()
    assert endpoint.requests[0].left.wait(TIMEOUT)


def test_models_are_listed(client: openai.OpenAI) -> None:
    assert "gpt-4o-mini" in {model.id for model in client.models.list()}


TOOL_CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}


REFUSED: list[dict[str, Any]] = [
    {"surprise": 1},
    {"temperature": "hot"},
    {"stream": False},
    {"tools": []},
    {"parallel_tool_calls": True},
    {"max_tokens": 1, "max_completion_tokens": 1},
    {"messages": [{"role": "user"}]},
    {"messages": [{"role": "user", "content": "x", "otid": "o"}]},
    {"messages": [{"role": "assistant", "content": "x", "reasoning_content": "y"}]},
    {"messages": [{"role": "assistant", "content": None, "tool_calls": [TOOL_CALL]}]},
    {"messages": [{"role": "tool", "content": "x", "tool_call_id": "c1"}]},
    {"messages": [{"role": "assistant", "content": "x", "tool_calls": []}]},
]


@pytest.mark.parametrize("body", REFUSED)
def test_what_the_service_would_refuse_is_refused_and_remembered(
    endpoint: OpenAIEndpoint, body: dict[str, Any]
) -> None:
    sent = {"model": "m", "messages": HELLO, "stream": True} | body
    reply = httpx.post(f"{endpoint.url}/chat/completions", json=sent, headers={"authorization": "Bearer x"})
    assert reply.status_code == 400
    assert endpoint.violations


def test_a_call_and_its_return_are_accepted(endpoint: OpenAIEndpoint) -> None:
    messages = [
        *HELLO,
        {"role": "assistant", "content": None, "tool_calls": [TOOL_CALL]},
        {"role": "tool", "content": "x", "tool_call_id": "c1"},
    ]
    sent = {"model": "m", "messages": messages, "stream": True}
    reply = httpx.post(f"{endpoint.url}/chat/completions", json=sent, headers={"authorization": "Bearer x"})
    assert reply.status_code == 200
    assert reply.text.endswith("data: [DONE]\n\n")
    assert endpoint.violations == []
