"""What a model may say: arguments nested beyond what can be read are an error for it to read, and history goes on."""

import pytest

from tertulia.api.wire.frames import encode
from tertulia.api.wire.messages import wire_messages
from tertulia.domain.json_values import MAX_DEPTH, NotJson, decoded, is_object
from tertulia.domain.runs import RequestConfig
from tertulia.providers.encoding.turns import arguments_object
from tests.support.nesting import nested_text
from tests.support.scripted import calls, say
from tests.support.world import World

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 330, 5_000])
@pytest.mark.parametrize("tool", ["conversation_search", "send_message"])
async def test_arguments_too_deep_are_an_error_return_and_the_run_goes_on(world: World, depth: int, tool: str) -> None:
    agent = (await world.agent()).agent
    world.model.scripts += [calls(("c1", tool, nested_text(depth))), say("sorry")]
    run = await world.start(agent.id, "find x")
    await world.events(run.id)
    assert (await world.run(run.id)).stop_reason == "end_turn"
    (returned,) = world.model.requests[1].messages[-1].tool_returns
    assert returned.status == "error"
    assert "deep" in str(returned.content) or "no tool" in str(returned.content)
    shown = [wire for message in await world.history(agent.id) for wire in wire_messages(message, RequestConfig())]
    assert encode(shown)


@pytest.mark.parametrize(
    "text",
    [nested_text(5_000), nested_text(330), nested_text(MAX_DEPTH + 1), '{"a": "\\ud800"}', '{"a"', ""],
    ids=["deepest", "deeper", "deep", "half", "cut", "empty"],
)
def test_what_no_provider_would_take_as_arguments_is_sent_inside_of_an_object(text: str) -> None:
    assert isinstance(arguments_object(text), dict)
    with pytest.raises(NotJson):
        decoded(text)


def test_brackets_inside_of_texts_are_no_depth() -> None:
    text = '{"a": "' + '[{\\"' * 500 + '"}'
    assert is_object(text)
    assert decoded(text) == {"a": '[{"' * 500}
