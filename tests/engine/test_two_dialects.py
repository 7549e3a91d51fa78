"""A conversation with thinking and tools over the Messages dialect, over another one, and back."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tertulia.domain.events import Failed, ReasoningDelta, TextDelta
from tertulia.domain.messages import ReasoningPart, RedactedReasoningPart
from tertulia.domain.models import ModelSettings
from tertulia.domain.provider_types import BY_PREFIX
from tertulia.engine.agents import AgentDraft
from tertulia.provider_settings import Endpoint, ProviderSettings
from tertulia.providers.catalogue import build_catalogue
from tertulia.store.sqlite.store import open_sqlite
from tests.support import openai_endpoint as openai
from tests.support.anthropic_endpoint import (
    AnthropicEndpoint,
    Drop,
    MessagesRequest,
    Reply,
    called,
    redacted,
    reply,
    said,
    sign,
    text,
    thought,
)
from tests.support.openai_endpoint import ChatRequest, OpenAIEndpoint
from tests.support.scripted import ScriptedProvider
from tests.support.services import services_over
from tests.support.sqlite_files import with_tables
from tests.support.world import World

pytestmark = pytest.mark.anyio

CLAUDE: dict[str, Any] = {
    "model": "anthropic/claude-sonnet-4-5",
    "model_settings": ModelSettings(
        provider_type="anthropic", thinking={"type": "enabled", "budget_tokens": 2048}, max_output_tokens=8000
    ),
}
GPT: dict[str, Any] = {
    "model": "openai/gpt-4o-mini",
    "model_settings": ModelSettings(provider_type="openai", temperature=0.5),
}


class Claude:
    """Thinks, calls a tool, thinks again and answers. Every third thought is redacted."""

    def __init__(self) -> None:
        self.issued: list[dict[str, str]] = []

    def __call__(self, request: MessagesRequest) -> Reply:
        number = len(request.blocks("tool_use"))
        if request.messages[-1]["content"][0]["type"] == "tool_result":
            answer = self._thought(f"It found nothing, {number}. “So”…")
            return reply(answer, self._thought(f"And then, {number}.", 1), said(2, "Nothing ", "there."))
        if number % 3 == 2:
            self.issued.append({"type": "redacted_thinking", "data": f"EncryptedBlob+{number}/=="})
            hidden = redacted(0, f"EncryptedBlob+{number}/==")
        else:
            hidden = self._thought(f"Let me look, {number}.\n\t\u2028")
        look = called(2, f"toolu_{number}", "conversation_search", {"query": f"tea {number}"})
        return reply(hidden, said(1, "One moment."), look, reason="tool_use")

    def _thought(self, words: str, index: int = 0) -> Reply:
        self.issued.append({"type": "thinking", "thinking": words, "signature": sign(words)})
        return thought(index, words[:5], words[5:])


def gpt(request: ChatRequest) -> openai.Reply:
    """Thinks aloud and answers, after a tool call whose id no other dialect takes."""
    if request.messages[-1]["role"] == "tool":
        return openai.think("I see. ", answer="Nothing.")
    number = sum(len(message.get("tool_calls") or []) for message in request.messages)
    return openai.calls(openai.call("conversation_search", {"query": "tea"}, f"functions.search:{number}"))


@pytest.fixture(scope="module")
def shared_claude() -> Iterator[AnthropicEndpoint]:
    with AnthropicEndpoint() as endpoint:
        yield endpoint


@pytest.fixture
def claude(shared_claude: AnthropicEndpoint) -> AnthropicEndpoint:
    shared_claude.reset()
    return shared_claude


@pytest.fixture
def chat() -> Iterator[OpenAIEndpoint]:
    with OpenAIEndpoint() as endpoint:
        endpoint.answer_with(gpt)
        yield endpoint


@pytest.fixture
async def dialects(tmp_path: Path, claude: AnthropicEndpoint, chat: OpenAIEndpoint) -> AsyncIterator[World]:
    endpoints = (
        Endpoint(name="anthropic", type=BY_PREFIX["anthropic"], base_url=claude.url, api_key="sk-ant"),
        Endpoint(name="openai", type=BY_PREFIX["openai"], base_url=chat.url, api_key="sk"),
    )
    store = await open_sqlite(with_tables(tmp_path / "tertulia.db"))
    catalogue = build_catalogue(ProviderSettings(endpoints=endpoints, retries=0), None)
    services = services_over(store, catalogue)
    yield World(services, ScriptedProvider())
    await services.runs.close()
    await catalogue.close()
    await store.close()


async def talk(world: World, agent_id: str, *, turns: int) -> None:
    for turn in range(turns):
        events = await world.send(agent_id, f"question {turn}")
        assert not [event for event in events if isinstance(event, Failed)]


async def switch(world: World, agent_id: str, to: dict[str, Any]) -> None:
    await world.services.agents.update(agent_id, to)


def thinking(request: MessagesRequest) -> list[dict[str, Any]]:
    """The blocks of thinking of a request, in their order."""
    kinds = {"thinking", "redacted_thinking"}
    return [block for turn in request.messages for block in turn["content"] if block["type"] in kinds]


async def test_thinking_comes_back_unchanged_turn_after_turn_and_across_another_dialect(
    dialects: World, claude: AnthropicEndpoint, chat: OpenAIEndpoint
) -> None:
    mind = Claude()
    claude.answer_with(mind)
    agent = (await dialects.agent(AgentDraft(name="Ada", **CLAUDE))).agent

    await talk(dialects, agent.id, turns=6)
    assert len(claude.requests) == 12
    for number, request in enumerate(claude.requests):
        sent = thinking(request)
        assert sent == mind.issued[: len(sent)]
        assert (len(sent) > 0) == (number > 0)
    assert thinking(claude.requests[-1]) == mind.issued[:-2]

    await switch(dialects, agent.id, GPT)
    await talk(dialects, agent.id, turns=2)
    assert len(chat.requests) == 4
    assert "Sig/" not in str([request.body for request in chat.requests])
    assert "Let me look" not in str([request.body for request in chat.requests])

    before = list(mind.issued)
    await switch(dialects, agent.id, CLAUDE)
    await talk(dialects, agent.id, turns=1)
    assert thinking(claude.requests[12]) == before
    assert "I see." not in str(claude.requests[12].body)
    assert not claude.violations
    assert not chat.violations


async def test_every_block_of_thinking_is_stored_with_its_own_signature_and_shown_once(
    dialects: World, claude: AnthropicEndpoint
) -> None:
    mind = Claude()
    claude.answer_with(mind)
    agent = (await dialects.agent(AgentDraft(name="Ada", **CLAUDE))).agent
    events = await dialects.send(agent.id, "hi")
    parts = [part for message in await dialects.history(agent.id) for part in message.content]
    stored = [
        {"type": "thinking", "thinking": part.reasoning, "signature": part.signature}
        for part in parts
        if isinstance(part, ReasoningPart)
    ]
    assert stored == mind.issued
    shown = [event.text for event in events if isinstance(event, ReasoningDelta)]
    assert "".join(shown) == "".join(block["thinking"] for block in mind.issued)


@pytest.mark.parametrize(
    "cut",
    [
        [*thought(0, "Hm, ", "well.")[:3], Drop()],
        [*thought(0, "Hm."), Drop()],
        [*redacted(0, "blob=="), *said(1, "Once ", "upon")[:-1], Drop()],
        [
            *thought(0, "Hm."),
            *said(1, "Once"),
            *called(2, "toolu_cut", "conversation_search", {"query": "x"})[:2],
            Drop(),
        ],
    ],
    ids=["within a thought", "after a thought", "within the text", "within a call"],
)
async def test_a_reply_that_was_cut_off_leaves_a_history_that_is_taken(
    dialects: World, claude: AnthropicEndpoint, cut: Reply
) -> None:
    claude.script(cut, text("better"))
    agent = (await dialects.agent(AgentDraft(name="Ada", **CLAUDE))).agent
    events = await dialects.send(agent.id, "hi")
    assert any(isinstance(event, Failed) for event in events)
    events = await dialects.send(agent.id, "again")
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == "better"
    assert not claude.violations


async def test_a_redacted_thought_is_kept_of_a_reply_that_was_cut_off(
    dialects: World, claude: AnthropicEndpoint
) -> None:
    claude.script([*redacted(0, "blob=="), *said(1, "Once ", "upon")[:-1], Drop()], text("better"))
    agent = (await dialects.agent(AgentDraft(name="Ada", **CLAUDE))).agent
    await dialects.send(agent.id, "hi")
    cut = (await dialects.history(agent.id))[-1]
    assert (cut.partial, cut.text) == (True, "Once upon")
    assert isinstance(cut.content[0], RedactedReasoningPart)
