"""Descriptions: written by a model after the first reply, and only where nobody wrote one."""

import pytest
from msgspec.structs import replace

from tertulia.domain.errors import ProviderRateLimited
from tertulia.engine.descriptions import Describer
from tertulia.ports.provider import TextPiece
from tests.support.scripted import ScriptedCatalogue, say
from tests.support.world import World

pytestmark = pytest.mark.anyio


async def described(world: World, *, before: str | None = None) -> str | None:
    conversation = await world.conversation((await world.agent()).agent.id)
    run = await world.start(conversation, "Which tea?")
    await world.events(run.id)
    if before is not None:
        stored = await world.services.conversations.get(conversation)
        await world.store.write(lambda tx: tx.conversations.update(replace(stored, description=before)))
    catalogue = ScriptedCatalogue()
    catalogue.provider = world.model
    await Describer(world.store, catalogue, "scripted/small").describe(run)
    return (await world.services.conversations.get(conversation)).description


async def test_a_conversation_without_a_description_gets_one(world: World) -> None:
    world.model.scripts += [say("Green tea."), say("A choice\nof tea.")]
    assert await described(world) == "A choice of tea."
    asked = world.model.requests[-1]
    assert asked.model == "small"
    assert "user: Which tea?\n\nassistant: Green tea." in asked.messages[0].text


async def test_a_description_somebody_wrote_stays(world: World) -> None:
    assert await described(world, before="Mine.") == "Mine."
    assert len(world.model.requests) == 1


async def test_a_model_that_fails_leaves_it_empty(world: World) -> None:
    world.model.scripts += [say("Green tea."), [TextPiece("A"), ProviderRateLimited("no")]]
    assert await described(world) is None
