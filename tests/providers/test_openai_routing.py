"""OpenAI's two dialects behind one name."""

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import msgspec
import pytest

from tertulia.domain.errors import ProviderBadRequest, ProviderModelNotFound
from tertulia.domain.messages import Message, NativePart, ReasoningPart, TextPart, ToolCallPart
from tertulia.domain.provider_types import BY_PREFIX
from tertulia.ports.provider import Finished, ModelRequest, TextPiece
from tertulia.providers.endpoint import EndpointConfig
from tertulia.providers.openai.adapter import OpenAIProvider
from tertulia.providers.openai.responses_models import speaks_responses
from tests.support import openai_requests, responses_requests
from tests.support.histories import answer, message
from tests.support.openai_endpoint import OpenAIEndpoint
from tests.support.raw_http import DONE, RawServer, Step, chunked, delta, response
from tests.support.responses_endpoint import Events, reasoning_item, text
from tests.support.responses_requests import Issued

RESPONSES = chunked(*(data for act in text("Hi") for data in Events({}, Issued()).encode(act)))
CHAT = chunked(delta(content="Hi"), delta("stop"), DONE)
NO_SUCH_PATH = response(404, b'{"detail": "Not Found"}')


def make(base_url: str, **fields: Any) -> OpenAIProvider:
    fields = {"api_key": "sk", "retries": 0, **fields}
    return OpenAIProvider(EndpointConfig(name="openai", type=BY_PREFIX["openai"], base_url=base_url, **fields))


@pytest.fixture
async def provider(server: RawServer) -> AsyncGenerator[OpenAIProvider, None]:
    provider = make(server.url)
    yield provider
    await provider.close()


async def say(provider: OpenAIProvider, model: str, *messages: Message) -> None:
    request = ModelRequest(model=model, system="Be terse.", messages=messages)
    async with aclosing(provider.stream(request)) as stream:
        pieces = [event async for event in stream]
    assert pieces[0] == TextPiece("Hi")
    assert isinstance(pieces[-1], Finished)


@pytest.mark.parametrize(
    ("model", "reasons"),
    [
        *((name, True) for name in ("o1", "o1-pro", "o3", "o3-mini", "o4-mini-2025-04-16", "gpt-5", "gpt-5-mini")),
        *(
            (name, True)
            for name in ("gpt-5.2-codex", "gpt-5.4-pro", "gpt-6-astra", "codex-mini-latest", "ft:o4-mini:x")
        ),
        *((name, False) for name in ("gpt-4o", "gpt-4.1-mini", "chatgpt-4o-latest", "ft:gpt-4o:x", "o1-mini")),
        *((name, False) for name in ("gpt-5-chat-latest", "gpt-5.1-chat-latest", "gpt-5-search-api", "o1-preview")),
        *((name, False) for name in ("openai/gpt-5", "gpt-oss-120b", "my-gpt-5", "llama3", "codexian")),
    ],
)
def test_models_that_reason_are_known_by_their_exact_names(model: str, reasons: bool) -> None:
    assert speaks_responses(model) is reasons


async def test_each_model_is_asked_in_its_dialect(server: RawServer, provider: OpenAIProvider) -> None:
    server.script(RESPONSES, CHAT, RESPONSES)
    for model in ("gpt-5", "gpt-4o", "o3"):
        await say(provider, model)
    assert [seen.path for seen in server.requests] == ["/v1/responses", "/v1/chat/completions", "/v1/responses"]


@pytest.mark.parametrize(
    "refusal",
    [NO_SUCH_PATH, response(405, b""), response(404, b"<html>nginx</html>", content_type="text/html")],
    ids=["404", "405", "a page"],
)
async def test_a_server_without_responses_is_asked_over_chat_completions_from_then_on(
    server: RawServer, provider: OpenAIProvider, refusal: list[Step]
) -> None:
    server.script(refusal, CHAT)
    await say(provider, "gpt-5")
    await say(provider, "o3-mini")
    paths = [seen.path for seen in server.requests]
    assert paths == ["/v1/responses", "/v1/chat/completions", "/v1/chat/completions"]
    assert "messages" in msgspec.json.decode(provider.encode(ModelRequest(model="o3", system="", messages=())))


async def test_a_model_that_is_not_there_is_no_missing_service(server: RawServer, provider: OpenAIProvider) -> None:
    refusal = b'{"error": {"message": "The model `gpt-5` does not exist", "code": "model_not_found"}}'
    server.script(response(404, refusal))
    with pytest.raises(ProviderModelNotFound):
        await say(provider, "gpt-5")
    assert len(server.requests) == 1


async def test_a_server_with_neither_is_told(server: RawServer, provider: OpenAIProvider) -> None:
    server.script(NO_SUCH_PATH)
    with pytest.raises(ProviderBadRequest, match="check the base URL"):
        await say(provider, "gpt-5")


async def test_the_strict_chat_endpoint_serves_models_that_reason_as_it_always_did() -> None:
    with OpenAIEndpoint() as endpoint:
        provider = make(endpoint.url)
        async with aclosing(provider.stream(ModelRequest(model="gpt-5-mini", system="Hi", messages=()))) as stream:
            events = [event async for event in stream]
        assert events[0] == TextPiece("ok")
        await provider.close()
        assert endpoint.violations == []


HISTORY = (
    message("user", "Look twice"),
    msgspec.structs.replace(
        message(
            "assistant",
            ReasoningPart("Hm."),
            NativePart("openai", reasoning_item("rs_1", "Hm.")),
            TextPart("Looking."),
            ToolCallPart("call_" + "x" * 50, "look", "{}"),
        ),
        model="openai/gpt-5",
    ),
    answer("call_" + "x" * 50),
    msgspec.structs.replace(message("assistant", "There."), model="openai/gpt-4o"),
    message("user", "Thanks"),
)


def test_a_conversation_may_change_between_the_dialects() -> None:
    provider = make("https://api.openai.com/v1")
    bodies = [
        msgspec.json.decode(provider.encode(ModelRequest(model=model, system="Be terse.", messages=HISTORY)))
        for model in ("gpt-5", "gpt-4o", "gpt-5")
    ]
    item = reasoning_item("rs_1", "Hm.")
    issued = Issued({"rs_1": json.dumps(item)}, {"rs_1": ("message", "Looking.")})
    headers = {"authorization": "Bearer sk"}
    assert openai_requests.find_violations("/v1/chat/completions", headers, bodies[1]) == []
    assert "rs_1" not in str(bodies[1])
    for body in (bodies[0], bodies[2]):
        assert responses_requests.find_violations(headers, body, issued) == []
        assert item in body["input"]


def test_models_that_reason_give_no_log_probabilities() -> None:
    provider = make("https://api.openai.com/v1")
    assert [provider.card(model).gives_logprobs for model in ("gpt-5", "gpt-4o")] == [False, True]
