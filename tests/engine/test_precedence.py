"""Which of several model names, settings, windows and prompts a message is answered with."""

from typing import Any

import pytest

from tertulia.domain.messages import TextPart
from tertulia.domain.models import ModelSettings
from tertulia.engine.agents import AgentDraft
from tertulia.engine.conversations import ConversationDraft
from tertulia.engine.requests import NewMessage, SendRequest
from tertulia.ports.provider import ModelRequest
from tests.support.world import World

pytestmark = pytest.mark.anyio

HOT, COLD = (ModelSettings(provider_type="openai", temperature=temperature) for temperature in (1.0, 0.0))


async def asked(world: World, agent: AgentDraft, conversation: ConversationDraft, **overrides: Any) -> ModelRequest:
    """The request that a message of such a conversation with such an agent comes to."""
    agent_id = (await world.agent(agent)).agent.id
    opened = await world.services.conversations.create(agent_id, conversation)
    message = NewMessage(role="user", content=(TextPart("hi"),))
    run = await world.services.runs.start(SendRequest(conversation_id=opened.id, messages=(message,), **overrides))
    await world.events(run.id)
    return world.model.requests[-1]


async def test_the_model_is_the_requests_else_the_conversations_else_the_agents(world: World) -> None:
    agent, own = AgentDraft(model="scripted/agent"), ConversationDraft(model="scripted/conversation")
    assert (await asked(world, agent, ConversationDraft())).model == "agent"
    assert (await asked(world, agent, own)).model == "conversation"
    assert (await asked(world, agent, own, override_model="scripted/request")).model == "request"


async def test_the_settings_are_the_conversations_else_the_agents(world: World) -> None:
    agent = AgentDraft(model_settings=HOT)
    assert (await asked(world, agent, ConversationDraft())).settings == HOT
    assert (await asked(world, agent, ConversationDraft(model_settings=COLD))).settings == COLD


async def test_the_window_is_the_conversations_else_the_agents_and_never_more_than_the_models(world: World) -> None:
    agent = AgentDraft(context_window_limit=9000)
    assert (await asked(world, AgentDraft(), ConversationDraft())).context_window == 32_000
    assert (await asked(world, agent, ConversationDraft())).context_window == 9000
    assert (await asked(world, agent, ConversationDraft(context_window_limit=8000))).context_window == 8000
    assert (await asked(world, agent, ConversationDraft(context_window_limit=99_000))).context_window == 32_000


async def test_the_prompt_is_the_requests_else_the_conversations(world: World) -> None:
    agent = AgentDraft(system="You are Ada.")
    assert (await asked(world, agent, ConversationDraft())).system.startswith("You are Ada.")
    assert (await asked(world, agent, ConversationDraft(), override_system="You are Bob.")).system == "You are Bob."
