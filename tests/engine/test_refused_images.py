"""Images that a provider refuses: they become a note to the model, and the conversation goes on."""

import pytest

from tertulia.domain.errors import ProviderBadRequest, ProviderFailed
from tertulia.domain.events import Failed
from tertulia.domain.messages import Base64Image, ImagePart, TextPart
from tertulia.engine.requests import NewMessage, SendRequest
from tertulia.ports.provider import ModelRequest
from tertulia.ports.queries import StepQuery
from tests.support.scripted import say
from tests.support.world import World

pytestmark = pytest.mark.anyio

NOTE = "[an image is missing here: the model's provider refused it]"
REFUSALS = [
    ProviderBadRequest("The request was refused.", detail="messages.0.content.1.image: Could not process"),
    ProviderBadRequest("The request was refused.", detail="unknown variant `image_url`, expected `text`"),
    ProviderBadRequest("The request was refused.", detail="some-model is not a multimodal model"),
    ProviderBadRequest("The request was refused.", detail="Unable to download the file. Please verify the URL"),
    ProviderBadRequest("The request was refused.", detail="'messages.0.content' : value must be a string"),
    ProviderFailed("box failed.", detail="image input is not supported - you may need to provide the mmproj"),
]


def look(conversation_id: str, data: str) -> SendRequest:
    image = ImagePart(Base64Image("image/png", data))
    message = NewMessage(role="user", content=(TextPart("look"), image))
    return SendRequest(conversation_id=conversation_id, messages=(message,))


async def show(world: World, conversation_id: str, data: str) -> list[object]:
    run = await world.services.runs.start(look(conversation_id, data))
    return list(await world.events(run.id))


def pictures(request: ModelRequest) -> list[str]:
    """What the request shows of each image: its data, or the note."""
    parts = [part for message in request.messages for part in message.content]
    return [
        part.source.data or "" if isinstance(part, ImagePart) and isinstance(part.source, Base64Image) else NOTE
        for part in parts
        if isinstance(part, ImagePart) or (isinstance(part, TextPart) and part.text == NOTE)
    ]


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda error: error.detail[:30])
async def test_the_model_is_asked_again_without_the_image_and_from_then_on(world: World, refusal: Exception) -> None:
    agent = (await world.agent()).agent
    world.model.scripts += [[refusal], say("I cannot see it.")]
    events = await show(world, agent.id, "AAAA")
    assert not [event for event in events if isinstance(event, Failed)]
    await world.send(agent.id, "and now?")
    assert [pictures(request) for request in world.model.requests] == [["AAAA"], [NOTE], [NOTE]]
    stored = (await world.history(agent.id))[0]
    assert isinstance(stored.content[1], ImagePart), "the history keeps it"


async def test_images_that_were_taken_before_stay(world: World) -> None:
    agent = (await world.agent()).agent
    await show(world, agent.id, "AAAA")
    world.model.scripts += [[REFUSALS[0]], say("ok")]
    await show(world, agent.id, "BBBB")
    assert [pictures(request) for request in world.model.requests] == [["AAAA"], ["AAAA", "BBBB"], ["AAAA", NOTE]]


async def test_where_it_was_none_of_the_new_ones_all_are_left_out(world: World) -> None:
    agent = (await world.agent()).agent
    await show(world, agent.id, "AAAA")
    world.model.scripts += [[REFUSALS[0]], [REFUSALS[0]], say("ok")]
    await show(world, agent.id, "BBBB")
    assert [pictures(request) for request in world.model.requests[2:]] == [["AAAA", NOTE], [NOTE, NOTE]]


async def test_a_refusal_that_has_to_do_with_no_image_ends_the_run(world: World) -> None:
    agent = (await world.agent()).agent
    refusal = ProviderBadRequest("refused", detail="temperature must be below 2")
    world.model.scripts += [[refusal], say("ok"), [REFUSALS[0]]]
    assert [event for event in await show(world, agent.id, "AAAA") if isinstance(event, Failed)]
    other = (await world.agent()).agent
    await world.send(other.id, "no image here")
    events = await world.send(other.id, "nor here")
    assert [event for event in events if isinstance(event, Failed)], "there was none to leave out"


async def test_the_trace_shows_the_request_that_was_taken_and_the_step_the_one_that_was_not(world: World) -> None:
    agent = (await world.agent()).agent
    world.model.scripts += [[REFUSALS[0]], say("ok")]
    await show(world, agent.id, "AAAA")
    (step,) = await world.store.read(lambda tx: tx.steps.find(StepQuery(agent_id=agent.id)))
    assert [failed.detail for failed in step.failed_tries] == [REFUSALS[0].detail]
    trace = await world.services.runs.trace(step.id)
    assert trace is not None
    assert NOTE in str(trace.request)
    assert "AAAA" not in str(trace.request)
