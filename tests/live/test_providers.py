"""The contract of provider adapters against the providers themselves. It costs a few cents, and needs keys.

TERTULIA_LIVE_MODELS names the models (handles with commas between them); without it, a small one of each provider
whose key is in the environment.
"""

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from msgspec import structs

from tertulia.domain.errors import ProviderAuthenticationError, ProviderBadRequest, ProviderError
from tertulia.domain.ids import new_message_id
from tertulia.domain.messages import Message, Part, Role, TextPart, ToolCallPart, ToolReturnPart
from tertulia.domain.models import split_handle
from tertulia.domain.tools import ToolSpec
from tertulia.engine.turn.reply import Reply
from tertulia.ports.provider import Finished, ModelRequest, Provider, ProviderEvent, Retrying, TextPiece
from tertulia.providers.catalogue import build_catalogue
from tertulia.settings import Settings
from tests.conftest import REMEMBERED

pytestmark = pytest.mark.anyio

SMALL = {
    "anthropic": "anthropic/claude-haiku-4-5",
    "bedrock": "bedrock/us.anthropic.claude-haiku-4-5-20251001-v1:0",
    "deepseek": "deepseek/deepseek-chat",
    "google_ai": "google_ai/gemini-2.5-flash",
    "google_vertex": "google_vertex/gemini-2.5-flash",
    "groq": "groq/openai/gpt-oss-20b",
    "mistral": "mistral/mistral-small-latest",
    "openai": "openai/gpt-5-mini",
    "openrouter": "openrouter/openai/gpt-5-mini",
    "xai": "xai/grok-4-fast",
    "zai": "zai/glm-4.6",
}
WEATHER = ToolSpec(
    id="tool-1",
    tool_type="custom",
    name="weather",
    description="The weather in a city, now.",
    parameters={"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)


def handles() -> list[str]:
    """Those asked for, else every small one: which of these are configured each test finds out."""
    asked = REMEMBERED.get("TERTULIA_LIVE_MODELS", "")
    return [handle.strip() for handle in asked.split(",") if handle.strip()] or list(SMALL.values())


@pytest.fixture(params=handles())
async def found(request: pytest.FixtureRequest, outside: None) -> AsyncIterator[tuple[Provider, str]]:
    """The provider of a handle and the model's name, from the environment."""
    handle: str = request.param
    prefix, model = split_handle(handle) or pytest.fail(f"{handle} is no handle")
    os.environ.setdefault("TERTULIA_DATA_DIR", ".")
    settings = Settings()
    if prefix not in {endpoint.name for endpoint in settings.providers.endpoints}:
        pytest.skip(f"{prefix} is not configured")
    catalogue = build_catalogue(settings.providers, handle)
    yield catalogue.resolve(handle)[0], model
    await catalogue.close()


def said(role: Role, *parts: Part | str) -> Message:
    content = tuple(TextPart(part) if isinstance(part, str) else part for part in parts)
    return Message(
        id=new_message_id(),
        agent_id="agent-1",
        conversation_id="conv-1",
        role=role,
        content=content,
        created_at=datetime.now(UTC),
    )


def asking(model: str, *messages: Message, tools: Sequence[ToolSpec] = ()) -> ModelRequest:
    return ModelRequest(model=model, system="You are terse.", messages=messages, tools=tuple(tools), cache_key="live")


async def replied(provider: Provider, request: ModelRequest) -> tuple[Message, Finished, list[ProviderEvent]]:
    """The reply as the next request has it, its end, and all events."""
    reply = Reply("step-1", provider.provider_type, datetime.now(UTC), frozenset[str](), lambda _name: None)
    events: list[ProviderEvent] = []
    async with aclosing(provider.stream(request)) as stream:
        async for event in stream:
            events.append(event)
            if not isinstance(event, Retrying):
                reply.push(event)
    finished = reply.finished
    assert finished is not None
    assert finished is events[-1]
    handle = f"{provider.name}/{request.model}"
    return structs.replace(said("assistant", *reply.content()), model=handle), finished, events


async def test_text_is_streamed_and_its_tokens_are_counted(found: tuple[Provider, str]) -> None:
    provider, model = found
    message, finished, events = await replied(provider, asking(model, said("user", "Count from 1 to 30, in words.")))
    assert "thirty" in message.text.lower()
    assert sum(isinstance(event, TextPiece) for event in events) > 1
    assert finished.reason == "stop"
    assert finished.usage is not None
    assert finished.usage.prompt_tokens > 0
    assert finished.usage.completion_tokens > 0


async def test_calls_and_their_returns_go_back_and_forth(found: tuple[Provider, str]) -> None:
    provider, model = found
    asked = said("user", "Is it warmer in Lima or in Oslo now? Ask the tool for both cities at once.")
    message, finished, _ = await replied(provider, asking(model, asked, tools=[WEATHER]))
    calls = message.tool_calls
    assert finished.reason == "tool_calls"
    assert {call.name for call in calls} == {"weather"}
    returns = [said("tool", ToolReturnPart(call.id, call.name, _weather(call))) for call in calls]
    answer, finished, _ = await replied(provider, asking(model, asked, message, *returns, tools=[WEATHER]))
    assert finished.reason in {"stop", "tool_calls"}
    again = said("user", "Thanks. Answer with one word: which city?")
    history = [asked, message, *returns, *([] if answer.tool_calls else [answer, again])]
    await replied(provider, asking(model, *history, tools=[WEATHER]))


def _weather(call: ToolCallPart) -> str:
    return "24 °C" if "Lima" in call.arguments else "-3 °C"


async def test_a_reply_may_be_left_at_any_time(found: tuple[Provider, str]) -> None:
    provider, model = found
    async with aclosing(provider.stream(asking(model, said("user", "Count from 1 to 300.")))) as events:
        await anext(events)
    await replied(provider, asking(model, said("user", "Say hi.")))


async def test_a_model_that_there_is_not_is_a_typed_error(found: tuple[Provider, str]) -> None:
    provider, _ = found
    with pytest.raises((ProviderBadRequest, ProviderAuthenticationError)) as caught:
        await replied(provider, asking("no-such-model-9", said("user", "hi")))
    assert caught.value.detail


async def test_a_wrong_key_is_a_typed_error(found: tuple[Provider, str], monkeypatch: pytest.MonkeyPatch) -> None:
    provider, model = found
    endpoint = next(one for one in Settings().providers.endpoints if one.name == provider.name)
    if endpoint.api_key is None:
        pytest.skip(f"{provider.name} takes no key")
    wrong = replace(Settings().providers, endpoints=(replace(endpoint, api_key="sk-wrong-0000000000000000"),))
    catalogue = build_catalogue(wrong, None)
    stranger, _ = catalogue.resolve(f"{provider.name}/{model}")
    with pytest.raises(ProviderError) as caught:
        await replied(stranger, asking(model, said("user", "hi")))
    assert isinstance(caught.value, ProviderAuthenticationError | ProviderBadRequest)
    await catalogue.close()


async def test_the_models_on_offer_are_listed(found: tuple[Provider, str]) -> None:
    provider, _ = found
    cards = await provider.models()
    assert cards
    assert all(card.handle == f"{provider.name}/{card.name}" and card.context_window > 0 for card in cards)
