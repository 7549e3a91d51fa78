"""Approvals: calls that wait for a person or for the client, and every way of answering them."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from tertulia.context.pairing import is_paired
from tertulia.domain.blocks import new_block
from tertulia.domain.errors import ApprovalPending, Conflict, NothingPending
from tertulia.domain.events import Event, MessageAdded, Stopped, ToolCallDelta
from tertulia.domain.messages import ApprovalPart, TextPart, ToolReturnPart
from tertulia.domain.runs import Run
from tertulia.domain.tools import ToolSpec
from tertulia.engine.agents import AgentDraft
from tertulia.engine.lifecycle.settings import RunSettings
from tertulia.engine.requests import NewAnswer, NewMessage, SendRequest
from tertulia.ports.store import Transaction
from tests.support.scripted import calls, say
from tests.support.world import World

pytestmark = pytest.mark.anyio

BASH = ToolSpec(id="", name="Bash", description="Run a command.", parameters={"type": "object"}, tool_type="custom")
APPROVAL = {"type": "requires_approval", "tool_name": "memory_insert"}
INSERT = ("m1", "memory_insert", '{"label": "human", "new_string": "likes tea"}')


class Talk:
    """One conversation with a client that runs Bash itself; memory_insert needs approval."""

    def __init__(self, world: World, conversation_id: str) -> None:
        self.world = world
        self.id = conversation_id

    async def start(self, **fields: Any) -> Run:
        return await self.world.services.runs.start(
            SendRequest(conversation_id=self.id, client_tools=(BASH,), **fields)
        )

    async def events(self, **fields: Any) -> list[Event]:
        return await self.world.events((await self.start(**fields)).id)

    async def say(self, text: str, otid: str | None = None) -> list[Event]:
        return await self.events(messages=(NewMessage(role="user", content=(TextPart(text),), otid=otid),))

    async def answer(self, *answers: NewAnswer) -> list[Event]:
        return await self.events(answers=answers)

    async def roles(self) -> list[str]:
        return [message.role for message in await self.world.history(self.id)]


def ran(id_: str, output: str) -> NewAnswer:
    return NewAnswer(returns=(ToolReturnPart(tool_call_id=id_, name="", content=output),))


def decided(id_: str, *, approve: bool, reason: str | None = None) -> NewAnswer:
    return NewAnswer(decisions=(ApprovalPart(id_, approve, reason),))


@pytest.fixture
async def talk(world: World) -> Talk:
    draft = AgentDraft(memory_blocks=(new_block(label="human", value="Ann"),), tool_rules=(APPROVAL,))
    return Talk(world, (await world.agent(draft)).agent.id)


async def test_a_call_of_a_client_tool_ends_the_run_and_its_return_goes_on(talk: Talk) -> None:
    talk.world.model.scripts += [calls(("b1", "Bash", '{"command": "ls"}')), say("two files")]
    events = await talk.say("list")
    assert Stopped("requires_approval") in events
    assert {event.awaits for event in events if isinstance(event, ToolCallDelta)} == {"client"}
    events = await talk.answer(ran("b1", "a b"))
    assert Stopped("end_turn") in events
    assert await talk.roles() == ["user", "assistant", "approval", "tool", "assistant"]
    sent = talk.world.model.requests[1].messages
    assert [m.role for m in sent if m.role != "approval"] == ["user", "assistant", "tool"]
    assert is_paired(sent)


async def test_an_approved_call_is_run_and_a_denied_one_is_not(talk: Talk) -> None:
    for approve in (True, False):
        call = (f"m-{approve}", *INSERT[1:])
        talk.world.model.scripts += [calls(call), say("fine")]
        await talk.say("I like tea")
        events = await talk.answer(decided(call[0], approve=approve, reason="no thanks"))
        (returned,) = [event.message.tool_returns[0] for event in events if isinstance(event, MessageAdded)]
        assert returned.status == ("success" if approve else "error")
        assert ("no thanks" in str(returned.content)) is not approve
        assert (await talk.world.services.agents.get(talk.id)).blocks[0].value == "Ann\nlikes tea"


async def test_one_decision_may_answer_the_whole_request(talk: Talk) -> None:
    talk.world.model.scripts += [calls(INSERT, ("m2", *INSERT[1:])), say("fine")]
    await talk.say("go")
    request_id = (await talk.world.history(talk.id))[-1].id
    with pytest.raises(NothingPending, match="Invalid tool call IDs: the request 'message-other' made none"):
        await talk.answer(NewAnswer(decision=(True, None), request_id="message-other"))
    events = await talk.answer(NewAnswer(decision=(True, None), request_id=request_id))
    assert Stopped("end_turn") in events
    assert (await talk.world.services.agents.get(talk.id)).blocks[0].value == "Ann\nlikes tea\nlikes tea"


async def test_calls_that_need_nobody_run_at_once_beside_those_that_wait(talk: Talk) -> None:
    search = ("s1", "conversation_search", '{"query": "tea"}')
    talk.world.model.scripts += [calls(search, INSERT, ("b1", "Bash", "{}")), say("done")]
    await talk.say("go")
    assert await talk.roles() == ["user", "assistant", "tool"]
    await talk.answer(ran("b1", "x"), decided("m1", approve=True))
    history = await talk.world.history(talk.id)
    assert is_paired(history)
    assert history[-1].text == "done"


async def test_answers_may_come_in_parts_and_out_of_order(talk: Talk) -> None:
    talk.world.model.scripts += [calls(INSERT, ("b1", "Bash", "{}"), ("b2", "Bash", "{}")), say("done")]
    await talk.say("go")
    assert Stopped("requires_approval") in await talk.answer(ran("b2", "second"))
    assert Stopped("requires_approval") in await talk.answer(decided("m1", approve=True))
    assert len(talk.world.model.requests) == 1
    assert Stopped("end_turn") in await talk.answer(ran("b1", "first"))
    assert is_paired(await talk.world.history(talk.id))


async def test_a_message_meanwhile_is_refused(talk: Talk) -> None:
    talk.world.model.scripts.append(calls(INSERT))
    await talk.say("go")
    with pytest.raises(ApprovalPending, match="waiting for approval"):
        await talk.say("hello?")
    assert await talk.roles() == ["user", "assistant"]


async def test_a_message_may_come_with_the_last_answer(talk: Talk) -> None:
    talk.world.model.scripts += [calls(INSERT), say("done")]
    await talk.say("go")
    message = NewMessage(role="user", content=(TextPart("and hurry"),))
    await talk.events(answers=(decided("m1", approve=False),), messages=(message,))
    assert await talk.roles() == ["user", "assistant", "approval", "tool", "user", "assistant"]


async def test_the_same_answer_twice_is_one_answer(talk: Talk) -> None:
    talk.world.model.scripts += [calls(("b1", "Bash", "{}")), say("done")]
    await talk.say("go")
    first = await talk.start(answers=(ran("b1", "x"),))
    events = await talk.world.events(first.id)
    again = await talk.start(answers=(ran("b1", "x"),))
    assert again.id == first.id
    assert await talk.world.events(again.id) == events
    assert len(talk.world.model.requests) == 2


async def test_an_answer_to_nothing_says_what_waits(talk: Talk) -> None:
    with pytest.raises(NothingPending, match="No tool call is currently awaiting approval"):
        await talk.answer(ran("b1", "x"))
    talk.world.model.scripts.append(calls(("b1", "Bash", "{}")))
    await talk.say("go")
    with pytest.raises(NothingPending, match="Invalid tool call IDs") as refused:
        await talk.answer(ran("b9", "x"))
    assert "b1" in refused.value.message
    await talk.answer(ran("b1", "x"))
    with pytest.raises(NothingPending):
        await talk.answer(ran("b1", "something else"))


async def test_a_request_that_nobody_answers_expires_into_a_denial(talk: Talk) -> None:
    talk.world.model.scripts += [calls(INSERT), say("moving on")]
    await talk.say("go")
    asked = (await talk.world.history(talk.id))[-1]

    def age(tx: Transaction) -> None:
        conversation = tx.conversations.get(talk.id)
        tx.messages.append(talk.id, [replace(asked, id="message-old", created_at=asked.created_at - timedelta(days=8))])
        tx.conversations.set_context(talk.id, conversation.head)

    await talk.world.store.write(age)
    await talk.say("hello?")
    history = await talk.world.history(talk.id)
    assert [m.role for m in history][-3:] == ["tool", "user", "assistant"]
    assert "No answer came" in history[-3].text
    assert (await talk.world.services.agents.get(talk.id)).blocks[0].value == "Ann"


async def test_pending_calls_survive_a_restart(talk: Talk) -> None:
    talk.world.model.scripts += [calls(INSERT), say("done")]
    await talk.say("go")
    talk.world.services.runs._histories.forget(talk.id)  # as a new process begins
    assert Stopped("end_turn") in await talk.answer(decided("m1", approve=True))


async def test_the_same_request_at_the_same_instant_is_one_run(talk: Talk) -> None:
    message = NewMessage(role="user", content=(TextPart("hi"),), otid="otid-1")
    runs = await asyncio.gather(*(talk.start(messages=(message,)) for _ in range(20)))
    assert len({run.id for run in runs}) == 1
    events = await asyncio.gather(*(talk.world.events(run.id) for run in runs))
    assert all(each == events[0] for each in events)
    assert len(talk.world.model.requests) == 1
    assert (await talk.start(messages=(message,))).id == runs[0].id


async def test_a_request_half_of_which_was_sent_before_is_a_conflict(talk: Talk) -> None:
    await talk.say("one", otid="otid-1")
    await talk.say("two", otid="otid-2")
    old, other, new = (
        NewMessage(role="user", content=(TextPart("x"),), otid=otid) for otid in ("otid-1", "otid-2", "otid-3")
    )
    for mixture in ((old, new), (old, other)):
        with pytest.raises(Conflict, match="sent before"):
            await talk.start(messages=mixture)


@pytest.mark.parametrize("run_settings", [RunSettings(approval_deadline=timedelta(0))])
async def test_calls_that_nobody_answered_in_time_block_no_further_message(talk: Talk) -> None:
    talk.world.model.scripts += [calls(("b1", "Bash", "{}")), say("on we go")]
    await talk.say("list")
    assert Stopped("end_turn") in await talk.say("never mind")
    assert await talk.roles() == ["user", "assistant", "tool", "user", "assistant"]
    (returned,) = [message for message in await talk.world.history(talk.id) if message.role == "tool"]
    assert "No answer came" in returned.text
