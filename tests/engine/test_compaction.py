"""Compaction: a conversation never ends for being long, and nothing of it is ever lost."""

import asyncio
import contextlib
import random
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import pytest

from tertulia.context.pairing import is_paired
from tertulia.domain.agents import CompactionSettings
from tertulia.domain.blocks import new_block
from tertulia.domain.conversations import Conversation
from tertulia.domain.errors import (
    Conflict,
    ContextTooLong,
    ConversationBusy,
    InvalidArgument,
    ProviderOverloaded,
    ProviderRateLimited,
    StoreUnavailable,
)
from tertulia.domain.events import CompactionBegun, Event, Failed, MessageAdded, Stopped
from tertulia.domain.messages import Compaction, Message
from tertulia.domain.models import ModelCard, ModelSettings
from tertulia.engine.agents import AgentDraft
from tertulia.engine.lifecycle.settings import RunSettings
from tertulia.engine.requests import NewMessage, SendRequest
from tertulia.ports.provider import Finished, ModelRequest, Provider, ReasoningPiece
from tertulia.ports.queries import RunQuery, StepQuery
from tertulia.store.sqlite.store import open_sqlite
from tests.engine.test_approvals import Talk, ran
from tests.support.counting import CountingCatalogue, CountingProvider
from tests.support.scripted import USAGE, Gate, calls, say
from tests.support.services import services_over
from tests.support.sqlite_files import with_tables
from tests.support.world import World

pytestmark = pytest.mark.anyio

LONG = "The quick brown fox jumps over the lazy dog and is called Reynard. " * 4
Open: TypeAlias = Callable[[CountingProvider], AbstractAsyncContextManager[World]]


@pytest.fixture
def open_world(tmp_path: Path) -> Open:
    path = with_tables(tmp_path / "tertulia.db")

    @asynccontextmanager
    async def opened(provider: CountingProvider) -> AsyncGenerator[World]:
        store = await open_sqlite(path)
        services = services_over(store, CountingCatalogue(provider))
        yield World(services, provider)
        await services.runs.close()
        await store.close()

    return opened


async def conversation(world: World, id_: str) -> Conversation:
    return await world.store.read(lambda tx: tx.conversations.get(id_))


async def talked(world: World, times: int, **draft: Any) -> str:
    """The default conversation of a new agent after so many questions and answers."""
    agent = (await world.agent(AgentDraft(name="Ada", **draft))).agent
    for index in range(times):
        await world.send(agent.id, f"question {index}")
    world.model.requests.clear()
    return agent.id


async def shown(world: World, id_: str) -> list[tuple[str, str]]:
    """What the model is shown at the next message, which is sent."""
    await world.send(id_, "next")
    return [(message.role, message.text) for message in world.model.requests[-1].messages]


async def summaries(world: World, id_: str) -> list[Message]:
    return [message for message in await world.history(id_) if message.role == "summary"]


def made(message: Message) -> Compaction:
    assert message.compaction is not None
    return message.compaction


def failed(events: Sequence[Event]) -> list[Failed]:
    return [event for event in events if isinstance(event, Failed)]


# Reasoning that is not sent back


@pytest.mark.parametrize("counts", [True, False], ids=["it counts", "it does not count"])
async def test_reasoning_that_is_never_sent_back_takes_no_room(open_world: Open, *, counts: bool) -> None:
    provider = CountingProvider(8000, counts=counts)
    thinks = [ReasoningPiece("I wonder about this. " * 2_000), *say("Well.")]
    async with open_world(provider) as world:
        agent = (await world.agent()).agent
        for _ in range(4):
            provider.scripts.append(thinks)
            events = await world.send(agent.id, "hi")
            assert not [event for event in events if isinstance(event, CompactionBegun)]
        assert not await summaries(world, agent.id)
        window = await world.services.context_windows.of(agent.id, agent.id)
        assert window.messages_tokens < 200


async def test_reasoning_that_is_sent_back_takes_room(open_world: Open) -> None:
    provider = CountingProvider(8000)
    provider.takes_reasoning = True
    async with open_world(provider) as world:
        agent = (await world.agent()).agent
        for _ in range(2):
            provider.scripts.append([ReasoningPiece("I wonder about this. " * 2_000), *say("Well.")])
            await world.send(agent.id, "hi")
        assert await summaries(world, agent.id)


# A conversation that goes on for ever


@pytest.mark.slow
@pytest.mark.parametrize(
    "provider",
    [
        CountingProvider(4000),
        CountingProvider(4000, counts=False),
        CountingProvider(4000, told=32_000),
        CountingProvider(4000, told=32_000, counts=False, explains=False),
    ],
    ids=["it counts", "it does not count", "its card is wrong", "it says nothing at all"],
)
async def test_a_window_of_4000_tokens_takes_500_messages_in_a_row(
    open_world: Open, provider: CountingProvider
) -> None:
    async with open_world(provider) as world:
        agent = (await world.agent()).agent
        for index in range(500):
            events = await world.send(agent.id, f"{index}: {LONG}")
            assert Stopped("end_turn") in events, failed(events)
        history = await world.history(agent.id)
        said = [message.text for message in history if message.role == "user"]
        assert said == [f"{index}: {LONG}" for index in range(500)]
        assert len([message for message in history if message.role == "summary"]) > 5
        if provider.told == provider.window:
            assert provider.refused == 0


@pytest.mark.slow
async def test_500_messages_in_a_row_with_tools_and_a_model_that_cannot_summarise(open_world: Open) -> None:
    provider = CountingProvider(4000)
    provider.can_summarize = False
    async with open_world(provider) as world:
        agent = (await world.agent()).agent
        for index in range(500):
            look = (f"c{index}", "conversation_search", f'{{"query": "{index}"}}')
            world.model.scripts += [calls(look), say(f"seen {index}")]
            events = await world.send(agent.id, f"{index}: {LONG}")
            assert Stopped("end_turn") in events, failed(events)
            assert is_paired(world.model.requests[-1].messages)
        last = (await summaries(world, agent.id))[-1]
        assert (made(last).method, made(last).model) == ("extractive", None)
        assert "- User: 0:" in last.text


async def test_the_last_message_is_always_shown_and_so_is_the_summary(open_world: Open) -> None:
    async with open_world(CountingProvider(4000)) as world:
        agent = (await world.agent()).agent
        for index in range(60):
            await world.send(agent.id, f"{index}: {LONG}")
            request = world.model.requests[-1]
            assert request.messages[-1].text == f"{index}: {LONG}"
            assert [message.role for message in request.messages].count("summary") == (
                1 if await summaries(world, agent.id) else 0
            )


async def test_a_long_turn_is_compacted_between_its_steps(open_world: Open) -> None:
    async with open_world(CountingProvider(4000)) as world:
        agent = (await world.agent()).agent
        for index in range(60):
            world.model.scripts.append(lambda request, index=index: _step(request, index))
        events = await world.send(agent.id, "search for everything", max_steps=80)
        assert Stopped("end_turn") in events, failed(events)
        assert len(await summaries(world, agent.id)) > 0
        agentic = [request for request in world.model.requests if request.tools]
        assert all("search for everything" in {m.text for m in request.messages} for request in agentic)
        assert all(is_paired(request.messages) for request in agentic)


def _step(request: ModelRequest, index: int) -> Any:
    if not request.tools:
        return say("They looked for many things.")
    return calls((f"s{index}", "conversation_search", f'{{"query": "{LONG[:200]} {index}"}}'))


async def test_a_message_too_long_for_the_window_fails_and_the_next_one_is_answered(open_world: Open) -> None:
    async with open_world(CountingProvider(4000)) as world:
        agent = (await world.agent()).agent
        events = await world.send(agent.id, LONG * 100)
        assert [failure.error_type for failure in failed(events)] == ["llm_error"]
        assert len(world.model.requests) < 40
        assert Stopped("end_turn") in await world.send(agent.id, "hi")


async def test_a_system_prompt_longer_than_the_window_is_told_as_what_it_is(open_world: Open) -> None:
    async with open_world(CountingProvider(4000)) as world:
        block = new_block(label="human", value=LONG * 100)
        agent = (await world.agent(AgentDraft(name="Ada", memory_blocks=(block,)))).agent
        events = await world.send(agent.id, "hi")
        assert Stopped("context_window_overflow_in_system_prompt") in events
        (failure,) = failed(events)
        assert "Shorten" in failure.message
        assert world.model.requests == []


async def test_the_same_is_found_out_when_the_provider_refuses(open_world: Open) -> None:
    async with open_world(CountingProvider(1000, told=32_000)) as world:
        block = new_block(label="human", value=LONG * 20)
        agent = (await world.agent(AgentDraft(name="Ada", memory_blocks=(block,)))).agent
        events = await world.send(agent.id, "hi")
        assert Stopped("context_window_overflow_in_system_prompt") in events


async def test_a_refusal_is_tried_again_a_bounded_number_of_times(world: World) -> None:
    agent_id = await talked(world, 10)
    world.model.scripts += [[ContextTooLong("no")], say("sum")] * 20
    events = await world.send(agent_id, "next")
    assert [failure.error_type for failure in failed(events)] == ["llm_error"]
    assert 1 < len(world.model.requests) <= 8
    world.model.scripts.clear()
    assert Stopped("end_turn") in await world.send(agent_id, "again")


async def test_a_refusal_takes_no_step_of_the_run_and_leaves_no_record(world: World) -> None:
    agent_id = await talked(world, 5)
    world.model.scripts += [[ContextTooLong("no")], say("They talked."), say("fine")]
    run = await world.start(agent_id, "next", max_steps=1)
    events = await world.events(run.id)
    assert Stopped("end_turn") in events
    steps = await world.store.read(lambda tx: tx.steps.find(StepQuery(run_id=run.id)))
    assert [step.status for step in steps] == ["success"]
    (summary,) = await summaries(world, agent_id)
    assert made(summary).trigger == "context_window_exceeded"
    begun = [event for event in events if isinstance(event, CompactionBegun)]
    assert [event.message_id for event in begun] == [summary.id]
    assert events.index(MessageAdded(summary)) > events.index(begun[0])


async def test_traces_stay_exact_through_compactions(open_world: Open) -> None:
    async with open_world(CountingProvider(4000)) as world:
        agent = (await world.agent()).agent
        for index in range(40):
            await world.send(agent.id, f"{index}: {LONG}")
        steps = await world.store.read(lambda tx: tx.steps.find(StepQuery(agent_id=agent.id)))
        agentic = [request for request in world.model.requests if request.tools]
        for step, sent in zip(steps[:40], reversed(agentic), strict=True):
            trace = await world.services.runs.trace(step.id)
            assert trace is not None
            assert trace.request["messages"] == msgspec.json.decode(msgspec.json.encode(sent.messages))


async def test_the_threshold_is_the_part_of_the_window_that_may_be_filled(tmp_path: Path) -> None:
    provider = CountingProvider(32_000)
    store = await open_sqlite(with_tables(tmp_path / "tertulia.db"))
    settings = RunSettings(compaction_threshold=0.1)
    services = services_over(store, CountingCatalogue(provider), runs=settings)
    world = World(services, provider)
    agent = (await world.agent()).agent
    for index in range(40):
        await world.send(agent.id, f"{index}: {LONG}")
    assert len(await summaries(world, agent.id)) > 0
    assert max(size for size, request in zip(provider.sizes, provider.requests, strict=True) if request.tools) < 3300
    await services.runs.close()
    await store.close()


async def test_room_is_left_for_a_reply_of_the_length_that_is_set(open_world: Open) -> None:
    async with open_world(CountingProvider(8000)) as world:
        settings = ModelSettings(provider_type="openai", max_output_tokens=4000)
        agent = (await world.agent(AgentDraft(name="Ada", model_settings=settings))).agent
        for index in range(60):
            await world.send(agent.id, f"{index}: {LONG}")
        provider = world.model
        assert isinstance(provider, CountingProvider)
        assert max(provider.sizes) <= 4000
        assert len(await summaries(world, agent.id)) > 0


async def test_a_restart_changes_nothing_of_what_is_shown(open_world: Open) -> None:
    async with open_world(CountingProvider(4000)) as world:
        agent_id = (await world.agent()).agent.id
        for index in range(30):
            await world.send(agent_id, f"{index}: {LONG}")
        await world.services.runs.compact(agent_id)
        await world.send(agent_id, "a")
        before = [message.text for message in world.model.requests[-1].messages]
    async with open_world(CountingProvider(4000)) as world:
        await world.send(agent_id, "b")
        assert [m.text for m in world.model.requests[-1].messages] == [*before, "ok", "b"]


# On request


async def test_what_the_model_is_shown_is_the_summary_and_the_newest_messages(world: World) -> None:
    agent_id = await talked(world, 5)
    world.model.scripts.append(say("They greeted each other."))
    done = await world.services.runs.compact(agent_id)
    assert (done.summary, done.messages_before, done.messages_after) == ("They greeted each other.", 11, 8)
    assert len(await world.history(agent_id)) == 11  # all of it, and the summary
    view = await shown(world, agent_id)
    assert view[0][0] == "summary"
    assert view[0][1].endswith("They greeted each other.")
    assert view[1:] == [
        *((role, text) for index in range(2, 5) for role, text in (("user", f"question {index}"), ("assistant", "ok"))),
        ("user", "next"),
    ]


async def test_the_summarizer_is_asked_with_a_transcript_of_what_goes(world: World) -> None:
    agent_id = await talked(world, 5)
    await world.services.runs.compact(agent_id)
    (request,) = world.model.requests
    (asked,) = request.messages
    assert "User: question 1\n\nAssistant: ok" in asked.text
    assert "question 2" not in asked.text
    assert "older part" in request.system
    assert request.tools == ()


async def test_a_summary_goes_into_the_next_one(world: World) -> None:
    agent_id = await talked(world, 5)
    world.model.scripts += [say("first"), say("second")]
    await world.services.runs.compact(agent_id)
    done = await world.services.runs.compact(agent_id)
    assert "Summary of what came before: first" in world.model.requests[-1].messages[0].text
    assert done.summary == "second"
    assert [text for role, text in await shown(world, agent_id) if role == "summary" and "first" in text] == []


async def test_mode_all_leaves_the_summary_alone(world: World) -> None:
    agent_id = await talked(world, 5, compaction_settings=CompactionSettings(mode="all"))
    done = await world.services.runs.compact(agent_id)
    assert (done.messages_before, done.messages_after) == (11, 2)
    assert [role for role, _ in await shown(world, agent_id)] == ["summary", "user"]


async def test_mode_all_keeps_a_question_that_has_no_answer(world: World) -> None:
    agent_id = await talked(world, 3)
    world.model.scripts += [[ProviderOverloaded("no")]]
    await world.send(agent_id, "lost?")
    await world.services.runs.compact(agent_id, CompactionSettings(mode="all"))
    assert [text for _, text in await shown(world, agent_id)][1:] == ["lost?", "next"]


@pytest.mark.parametrize(("mode", "left"), [("self_compact_all", 2), ("self_compact_sliding_window", 8)])
async def test_self_compaction_asks_the_agent_as_itself(world: World, mode: Any, left: int) -> None:
    agent_id = await talked(world, 5)
    done = await world.services.runs.compact(agent_id, CompactionSettings(mode=mode))
    assert done.messages_after == left
    (request,) = world.model.requests
    await world.send(agent_id, "next")
    usual = world.model.requests[-1]
    assert (request.system, request.tools, request.model) == (usual.system, usual.tools, usual.model)
    assert [message.text for message in request.messages[:2]] == ["question 0", "ok"]
    assert "replaced by a summary" in request.messages[-1].text
    assert request.tool_choice == "none"


@pytest.mark.parametrize(("share", "left"), [(0.0, 10), (0.3, 8), (0.5, 6), (0.8, 4), (1.0, 2)])
async def test_the_percentage_is_the_share_of_messages_that_goes(world: World, share: float, left: int) -> None:
    agent_id = await talked(world, 5)
    done = await world.services.runs.compact(agent_id, CompactionSettings(sliding_window_percentage=share))
    assert done.messages_after == left


async def test_the_prompt_is_what_the_summarizer_is_told(world: World) -> None:
    agent_id = await talked(world, 5)
    await world.services.runs.compact(agent_id, CompactionSettings(prompt="Write a haiku."))
    assert world.model.requests[-1].system == "Write a haiku."


async def test_an_acknowledgement_follows_the_prompt(world: World) -> None:
    agent_id = await talked(world, 5)
    settings = CompactionSettings(prompt="Write a haiku.", prompt_acknowledgement=True)
    await world.services.runs.compact(agent_id, settings)
    request = world.model.requests[-1]
    assert [message.role for message in request.messages] == ["user", "assistant", "user"]
    assert request.messages[0].text == "Write a haiku."
    assert request.system == ""


async def test_the_summary_is_clipped(world: World) -> None:
    agent_id = await talked(world, 5)
    world.model.scripts.append(say("x" * 500))
    done = await world.services.runs.compact(agent_id, CompactionSettings(clip_chars=20))
    assert done.summary == "x" * 19 + "…"


async def test_model_and_settings_are_the_summarizer_s_alone(world: World) -> None:
    agent_id = await talked(world, 5)
    cold = ModelSettings(provider_type="openai", temperature=0)
    settings = CompactionSettings(model="scripted/other", model_settings=cold)
    await world.services.runs.compact(agent_id, settings)
    assert (world.model.requests[-1].model, world.model.requests[-1].settings) == ("other", cold)
    (summary,) = await summaries(world, agent_id)
    assert made(summary).model == "scripted/other"
    await world.send(agent_id, "next")
    assert (world.model.requests[-1].model, world.model.requests[-1].settings) == ("model", None)


async def test_the_request_s_settings_go_before_the_agent_s_field_by_field(world: World) -> None:
    mine = CompactionSettings(mode="all", prompt="mine", clip_chars=5)
    agent_id = await talked(world, 5, compaction_settings=mine)
    world.model.scripts.append(say("a long summary"))
    done = await world.services.runs.compact(agent_id, CompactionSettings(prompt="yours"))
    assert (world.model.requests[-1].system, done.summary, done.messages_after) == ("yours", "a lo…", 2)


async def test_automatic_compaction_goes_by_the_agent_s_settings(world: World) -> None:
    agent_id = await talked(world, 5, compaction_settings=CompactionSettings(mode="all", prompt="mine"))
    world.model.scripts += [[ContextTooLong("no")], say("They talked.")]
    await world.send(agent_id, "next")
    assert world.model.requests[1].system == "mine"
    assert [message.role for message in world.model.requests[-1].messages] == ["summary", "user"]


async def test_a_conversation_that_is_too_short_is_refused_and_no_run_is_made(world: World) -> None:
    agent = (await world.agent()).agent
    with pytest.raises(InvalidArgument, match="nothing to compact"):
        await world.services.runs.compact(agent.id)
    assert await world.store.read(lambda tx: tx.runs.find(RunQuery())) == []


async def test_a_compaction_that_was_asked_for_is_made_although_it_does_not_shrink(world: World) -> None:
    agent_id = await talked(world, 3)
    world.model.scripts.append(say("blah " * 3000))
    before = await conversation(world, agent_id)
    compacted = await world.services.runs.compact(agent_id)
    assert compacted.messages_after < compacted.messages_before
    after = await conversation(world, agent_id)
    assert after.context_from > before.context_from
    assert Stopped("end_turn") in await world.send(agent_id, "next")


async def test_compacting_twice_comes_to_an_end(world: World) -> None:
    agent_id = await talked(world, 5)
    await world.services.runs.compact(agent_id, CompactionSettings(mode="all"))
    with pytest.raises(InvalidArgument, match="nothing to compact"):
        await world.services.runs.compact(agent_id, CompactionSettings(mode="all"))


async def test_it_is_a_run_that_the_list_shows_as_what_it_is(world: World) -> None:
    agent_id = await talked(world, 5)
    await world.services.runs.compact(agent_id)
    run = (await world.store.read(lambda tx: tx.runs.find(RunQuery())))[0]
    assert (run.status, run.metadata, run.background) == ("completed", {"kind": "compaction"}, False)
    events = await world.events(run.id)
    assert any(isinstance(event, MessageAdded) and event.message.role == "summary" for event in events)


async def test_nothing_else_happens_in_the_conversation_meanwhile(world: World) -> None:
    agent_id = await talked(world, 5)
    gate = Gate()
    world.model.scripts.append([gate, *say("sum")])
    compacting = asyncio.create_task(world.services.runs.compact(agent_id))
    await gate.reached.wait()
    with pytest.raises(ConversationBusy):
        await world.start(agent_id, "hi")
    with pytest.raises(ConversationBusy):
        await world.services.runs.compact(agent_id)
    with pytest.raises(ConversationBusy):
        await world.services.conversations.undo_compaction(agent_id)
    gate.go.set()
    await compacting
    assert Stopped("end_turn") in await world.send(agent_id, "hi")


async def test_a_conversation_that_is_answering_is_not_compacted(world: World) -> None:
    agent_id = await talked(world, 5)
    gate = Gate()
    world.model.scripts.append([gate, *say("hm")])
    run = await world.start(agent_id, "hi")
    await gate.reached.wait()
    with pytest.raises(ConversationBusy):
        await world.services.runs.compact(agent_id)
    gate.go.set()
    await world.events(run.id)


async def test_a_message_that_waits_is_answered_after_the_compaction(world: World) -> None:
    agent_id = await talked(world, 5)
    gate = Gate()
    world.model.scripts.append([gate, *say("sum")])
    compacting = asyncio.create_task(world.services.runs.compact(agent_id))
    await gate.reached.wait()
    message = NewMessage(role="user", content=())
    waits = SendRequest(conversation_id=agent_id, messages=(message,), busy="enqueue")
    run = await world.services.runs.start(waits)
    assert run.status == "created"
    gate.go.set()
    await compacting
    assert Stopped("end_turn") in await world.events(run.id)


async def test_a_cancelled_compaction_leaves_everything_as_it_was(world: World) -> None:
    agent_id = await talked(world, 5)
    gate = Gate()
    world.model.scripts.append([gate, *say("sum")])
    compacting = asyncio.create_task(world.services.runs.compact(agent_id))
    await gate.reached.wait()
    assert len(await world.services.runs.cancel_conversation(agent_id)) == 1
    with pytest.raises(Conflict, match="cancelled"):
        await compacting
    assert world.model.open == 0
    assert await summaries(world, agent_id) == []
    assert (await conversation(world, agent_id)).pins == ()


async def test_a_message_can_go_before_a_compaction(world: World) -> None:
    agent_id = await talked(world, 5)
    gate = Gate()
    world.model.scripts.append([gate, *say("sum")])
    compacting = asyncio.create_task(world.services.runs.compact(agent_id))
    await gate.reached.wait()
    now = SendRequest(conversation_id=agent_id, messages=(NewMessage(role="user", content=()),), busy="interrupt")
    run = await world.services.runs.start(now)
    with pytest.raises(Conflict):
        await compacting
    assert Stopped("end_turn") in await world.events(run.id)


# Calls that wait for an answer


async def test_pending_calls_stay_in_view_and_can_be_answered(world: World) -> None:
    agent_id = await talked(world, 5)
    talk = Talk(world, agent_id)
    world.model.scripts.append(calls(("b1", "Bash", "{}")))
    assert Stopped("requires_approval") in await talk.say("run it")
    await world.services.runs.compact(agent_id, CompactionSettings(mode="all"))
    assert [call.id for call in await world.services.conversations.pending_calls(agent_id)] == ["b1"]
    assert Stopped("end_turn") in await talk.answer(ran("b1", "done"))
    request = world.model.requests[-1]
    assert [message.role for message in request.messages] == ["summary", "user", "assistant", "approval", "tool"]
    assert is_paired(request.messages[1:])


async def test_an_answer_that_is_repeated_after_a_compaction_is_still_a_repetition(world: World) -> None:
    agent_id = await talked(world, 2)
    talk = Talk(world, agent_id)
    world.model.scripts.append(calls(("b1", "Bash", "{}")))
    await talk.say("run it")
    first = await talk.start(answers=(ran("b1", "done"),))
    await world.events(first.id)
    await world.services.runs.compact(agent_id, CompactionSettings(mode="all"))
    assert (await talk.start(answers=(ran("b1", "done"),))).id == first.id


async def test_a_request_that_waits_alone_cannot_be_compacted(world: World) -> None:
    agent = (await world.agent()).agent
    talk = Talk(world, agent.id)
    world.model.scripts.append(calls(("b1", "Bash", "{}")))
    await talk.say("run it")
    with pytest.raises(InvalidArgument, match="nothing to compact"):
        await world.services.runs.compact(agent.id, CompactionSettings(mode="all"))
    assert Stopped("end_turn") in await talk.answer(ran("b1", "done"))


# When the summarizer fails


async def test_a_failure_is_tried_again_in_smaller_pieces(world: World) -> None:
    agent = (await world.agent()).agent
    for index in range(30):
        await world.send(agent.id, f"{index} {LONG}")
    world.model.requests.clear()
    world.model.scripts += [[ContextTooLong("no")], say("one"), say("two"), say("three")]
    await world.services.runs.compact(agent.id, CompactionSettings(mode="all"))
    assert len(world.model.requests) == 4
    assert "Summary of the conversation so far: one" in world.model.requests[2].messages[0].text
    (summary,) = await summaries(world, agent.id)
    assert (summary.text, made(summary).method, made(summary).failure) == ("three", "pieces", "no")
    assert made(summary).summarizer_tokens == 3 * USAGE.total_tokens


async def test_a_summarizer_that_keeps_failing_is_done_without(world: World) -> None:
    agent_id = await talked(world, 5)
    world.model.scripts += [[ProviderRateLimited("slow down")]] * 2
    done = await world.services.runs.compact(agent_id)
    assert "question 0" in done.summary
    (summary,) = await summaries(world, agent_id)
    assert (made(summary).method, made(summary).failure) == ("extractive", "slow down")
    assert len(world.model.requests) == 2


async def test_a_summarizer_that_says_nothing_has_failed(world: World) -> None:
    agent_id = await talked(world, 5)
    silence = [Finished(reason="stop", usage=USAGE)]
    world.model.scripts += [silence, silence]
    assert "question 0" in (await world.services.runs.compact(agent_id)).summary


async def test_a_model_that_cannot_summarise_is_not_asked(open_world: Open) -> None:
    async with open_world(CountingProvider(32_000)) as world:
        agent_id = await talked(world, 5, model="scripted/tiny")
        done = await world.services.runs.compact(agent_id)
        assert world.model.requests == []
        assert "- User: question 0" in done.summary
        (summary,) = await summaries(world, agent_id)
        assert made(summary).method == "extractive"
        assert "too small" in (made(summary).failure or "")


async def test_letta_auto_gives_way_to_the_conversation_s_model_where_it_cannot_summarise(
    open_world: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_world(CountingProvider(32_000)) as world:
        provider = world.model

        def resolve(handle: str) -> tuple[Provider, ModelCard]:
            return provider, provider.card("tiny" if handle == "letta/auto" else "model")

        monkeypatch.setattr(world.services.catalogue, "resolve", resolve)
        agent_id = await talked(world, 5, compaction_settings=CompactionSettings(model="letta/auto"))
        await world.services.runs.compact(agent_id)
        assert [request.model for request in world.model.requests] == ["model"]


async def test_a_model_that_is_gone_is_told_to_who_asks_and_replaced_where_nobody_does(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve = world.services.catalogue.resolve

    def only_scripted(handle: str) -> tuple[Provider, ModelCard]:
        if not handle.startswith("scripted/"):
            raise InvalidArgument(f"no {handle}")
        return resolve(handle)

    monkeypatch.setattr(world.services.catalogue, "resolve", only_scripted)
    agent_id = await talked(world, 8, compaction_settings=CompactionSettings(model="gone/model"))
    with pytest.raises(InvalidArgument, match="gone/model"):
        await world.services.runs.compact(agent_id)
    await world.services.runs.compact(agent_id, CompactionSettings(model="letta/auto"))
    world.model.scripts += [[ContextTooLong("no")], say("They talked.")]
    assert Stopped("end_turn") in await world.send(agent_id, "next")
    assert [made(summary).model for summary in await summaries(world, agent_id)] == ["scripted/model"] * 2


async def test_a_long_history_is_summarised_piece_after_piece(open_world: Open) -> None:
    async with open_world(CountingProvider(4000, told=4000)) as world:
        agent_id = await talked(world, 3)
        provider = world.model
        assert isinstance(provider, CountingProvider)
        provider.window = 10**9
        provider.told = 10**6
        for index in range(40):
            await world.send(agent_id, f"{index} {LONG}")
        provider.window = provider.told = 4000
        provider.requests.clear()
        done = await world.services.runs.compact(agent_id, CompactionSettings(mode="all"))
        assert done.messages_after == 2
        assert len(provider.requests) > 1
        assert provider.refused == 0


# Undo


async def test_undo_shows_again_what_was_out_of_view_and_keeps_what_came_since(world: World) -> None:
    agent_id = await talked(world, 3)
    await world.services.runs.compact(agent_id, CompactionSettings(mode="all"))
    await world.send(agent_id, "since")
    undone = await world.services.conversations.undo_compaction(agent_id)
    assert (undone.messages_before, undone.messages_after) == (4, 9)
    texts = [text for _, text in await shown(world, agent_id)]
    assert texts == ["question 0", "ok", "question 1", "ok", "question 2", "ok", "since", "ok", "next"]
    with pytest.raises(InvalidArgument, match="no compaction"):
        await world.services.conversations.undo_compaction(agent_id)


async def test_each_undo_takes_back_one_compaction(world: World) -> None:
    agent_id = await talked(world, 6)
    first = await world.services.runs.compact(agent_id)
    second = await world.services.runs.compact(agent_id)
    undone = [await world.services.conversations.undo_compaction(agent_id) for _ in range(2)]
    assert [(each.messages_before, each.messages_after) for each in undone] == [
        (second.messages_after, second.messages_before),
        (first.messages_after, first.messages_before),
    ]
    assert len(await shown(world, agent_id)) == 13


async def test_a_run_that_is_taken_back_takes_its_summary_with_it(world: World) -> None:
    agent_id = await talked(world, 6)
    gate = Gate()
    world.model.scripts += [[ContextTooLong("no")], say("sum"), [gate, *say("never")]]
    run = await world.start(agent_id, "lost")
    await gate.reached.wait()
    assert len(await summaries(world, agent_id)) == 1
    await world.services.runs.cancel(run.id, rollback=True)
    assert await summaries(world, agent_id) == []
    assert len(await shown(world, agent_id)) == 13


async def test_a_reset_conversation_shows_no_summary(world: World) -> None:
    agent_id = await talked(world, 6)
    await world.services.runs.compact(agent_id)
    await world.services.agents.reset_messages(agent_id)
    assert await shown(world, agent_id) == [("user", "next")]


async def test_what_is_in_context_is_what_the_model_is_shown(world: World) -> None:
    agent_id = await talked(world, 6)
    await world.services.runs.compact(agent_id)
    await world.services.runs.compact(agent_id)
    await world.services.conversations.undo_compaction(agent_id)
    _, ids = await world.services.conversations.with_context(agent_id)
    await world.send(agent_id, "next")
    assert [message.id for message in world.model.requests[-1].messages][:-1] == ids[1:]


async def test_summary_and_view_are_stored_together_or_not_at_all(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent_id = await talked(world, 5)
    write = world.store.write

    async def fails_on_summaries(work: Any) -> Any:
        def crashing(tx: Any) -> Any:
            result = work(tx)
            found = tx.messages.range(agent_id, 1, tx.conversations.get(agent_id).head)
            if any(message.role == "summary" for message in found):
                raise StoreUnavailable("crash")
            return result

        return await write(crashing)

    monkeypatch.setattr(world.store, "write", fails_on_summaries)
    with pytest.raises(StoreUnavailable):
        await world.services.runs.compact(agent_id)
    monkeypatch.undo()
    assert await summaries(world, agent_id) == []
    after = await conversation(world, agent_id)
    assert (after.context_from, after.pins) == (1, ())
    assert len(await shown(world, agent_id)) == 11


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_is_done_in_whatever_order_nothing_is_lost_and_nothing_is_stuck(
    open_world: Open, seed: int
) -> None:
    dice = random.Random(seed)
    modes = ("all", "sliding_window", "self_compact_all", "self_compact_sliding_window")
    async with open_world(CountingProvider(3000)) as world:
        agent_id = (await world.agent()).agent.id
        talk, kept = Talk(world, agent_id), list[str]()
        for index in range(80):
            deed, text = dice.randrange(7), f"{index}: {LONG * dice.randrange(4)}"
            asked = f"{agent_id}-{index}"
            if deed == 0:
                with contextlib.suppress(InvalidArgument):
                    await world.services.runs.compact(agent_id, CompactionSettings(mode=dice.choice(modes)))
                continue
            if deed == 1:
                with contextlib.suppress(InvalidArgument):
                    await world.services.conversations.undo_compaction(agent_id)
                continue
            kept.append(text)
            if deed == 2:
                world.model.scripts.append(lambda request, id_=asked: _calls_bash(request, id_))
                events = await talk.say(text)
                if Stopped("requires_approval") in events:
                    events = await talk.answer(ran(asked, LONG))
                assert Stopped("end_turn") in events, failed(events)
            elif deed == 3:
                gate = Gate()
                world.model.scripts.append([gate, *say("never")])
                run = await world.start(agent_id, text)
                await gate.reached.wait()
                rollback = dice.random() < 0.5
                await world.services.runs.cancel(run.id, rollback=rollback)
                if rollback:
                    kept.pop()
            else:
                events = await world.send(agent_id, text)
                assert Stopped("end_turn") in events, failed(events)
            world.model.scripts.clear()
        history = await world.history(agent_id)
        assert [message.text for message in history if message.role == "user"] == kept
        assert all(is_paired(request.messages) for request in world.model.requests)
        assert await world.store.read(lambda tx: tx.runs.all_active()) == []


def _calls_bash(request: ModelRequest, id_: str) -> Any:
    return calls((id_, "Bash", '{"command": "ls"}')) if request.tools else say("They talked.")
