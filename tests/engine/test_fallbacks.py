"""A model that cannot answer now: tries that are made again, models that stand in, and what the step tells of both."""

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from tertulia.domain.errors import (
    ContextTooLong,
    InvalidArgument,
    ProviderAuthenticationError,
    ProviderBadRequest,
    ProviderConnectionLost,
    ProviderContentFiltered,
    ProviderError,
    ProviderFailed,
    ProviderOverloaded,
    ProviderQuotaUsedUp,
    ProviderRateLimited,
    ProviderTimeout,
    ProviderUnreachable,
)
from tertulia.domain.events import Failed
from tertulia.domain.messages import Message
from tertulia.domain.models import ModelCard, ModelSettings
from tertulia.domain.runs import FailedTry, Step
from tertulia.engine.agents import AgentDraft, Agents
from tertulia.engine.conversations import ConversationDraft
from tertulia.engine.turn.model_choice import choose
from tertulia.engine.validation import check_agent, check_conversation
from tertulia.ports.provider import Provider, ReasoningPiece, Retrying, TextPiece
from tertulia.ports.queries import StepQuery
from tests.support.scripted import Act, ScriptedCatalogue, calls, say
from tests.support.world import World

pytestmark = pytest.mark.anyio

DRAFT = AgentDraft(model="scripted/main", fallback_models=("scripted/second", "scripted/third"))
BUSY = ProviderOverloaded("main is busy", detail="503")
OUTAGES = (
    BUSY,
    ProviderRateLimited("too many", retry_after=60),
    ProviderQuotaUsedUp("no credit"),
    ProviderFailed("500"),
    ProviderTimeout("silence"),
    ProviderUnreachable("nobody there"),
    ProviderConnectionLost("cut"),
)
REFUSALS = (
    ProviderBadRequest("no such field"),
    ProviderAuthenticationError("wrong key"),
    ProviderContentFiltered("not that"),
    ProviderError("something"),
)


def named(error: Exception) -> str:
    return type(error).__name__


async def steps_of(world: World, agent_id: str) -> list[Step]:
    """The oldest first."""
    found = await world.store.read(lambda tx: tx.steps.find(StepQuery(agent_id=agent_id)))
    return found[::-1]


async def last_message(world: World, agent_id: str) -> Message:
    return (await world.history(agent_id))[-1]


def asked(world: World) -> list[str]:
    return [request.model for request in world.model.requests]


@pytest.mark.parametrize("error", OUTAGES, ids=named)
async def test_another_model_answers_where_the_first_cannot_now(world: World, error: ProviderError) -> None:
    agent = (await world.agent(DRAFT)).agent
    world.model.scripts += [[error], say("hello")]
    with capture_logs() as logs:
        await world.send(agent.id, "hi")
    assert asked(world) == ["main", "second"]
    (step,) = await steps_of(world, agent.id)
    failed = FailedTry(
        model="scripted/main", error_type=error.error_type, message=error.message, detail=error.detail, delay=None
    )
    assert (step.status, step.model_handle, step.model, step.failed_tries) == (
        "success",
        "scripted/second",
        "second",
        (failed,),
    )
    answer = await last_message(world, agent.id)
    assert (answer.text, answer.model) == ("hello", "scripted/second")
    (line,) = [line for line in logs if line["event"] == "model_fell_back"]
    assert (line["model"], line["message"]) == ("scripted/main", error.message)


@pytest.mark.parametrize("error", REFUSALS, ids=named)
async def test_what_another_model_would_refuse_as_well_is_not_asked_of_it(world: World, error: ProviderError) -> None:
    agent = (await world.agent(DRAFT)).agent
    world.model.scripts.append([error])
    events = await world.send(agent.id, "hi")
    assert asked(world) == ["main"]
    (failed,) = [event for event in events if isinstance(event, Failed)]
    assert failed.message == error.message
    (step,) = await steps_of(world, agent.id)
    assert (step.status, step.model_handle, step.failed_tries) == ("failed", "scripted/main", ())


@pytest.mark.parametrize("said", [TextPiece("Once"), ReasoningPiece("Hm")], ids=["text", "reasoning"])
async def test_a_reply_that_had_begun_is_no_other_models_to_go_on_with(world: World, said: Act) -> None:
    agent = (await world.agent(DRAFT)).agent
    world.model.scripts.append([said, ProviderConnectionLost("cut")])
    events = await world.send(agent.id, "hi")
    assert asked(world) == ["main"]
    assert any(isinstance(event, Failed) for event in events)


async def test_a_step_that_no_model_can_take_keeps_every_try(world: World) -> None:
    agent = (await world.agent(DRAFT)).agent
    retried = Retrying(1, ProviderTimeout("silence"), 0.5)
    world.model.scripts += [[BUSY], [retried, ProviderUnreachable("gone")], [ProviderRateLimited("slow down")]]
    events = await world.send(agent.id, "hi")
    assert asked(world) == ["main", "second", "third"]
    (failed,) = [event for event in events if isinstance(event, Failed)]
    assert failed.message == "slow down"
    (step,) = await steps_of(world, agent.id)
    assert (step.status, step.model_handle, step.error_type) == ("failed", "scripted/third", "llm_rate_limit")
    assert [(one.model, one.message, one.delay) for one in step.failed_tries] == [
        ("scripted/main", "main is busy", None),
        ("scripted/second", "silence", 0.5),
        ("scripted/second", "gone", None),
    ]
    world.model.scripts.append(say("back"))
    await world.send(agent.id, "again")
    assert asked(world)[-1] == "main", "the next message begins with the main model"


async def test_a_try_that_was_made_again_is_in_the_step_and_in_the_log(world: World) -> None:
    agent = (await world.agent()).agent
    world.model.scripts.append([Retrying(1, BUSY, 0.25), Retrying(2, BUSY, 0.5), *say("hello")])
    with capture_logs() as logs:
        await world.send(agent.id, "hi")
    (step,) = await steps_of(world, agent.id)
    assert [(one.model, one.detail, one.delay) for one in step.failed_tries] == [
        ("scripted/model", "503", 0.25),
        ("scripted/model", "503", 0.5),
    ]
    lines = [line for line in logs if line["event"] == "model_retried"]
    assert [(line["attempt"], line["delay"], line["step_id"]) for line in lines] == [
        (1, 0.25, step.id),
        (2, 0.5, step.id),
    ]


async def test_each_step_begins_with_the_main_model_again(world: World) -> None:
    agent = (await world.agent(DRAFT)).agent
    search = calls(("c1", "conversation_search", '{"query": "x"}'))
    world.model.scripts += [[BUSY], search, say("found")]
    await world.send(agent.id, "find x")
    assert asked(world) == ["main", "second", "main"]
    assert [step.model_handle for step in await steps_of(world, agent.id)] == ["scripted/second", "scripted/main"]
    models = [message.model for message in await world.history(agent.id) if message.role == "assistant"]
    assert models == ["scripted/second", "scripted/main"]


@pytest.mark.parametrize(
    ("own", "expected"), [(None, ["main", "second"]), (("scripted/own",), ["main", "own"]), ((), ["main"])]
)
async def test_a_conversations_fallbacks_stand_for_the_agents(
    world: World, own: tuple[str, ...] | None, expected: list[str]
) -> None:
    agent = (await world.agent(DRAFT)).agent
    conversation = await world.services.conversations.create(agent.id, ConversationDraft(fallback_models=own))
    world.model.scripts.append([BUSY])
    await world.send(conversation.id, "hi")
    assert asked(world) == expected


async def test_a_history_too_long_for_the_model_that_stands_in_is_made_shorter_for_it(world: World) -> None:
    agent = (await world.agent(DRAFT)).agent
    for turn in range(4):
        await world.send(agent.id, f"{turn} " + "words " * 300)
    world.model.requests.clear()
    world.model.scripts += [[BUSY], [ContextTooLong("too long", context_window=4000)], say("a summary"), say("short")]
    await world.send(agent.id, "and now?")
    assert (asked(world)[0], asked(world)[1], asked(world)[-1]) == ("main", "second", "second")
    assert (await last_message(world, agent.id)).text == "short"
    assert len(world.model.requests[-1].messages) < len(world.model.requests[0].messages)
    *_, step = await steps_of(world, agent.id)
    assert (step.context_window_limit, len(step.failed_tries)) == (4000, 1)


class Two(ScriptedCatalogue):
    """Two providers by name; settings fit those of their own type."""

    def resolve(self, handle: str) -> tuple[Provider, ModelCard]:
        if handle.startswith("gone/"):
            raise InvalidArgument("no provider 'gone' is configured")
        return super().resolve(handle)

    def fits(self, handle: str, settings: ModelSettings) -> bool:
        return handle.startswith(settings.provider_type)


async def test_settings_go_to_a_fallback_only_where_they_fit_it(world: World) -> None:
    settings = ModelSettings(provider_type="scripted", temperature=0.5)
    draft = AgentDraft(model="scripted/a", fallback_models=("other/b", "scripted/c"), model_settings=settings)
    agent = (await world.agent(draft)).agent
    conversation = await world.store.read(lambda tx: tx.conversations.get(agent.id))
    choices = choose(Two(), agent, conversation, None)
    assert [choice.settings for choice in choices] == [settings, None, settings]


async def test_a_fallback_that_is_not_configured_any_more_or_named_twice_is_passed_over(world: World) -> None:
    handles = ("gone/x", "scripted/a", "scripted/b", "scripted/b")
    agent = (await world.agent(AgentDraft(model="scripted/a", fallback_models=handles))).agent
    conversation = await world.store.read(lambda tx: tx.conversations.get(agent.id))
    assert [choice.card.name for choice in choose(Two(), agent, conversation, None)] == ["a", "b"]


class Picky(ScriptedCatalogue):
    """One of its models takes no settings."""

    def check_settings(self, handle: str, settings: ModelSettings) -> None:
        if handle == "scripted/picky":
            raise InvalidArgument("picky takes no settings")


async def test_settings_that_a_fallback_cannot_be_asked_with_are_refused_when_they_are_set(world: World) -> None:
    agent = (await world.agent(AgentDraft(model="scripted/a", fallback_models=("scripted/picky",)))).agent
    conversation = await world.store.read(lambda tx: tx.conversations.get(agent.id))
    settings = ModelSettings(provider_type="scripted", temperature=0.5)
    check_agent(Picky(), agent, agent)
    with pytest.raises(InvalidArgument, match="picky"):
        check_agent(Picky(), replace(agent, model_settings=settings), agent)
    with pytest.raises(InvalidArgument, match="picky"):
        check_conversation(
            Picky(), agent, replace(conversation, model_settings=settings, fallback_models=agent.fallback_models)
        )


async def test_an_agent_without_a_model_is_told_where_to_name_one_if_the_default_cannot_be_used(world: World) -> None:
    catalogue = Two()
    catalogue.default_model = "gone/tiny"
    agents = Agents(world.store, catalogue, world.services.toolbox, world.services.runs)
    with pytest.raises(
        InvalidArgument, match=r"'gone/tiny' cannot be used: no provider.*'model'.*TERTULIA_DEFAULT_MODEL"
    ):
        await agents.create(AgentDraft(name="Ada", include_base_tools=False))
    assert (
        await agents.create(AgentDraft(name="Ada", model="scripted/a", include_base_tools=False))
    ).agent.name == "Ada"
