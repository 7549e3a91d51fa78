"""A reply that its limit cuts off inside a tool call: the model is told, and nobody runs it."""

import json
from dataclasses import replace

import pytest

from tertulia.context.pairing import is_paired
from tertulia.domain.blocks import new_block
from tertulia.domain.events import Event, MessageAdded, Stopped, ToolCallDelta
from tertulia.engine.agents import AgentDraft
from tertulia.engine.joiner import Joiner
from tertulia.engine.turn.cut_calls import CUT_OFF, NOT_AN_OBJECT
from tertulia.ports.provider import Finished
from tests.engine.test_approvals import APPROVAL, INSERT, Talk, ran
from tests.support.scripted import Act, calls, say
from tests.support.world import World

pytestmark = pytest.mark.anyio


def cut(*called: tuple[str, str, str]) -> list[Act]:
    return [replace(act, reason="length") if isinstance(act, Finished) else act for act in calls(*called)]


def returns(events: list[Event]) -> list[object]:
    messages = [event.message for event in events if isinstance(event, MessageAdded)]
    return [part.content for message in messages for part in message.tool_returns]


@pytest.fixture
async def talk(world: World) -> Talk:
    draft = AgentDraft(memory_blocks=(new_block(label="human", value="Ann"),), tool_rules=(APPROVAL,))
    return Talk(world, (await world.agent(draft)).agent.id)


@pytest.mark.parametrize(
    "call",
    [("b1", "Bash", '{"command": "ls'), ("m1", "memory_insert", '{"label": "hu'), ("f1", "conversation_search", "")],
    ids=["of the client's", "that needs approval", "of the server's"],
)
async def test_the_model_is_told_and_goes_on(talk: Talk, call: tuple[str, str, str]) -> None:
    talk.world.model.scripts += [cut(call), say("Shorter, then.")]
    events = await talk.say("hi")
    assert returns(events) == [CUT_OFF]
    assert Stopped("end_turn") in events
    history = await talk.world.history(talk.id)
    assert is_paired(history)
    assert [part.awaits for message in history for part in message.tool_calls] == [None]
    assert await talk.say("and on") != []


async def test_calls_before_the_one_that_was_cut_off_are_run_and_asked_about(talk: Talk) -> None:
    talk.world.model.scripts += [cut(INSERT, ("b1", "Bash", '{"command')), say("Done.")]
    events = await talk.say("hi")
    assert Stopped("requires_approval") in events
    assert returns(events) == [CUT_OFF]


async def test_a_call_that_is_whole_is_a_call_however_the_reply_ended(talk: Talk) -> None:
    talk.world.model.scripts += [cut(("b1", "Bash", '{"command": "ls"}'))]
    events = await talk.say("hi")
    assert Stopped("requires_approval") in events
    assert returns(events) == []


async def test_a_model_that_never_gets_to_the_end_of_a_call_ends_the_run(talk: Talk) -> None:
    talk.world.model.scripts += [cut((f"b{number}", "Bash", '{"command')) for number in range(9)]
    events = await talk.say("hi")
    assert Stopped("max_tokens_exceeded") in events
    assert returns(events) == [CUT_OFF] * 3
    assert is_paired(await talk.world.history(talk.id))


async def test_readers_of_whole_messages_are_not_offered_the_call(talk: Talk) -> None:
    talk.world.model.scripts += [cut((*INSERT[:2], '{"la')), say("Shorter.")]
    joined = Joiner().push(list(enumerate(await talk.say("hi"), 1)))
    assert [event.awaits for _, event in joined if isinstance(event, ToolCallDelta)] == [None]


@pytest.mark.parametrize("arguments", ['{"command": "ls', "[1]", '"ls"', "null", "ls"])
@pytest.mark.parametrize("tool", ["Bash", "memory_insert"])
async def test_nobody_is_asked_about_a_call_whose_arguments_are_no_object(
    talk: Talk, tool: str, arguments: str
) -> None:
    talk.world.model.scripts += [calls(("b1", tool, arguments)), say("So.")]
    events = await talk.say("hi")
    assert returns(events) == [NOT_AN_OBJECT]
    assert Stopped("end_turn") in events
    assert is_paired(await talk.world.history(talk.id))


async def test_of_several_calls_the_client_gets_those_that_it_can_run(talk: Talk) -> None:
    good = ("b2", "Bash", '{"command": "ls"}')
    talk.world.model.scripts += [calls(("b1", "Bash", "{"), good, ("b3", "Bash", "")), say("Done.")]
    events = await talk.say("hi")
    assert Stopped("requires_approval") in events
    joined = [event for _, event in Joiner().push(list(enumerate(events, 1))) if isinstance(event, ToolCallDelta)]
    assert [event.tool_call_id for event in joined if event.awaits] == ["b2", "b3"]
    assert returns(events) == [NOT_AN_OBJECT]
    assert Stopped("end_turn") in await talk.answer(ran("b2", "a file"), ran("b3", "nothing"))
    assert is_paired(await talk.world.history(talk.id))


@pytest.mark.parametrize("blank", ["", " \n"])
async def test_a_call_without_arguments_has_an_empty_object_for_who_runs_it(talk: Talk, blank: str) -> None:
    talk.world.model.scripts += [calls(("b1", "Bash", blank), ("b2", "Bash", "{}")), say("Done.")]
    events = await talk.say("hi")
    joined = [event for _, event in Joiner().push(list(enumerate(events, 1))) if isinstance(event, ToolCallDelta)]
    assert [json.loads(event.arguments) for event in joined] == [{}, {}]
    (reply,) = [message for message in await talk.world.history(talk.id) if message.role == "assistant"]
    assert [json.loads(call.arguments) for call in reply.tool_calls] == [{}, {}]
    assert Stopped("end_turn") in await talk.answer(ran("b1", "a file"), ran("b2", "nothing"))
