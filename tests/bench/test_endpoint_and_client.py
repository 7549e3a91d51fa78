import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from bench import endpoint, endpoint_replies
from bench.client import Connection, decode_chunks, request_bytes

STREAMED = {"stream": True, "stream_options": {"include_usage": True}}


@asynccontextmanager
async def connected() -> AsyncGenerator[Connection]:
    server = await endpoint.serve()
    try:
        async with Connection(server.sockets[0].getsockname()[1]) as connection:
            yield connection
    finally:
        server.close()


def completion(model: str, **options: Any) -> bytes:
    body = {"messages": [{"role": "user", "content": 'say "model": "other"'}], "model": model, **options}
    return request_bytes("POST", "/v1/chat/completions", body)


def text_of(events: list[str]) -> str:
    chunks = [json.loads(event) for event in events if event != "[DONE]"]
    return "".join(choice["delta"].get("content", "") for chunk in chunks for choice in chunk["choices"])


async def test_a_stream_is_a_role_then_tokens_then_the_finish_then_usage_then_done() -> None:
    async with connected() as connection:
        reply = await connection.send(completion("fake-5tokens", **STREAMED))
    *frames, done = reply.events()
    role, *tokens, finish, usage = (json.loads(frame) for frame in frames)
    assert done == "[DONE]"
    assert role["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert [token["choices"][0]["delta"]["content"] for token in tokens] == list(endpoint_replies.words(5))
    assert finish["choices"][0]["finish_reason"] == "stop"
    assert usage["choices"] == []
    assert usage["usage"]["completion_tokens"] == 5
    assert reply.chunked


async def test_usage_comes_only_when_it_is_asked_for() -> None:
    async with connected() as connection:
        reply = await connection.send(completion("fake", stream=True))
    assert all(json.loads(event)["choices"] for event in reply.events()[:-1])


async def test_a_reply_that_is_not_streamed_is_the_same_text_in_one_object() -> None:
    async with connected() as connection:
        streamed = await connection.send(completion("fake-7tokens", **STREAMED))
        whole = await connection.send(completion("fake-7tokens"))
    body = cast("dict[str, Any]", whole.json())
    assert body["choices"][0]["message"]["content"] == text_of(streamed.events())
    assert not whole.chunked


async def test_one_connection_carries_many_requests_and_each_reply_is_told_apart() -> None:
    async with connected() as connection:
        lengths = [
            len(text_of((await connection.send(completion(f"fake-{n}tokens", **STREAMED))).events()).split())
            for n in (3, 1, 2)
        ]
    assert lengths == [3, 1, 2]


async def test_tokens_with_a_gap_between_them_arrive_one_by_one() -> None:
    async with connected() as connection:
        reply = await connection.send(completion("fake-4tokens-1gap", **STREAMED))
    assert text_of(reply.events()) == "".join(endpoint_replies.words(4))
    assert len(reply.arrivals) > 1
    first, last = reply.seconds_to(b'"role":"assistant"'), reply.seconds_to(b"[DONE]")
    assert first is not None
    assert last is not None
    assert first < last


async def test_a_request_of_megabytes_in_many_reads_is_answered_and_kept_as_it_was_sent() -> None:
    messages = [{"role": "user", "content": f"{number}: {'x' * 200}"} for number in range(10_000)]
    request = request_bytes("POST", "/v1/chat/completions", {"messages": messages, "model": "fake-1tokens"})
    async with connected() as connection:
        answer = await connection.send(request)
        last = await connection.send(request_bytes("GET", "/last"))
    assert answer.status == 200
    assert cast("dict[str, Any]", last.json())["messages"] == messages


async def test_the_listed_models_can_all_be_asked() -> None:
    async with connected() as connection:
        listed = cast("dict[str, Any]", (await connection.send(request_bytes("GET", "/v1/models"))).json())
    names = [model["id"] for model in listed["data"]]
    assert names
    assert all(endpoint_replies.recipe_of(name) for name in names)


@pytest.mark.parametrize("model", ["gpt-4o", "fake-many", "fake-3token", ""])
async def test_a_model_it_does_not_know_is_a_404_with_the_vendors_error_body(model: str) -> None:
    async with connected() as connection:
        reply = await connection.send(completion(model, **STREAMED))
    assert reply.status == 404
    assert "does not exist" in cast("dict[str, Any]", reply.json())["error"]["message"]


async def test_a_status_can_be_asked_for() -> None:
    async with connected() as connection:
        assert (await connection.send(completion("fake-429status", **STREAMED))).status == 429


async def test_a_dropped_stream_closes_the_connection_before_its_end() -> None:
    async with connected() as connection:
        with pytest.raises(ConnectionError):
            _ = await connection.send(completion("fake-drop", **STREAMED))


async def test_garbage_is_a_frame_that_is_no_json() -> None:
    async with connected() as connection:
        reply = await connection.send(completion("fake-garbage", **STREAMED))
    with pytest.raises(json.JSONDecodeError):
        _ = text_of(reply.events())


async def test_a_client_that_leaves_in_the_middle_of_a_reply_does_not_disturb_the_next_one() -> None:
    server = await endpoint.serve()
    port = server.sockets[0].getsockname()[1]
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(completion("fake-2000tokens-1gap", **STREAMED))
        _ = await reader.read(64)
        writer.close()
        async with Connection(port) as connection:
            assert (await connection.send(completion("fake", **STREAMED))).status == 200
    finally:
        server.close()


def test_chunks_that_end_too_early_are_refused() -> None:
    with pytest.raises(ValueError, match="inside a chunk"):
        _ = decode_chunks(b"5\r\nabc")
