"""Runs: the loop, and that no ending of one leaves a conversation stuck or a history broken."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

import pytest

from tertulia.context.pairing import is_paired
from tertulia.domain.errors import ConversationBusy, NotFound, ProviderRateLimited, StoreUnavailable, StreamInterrupted
from tertulia.domain.events import Ended, Failed, MessageAdded, RunStarted, Stopped, TextDelta, UsageReported
from tertulia.domain.messages import TextPart
from tertulia.engine.agents import AgentDraft
from tertulia.ports.provider import Finished, ReasoningPiece, TextPiece, ToolCallPiece
from tertulia.ports.queries import StepQuery
from tertulia.ports.store import Transaction
from tests.support.scripted import Gate, calls, say
from tests.support.services import services_over
from tests.support.world import World

pytestmark = pytest.mark.anyio

T = TypeVar("T")


async def test_a_reply_is_told_in_pieces_and_stored_as_one_message(world: World) -> None:
    agent = (await world.agent()).agent
    world.model.scripts.append(say("hello Ann"))
    events = await world.send(agent.id, "hi")
    assert isinstance(events[0], RunStarted)
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == "hello Ann"
    assert [type(event) for event in events[-3:]] == [Stopped, UsageReported, Ended]
    assert await world.told(agent.id) == [("user", "hi"), ("assistant", "hello Ann")]


async def test_a_run_and_its_steps_are_recorded_with_tokens_and_times(world: World) -> None:
    agent = (await world.agent()).agent
    world.model.scripts += [calls(("c1", "conversation_search", '{"query": "x"}')), say("none")]
    run = await world.start(agent.id, "find x")
    await world.events(run.id)
    ended = await world.run(run.id)
    assert (ended.status, ended.stop_reason) == ("completed", "end_turn")
    assert ended.completed_at is not None
    assert ended.total_duration_ns
    assert ended.ttft_ns
    steps = await world.store.read(lambda tx: tx.steps.find(StepQuery(run_id=run.id)))
    assert [step.status for step in steps] == ["success", "success"]
    assert {step.usage.total_tokens for step in steps} == {12}
    assert [step.tool_execution_ns is not None for step in steps] == [False, True]  # newest first


async def test_a_trace_shows_the_request_of_its_step_and_no_later_one(world: World) -> None:
    agent = (await world.agent()).agent
    await world.send(agent.id, "one")
    await world.send(agent.id, "two")
    steps = await world.store.read(lambda tx: tx.steps.find(StepQuery(agent_id=agent.id)))
    for step, sent in zip(reversed(steps), world.model.requests, strict=True):
        trace = await world.services.runs.trace(step.id)
        assert trace is not None
        assert trace.request["system"] == sent.system
        assert [message["id"] for message in trace.request["messages"]] == [message.id for message in sent.messages]


async def test_tools_run_until_a_reply_calls_none(world: World) -> None:
    agent = (await world.agent()).agent
    world.model.scripts += [
        calls(("c1", "memory_insert", '{"label": "human", "new_string": "likes tea"}')),
        say("noted"),
    ]
    events = await world.send(agent.id, "I like tea")
    returned = [event.message for event in events if isinstance(event, MessageAdded)]
    assert returned[0].tool_returns[0].status == "success"
    assert "likes tea" in (await world.services.agents.get(agent.id)).blocks[0].value
    assert [role for role, _ in await world.told(agent.id)] == ["user", "assistant", "tool", "assistant"]
    assert [message.role for message in world.model.requests[1].messages] == ["user", "assistant", "tool"]


async def test_memory_is_recompiled_at_the_next_message_and_only_then(world: World) -> None:
    agent = (await world.agent()).agent
    world.model.scripts += [
        calls(("c1", "memory_insert", '{"label": "human", "new_string": "likes tea"}')),
        say("noted"),
    ]
    await world.send(agent.id, "I like tea")
    await world.send(agent.id, "what do I like?")
    await world.send(agent.id, "again?")
    first, second, third, fourth = (request.system for request in world.model.requests)
    assert first == second
    assert "likes tea" not in second
    assert "likes tea" in third
    assert third == fourth


async def test_a_call_the_model_got_wrong_comes_back_as_an_error_it_can_read(world: World) -> None:
    agent = (await world.agent()).agent
    world.model.scripts += [
        calls(
            ("c1", "memory_insert", '{"label": "human"'),
            ("c2", "memory_insert", '{"label": 3}'),
            ("c3", "no_such_tool", "{}"),
            ("c4", "memory_replace", '{"label": "human", "old_string": "Zoe", "new_string": "Ann"}'),
        ),
        say("sorry"),
    ]
    await world.send(agent.id, "go")
    returns = {part.tool_call_id: part for message in await world.history(agent.id) for part in message.tool_returns}
    assert [returns[id_].status for id_ in ("c1", "c2", "c3", "c4")] == ["error"] * 4
    assert "not valid JSON" in str(returns["c1"].content)
    assert "no_such_tool" in str(returns["c3"].content)


async def test_parallel_tools_run_side_by_side(world: World) -> None:
    agent = (await world.agent()).agent
    both = [(f"c{n}", "conversation_search", '{"query": "tea"}') for n in range(3)]
    world.model.scripts += [calls(*both), say("done")]
    await world.send(agent.id, "search")
    history = await world.history(agent.id)
    assert [message.role for message in history] == ["user", "assistant", "tool", "tool", "tool", "assistant"]
    assert is_paired(history)


async def test_a_run_stops_at_its_step_limit_with_every_call_answered(world: World) -> None:
    agent = (await world.agent()).agent
    world.model.scripts += [calls((f"c{n}", "conversation_search", '{"query": "x"}')) for n in range(5)]
    events = await world.send(agent.id, "loop", max_steps=2)
    assert Stopped("max_steps") in events
    assert is_paired(await world.history(agent.id))
    assert len(world.model.requests) == 2


async def test_calls_numbered_anew_in_every_reply_get_ids_of_their_own(world: World) -> None:
    agent = (await world.agent()).agent
    again = calls(("call_0", "conversation_search", '{"query": "x"}'))
    world.model.scripts += [again, again, say("done")]
    await world.send(agent.id, "go")
    ids = [call.id for message in await world.history(agent.id) for call in message.tool_calls]
    assert len(set(ids)) == 2
    assert ids[0] == "call_0"
    assert is_paired(await world.history(agent.id))


async def test_a_second_message_is_refused_while_one_is_answered(world: World) -> None:
    agent = (await world.agent()).agent
    gate = Gate()
    world.model.scripts.append([TextPiece("a"), gate, *say("bc")])
    run = await world.start(agent.id, "one")
    await gate.reached.wait()
    with pytest.raises(ConversationBusy) as refused:
        await world.start(agent.id, "two")
    assert refused.value.run_id == run.id
    gate.go.set()
    await world.events(run.id)
    await world.send(agent.id, "two")
    assert [text for role, text in await world.told(agent.id) if role == "user"] == ["one", "two"]


async def test_conversations_of_one_agent_do_not_wait_for_each_other(world: World) -> None:
    agent = (await world.agent()).agent
    one, two = await world.conversation(agent.id), await world.conversation(agent.id)
    gate = Gate()
    world.model.scripts.append([gate, *say("late")])
    run = await world.start(one, "slow")
    await gate.reached.wait()
    await world.send(two, "quick")
    assert await world.told(two) == [("user", "quick"), ("assistant", "ok")]
    gate.go.set()
    await world.events(run.id)
    assert await world.told(one) == [("user", "slow"), ("assistant", "late")]


async def test_of_many_messages_at_the_same_instant_one_is_answered(world: World) -> None:
    agent = (await world.agent()).agent
    gate = Gate()
    world.model.scripts.append([gate, *say("ok")])
    outcomes = await asyncio.gather(*(world.start(agent.id, f"m{n}") for n in range(10)), return_exceptions=True)
    assert sum(isinstance(outcome, ConversationBusy) for outcome in outcomes) == 9
    gate.go.set()
    (run,) = [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]
    await world.events(run.id)
    assert len(await world.told(agent.id)) == 2


async def test_a_cancelled_reply_keeps_what_was_said_and_accepts_the_next_message(world: World) -> None:
    agent = (await world.agent()).agent
    gate = Gate()
    world.model.scripts.append([TextPiece("so far"), gate, *say("never")])
    run = await world.start(agent.id, "tell me")
    await gate.reached.wait()
    assert await world.services.runs.cancel(run.id)
    assert (await world.events(run.id))[-2:] == [Stopped("cancelled"), Ended()]
    assert (await world.run(run.id)).status == "cancelled"
    assert world.model.open == 0
    history = await world.history(agent.id)
    assert (history[-1].text, history[-1].partial) == ("so far", True)
    await world.send(agent.id, "go on")
    assert not await world.services.runs.cancel(run.id)


async def test_a_run_cancelled_before_it_began_still_ends(world: World) -> None:
    agent = (await world.agent()).agent
    run = await world.start(agent.id, "hi")
    await world.services.runs.cancel(run.id)
    assert (await world.run(run.id)).status in {"cancelled", "completed"}
    await world.send(agent.id, "again")


async def test_a_reply_cancelled_amid_a_call_leaves_no_call_behind(world: World) -> None:
    agent = (await world.agent()).agent
    gate = Gate()
    world.model.scripts.append([ToolCallPiece(0, '{"que', id="c1", name="conversation_search"), gate])
    run = await world.start(agent.id, "search")
    await gate.reached.wait()
    await world.services.runs.cancel(run.id)
    assert [message.role for message in await world.history(agent.id)] == ["user"]


async def test_a_failing_model_ends_the_run_with_a_typed_failure(world: World) -> None:
    agent = (await world.agent()).agent
    world.model.scripts.append([TextPiece("well"), ProviderRateLimited("Slow down.", detail="429", retry_after=3)])
    run = await world.start(agent.id, "hi")
    events = await world.events(run.id)
    assert events[-3:] == [Stopped("llm_api_error"), Failed("llm_rate_limit", "Slow down.", "429", 3), Ended()]
    ended = await world.run(run.id)
    assert (ended.status, ended.stop_reason) == ("failed", "llm_api_error")
    await world.send(agent.id, "and now?")
    assert is_paired(await world.history(agent.id))


async def test_a_bug_below_becomes_an_internal_error_that_tells_no_internals(world: World) -> None:
    agent = (await world.agent()).agent
    world.model.scripts.append([ZeroDivisionError("secret /path")])
    events = await world.send(agent.id, "hi")
    (failed,) = [event for event in events if isinstance(event, Failed)]
    assert failed.error_type == "internal_error"
    assert "secret" not in failed.message + failed.detail
    await world.send(agent.id, "and now?")


async def test_a_reply_cut_off_by_its_token_limit_says_so(world: World) -> None:
    agent = (await world.agent()).agent
    world.model.scripts.append([TextPiece("half a sen"), Finished(reason="length", usage=None)])
    assert Stopped("max_tokens_exceeded") in await world.send(agent.id, "hi")


async def test_reasoning_keeps_its_signature_in_the_history(world: World) -> None:
    agent = (await world.agent()).agent
    world.model.scripts.append([ReasoningPiece("hm"), ReasoningPiece("", "signed"), *say("yes")])
    await world.send(agent.id, "hi")
    reasoning, text = (await world.history(agent.id))[-1].content
    assert getattr(reasoning, "signature", None) == "signed"
    assert isinstance(text, TextPart)


async def test_deleting_a_conversation_stops_what_it_runs(world: World) -> None:
    agent = (await world.agent()).agent
    conversation, gate = await world.conversation(agent.id), Gate()
    world.model.scripts.append([gate])
    run = await world.start(conversation, "hi")
    await gate.reached.wait()
    await world.services.conversations.delete(conversation)
    assert world.model.open == 0
    with pytest.raises(NotFound):
        await world.run(run.id)


async def test_an_agent_that_forgets_is_shown_only_the_present_message(world: World) -> None:
    agent = (await world.agent(AgentDraft(message_buffer_autoclear=True))).agent
    await world.send(agent.id, "one")
    await world.send(agent.id, "two")
    assert [message.text for message in world.model.requests[1].messages] == ["two"]
    assert len(await world.told(agent.id)) == 4


async def test_when_the_store_could_not_take_a_runs_end_it_is_answered_again_when_it_can(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = (await world.agent()).agent
    gate = Gate()
    world.model.scripts += [[TextPiece("a"), gate, *say("b")], say("again"), say("two")]
    run = await world.start(agent.id, "one")
    await gate.reached.wait()

    async def full(_work: object) -> None:
        raise StoreUnavailable("The disk is full.")

    reading = asyncio.create_task(world.events(run.id))
    with monkeypatch.context() as patch:
        patch.setattr(world.store, "write", full)
        gate.go.set()
        async with asyncio.timeout(10):
            while world.services.runs.active:  # noqa: ASYNC110  each look is a turn of the loop
                await asyncio.sleep(0)
    async with asyncio.timeout(10):
        with pytest.raises(ConversationBusy):
            await world.send(agent.id, "two")
        # What this reader was shown was never stored, so it is let go and has to read again.
        with pytest.raises(StreamInterrupted, match="The disk is full"):
            await reading
        assert (await world.events(run.id))[-1] == Ended()
    assert (await world.run(run.id)).status == "completed"
    await world.send(agent.id, "two")
    told = [("user", "one"), ("assistant", "again"), ("user", "two"), ("assistant", "two")]
    assert await world.told(agent.id) == told


async def test_a_run_cancelled_while_its_history_is_read_does_not_make_the_model_forget(world: World) -> None:
    agent = (await world.agent()).agent
    await world.send(agent.id, "my name is Ann")
    again = World(services_over(world.store, world.services.catalogue), world.model)  # a new process
    read, reading, go = world.store.read, asyncio.Event(), asyncio.Event()

    async def slow(work: Callable[[Transaction], T]) -> T:
        if getattr(getattr(work, "func", None), "__name__", "") == "_range":
            reading.set()
            await go.wait()
        return await read(work)

    world.store.read = slow  # pyright: ignore[reportAttributeAccessIssue] a moment in which to cancel
    run = await again.start(agent.id, "never mind")
    async with asyncio.timeout(10):
        await reading.wait()
    await again.services.runs.cancel(run.id)
    go.set()
    await again.send(agent.id, "what is my name?")
    shown = [message.text for message in world.model.requests[-1].messages]
    assert shown == ["my name is Ann", "ok", "never mind", "what is my name?"]
    await again.services.runs.close()


@pytest.mark.parametrize("arguments", ["[" * 20_000, '{"query": "\\ud800"}', "", "null"])
async def test_arguments_no_tool_can_take_are_told_to_the_model(world: World, arguments: str) -> None:
    agent = (await world.agent()).agent
    world.model.scripts += [calls(("c1", "conversation_search", arguments)), say("sorry")]
    events = await world.send(agent.id, "go")
    assert Stopped("end_turn") in events
    (returned,) = [event.message.tool_returns[0] for event in events if isinstance(event, MessageAdded)]
    assert returned.status == "error"
    assert returned.name == "conversation_search"


async def test_a_cancel_while_a_reply_with_calls_is_being_stored_leaves_every_call_answered(world: World) -> None:
    agent = (await world.agent()).agent
    world.model.scripts.append(calls(("c1", "conversation_search", '{"query": "x"}')))
    write, stored, go = world.store.write, asyncio.Event(), asyncio.Event()

    async def slow(work: Callable[[Transaction], T]) -> T:
        result = await write(work)
        if (await world.history(agent.id))[-1].role == "assistant" and not go.is_set():
            stored.set()
            await go.wait()
        return result

    world.store.write = slow  # pyright: ignore[reportAttributeAccessIssue] a moment between the write and its news
    run = await world.start(agent.id, "search")
    async with asyncio.timeout(10):
        await stored.wait()
        cancelling = asyncio.create_task(world.services.runs.cancel(run.id))
        await asyncio.sleep(0)
        go.set()
        await cancelling
    assert (await world.run(run.id)).status == "cancelled"
    assert is_paired(await world.history(agent.id))


async def test_a_message_to_a_conversation_that_is_deleted_meanwhile_ends_as_cancelled(world: World) -> None:
    agent, gate = (await world.agent()).agent, Gate()
    conversation = await world.conversation(agent.id)
    world.model.scripts.append([gate, *say("never")])
    run = await world.start(conversation, "hi")
    await gate.reached.wait()
    following = asyncio.create_task(world.events(run.id))
    await world.store.write(lambda tx: tx.conversations.delete(conversation))
    gate.go.set()
    async with asyncio.timeout(10):
        assert (await following)[-2:] == [Stopped("cancelled"), Ended()]
