"""What every provider adapter does, whatever it speaks to its models."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import AbstractContextManager, aclosing
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs

from tertulia.domain.errors import ProviderConnectionLost, ProviderEmptyReply, ProviderError
from tertulia.domain.messages import Message, TextPart
from tertulia.domain.runs import Usage
from tertulia.ports.provider import (
    Finished,
    ModelRequest,
    ProviderEvent,
    ReasoningPiece,
    TextPiece,
    ToolCallPiece,
)
from tests.contracts.providers.harness import FAILURES, HARNESSES, FailureName, Harness

USAGE = Usage(prompt_tokens=20, completion_tokens=5, total_tokens=25, cached_input_tokens=8, reasoning_tokens=2)
UNCOUNTED_REASONING = {"bedrock"}
"""The types of providers that do not tell how much of a reply was reasoning."""
CACHE_WRITES_COUNTED = {"anthropic", "bedrock"}

REQUEST = ModelRequest(
    model="gpt-4o-mini",
    system="You are terse.",
    messages=[
        Message(
            id="message-1",
            agent_id="agent-1",
            conversation_id="conv-1",
            role="user",
            content=(TextPart("Hello"),),
            created_at=datetime(2026, 1, 1, tzinfo=UTC),
        )
    ],
)


@pytest.fixture(scope="module", params=HARNESSES, ids=lambda make: make.__name__)
def far_end(request: pytest.FixtureRequest) -> Iterator[Any]:
    make: AbstractContextManager[Harness] = request.param()
    with make as harness:
        yield harness


@pytest.fixture
async def harness(far_end: Harness) -> AsyncGenerator[Harness, None]:
    yield far_end
    far_end.check()
    await far_end.provider.close()


async def events_of(harness: Harness) -> list[ProviderEvent]:
    async with aclosing(harness.provider.stream(REQUEST)) as stream:
        return [event async for event in stream]


def joined_calls(events: list[ProviderEvent]) -> dict[int, tuple[str | None, str | None, str]]:
    calls: dict[int, tuple[str | None, str | None, str]] = {}
    for event in events:
        if isinstance(event, ToolCallPiece):
            if event.index not in calls:
                calls[event.index] = (event.id, event.name, "")
            else:
                assert (event.id, event.name) == (None, None), "id and name come with the first piece alone"
            id_, name, arguments = calls[event.index]
            calls[event.index] = (id_, name, arguments + event.arguments)
    return calls


async def test_text_comes_piece_by_piece_and_the_end_comes_last(harness: Harness) -> None:
    harness.replies(TextPiece("Good "), TextPiece("morning"), usage=USAGE)
    *pieces, finished = await events_of(harness)
    assert pieces == [TextPiece("Good "), TextPiece("morning")]
    assert isinstance(finished, Finished)
    uncounted = harness.provider.provider_type in UNCOUNTED_REASONING
    told = structs.replace(USAGE, reasoning_tokens=None) if uncounted else USAGE
    assert (finished.reason, finished.usage) == ("stop", told)


async def test_what_went_into_a_cache_is_told_where_it_is_counted(harness: Harness) -> None:
    if harness.provider.provider_type not in CACHE_WRITES_COUNTED:
        pytest.skip("its provider writes its cache by itself and does not say how much")
    harness.replies(TextPiece("hi"), usage=structs.replace(USAGE, cache_write_tokens=4))
    finished = (await events_of(harness))[-1]
    assert isinstance(finished, Finished)
    assert finished.usage is not None
    assert (finished.usage.cached_input_tokens, finished.usage.cache_write_tokens) == (8, 4)
    assert finished.usage.prompt_tokens == 24, "all that was read, from a cache or not"


async def test_reasoning_is_told_apart_from_text(harness: Harness) -> None:
    harness.replies(ReasoningPiece("Hm. "), ReasoningPiece("Yes."), TextPiece("Yes"), usage=USAGE)
    assert (await events_of(harness))[:-1] == [ReasoningPiece("Hm. "), ReasoningPiece("Yes."), TextPiece("Yes")]


async def test_a_reply_that_was_too_long_says_so(harness: Harness) -> None:
    harness.replies(TextPiece("Once upon"), usage=USAGE, reason="length")
    finished = (await events_of(harness))[-1]
    assert isinstance(finished, Finished)
    assert finished.reason == "length"


async def test_parallel_tool_calls_come_in_interleaved_pieces_that_keep_their_index(harness: Harness) -> None:
    harness.replies(
        TextPiece("Let me see."),
        ToolCallPiece(0, "", "call_a", "search"),
        ToolCallPiece(1, '{"city"', "call_b", "weather"),
        ToolCallPiece(0, '{"query": "é'),
        ToolCallPiece(1, ': "Lima"}'),
        ToolCallPiece(0, '"}'),
        usage=USAGE,
        reason="tool_calls",
    )
    events = await events_of(harness)
    assert joined_calls(events) == {
        0: ("call_a", "search", '{"query": "é"}'),
        1: ("call_b", "weather", '{"city": "Lima"}'),
    }
    finished = events[-1]
    assert isinstance(finished, Finished)
    assert finished.reason == "tool_calls"


# The far end is made once for the module; each example scripts it anew.
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(st.characters(exclude_categories=["Cs"]), min_size=1), cuts=st.lists(st.integers(0, 50)))
async def test_any_text_arrives_whole_wherever_it_is_cut(harness: Harness, text: str, cuts: list[int]) -> None:
    edges = [0, *sorted(cut for cut in cuts if cut < len(text)), len(text)]
    pieces = [text[start:end] for start, end in pairwise(edges) if start < end]
    harness.replies(*map(TextPiece, pieces), usage=USAGE)
    events = await events_of(harness)
    assert "".join(event.text for event in events if isinstance(event, TextPiece)) == text


async def test_a_character_that_is_cut_in_two_arrives_whole(harness: Harness) -> None:
    if harness.provider.name == "scripted":
        pytest.skip("it sends no JSON")
    high, low = "\ud83d", "\ude00"
    harness.replies(
        ReasoningPiece(f"r{high}"),
        ReasoningPiece(f"{low}r"),
        TextPiece(f"hi {high}"),
        TextPiece(f"{low}!"),
        ToolCallPiece(0, "", "call_a", "search"),
        ToolCallPiece(0, '{"query": "' + high),
        ToolCallPiece(0, low + '"}'),
        usage=USAGE,
        reason="tool_calls",
    )
    events = await events_of(harness)
    assert "".join(event.text for event in events if isinstance(event, ReasoningPiece)) == "r😀r"
    assert "".join(event.text for event in events if isinstance(event, TextPiece)) == "hi 😀!"
    assert msgspec.json.decode(joined_calls(events)[0][2]) == {"query": "😀"}
    finished = events[-1]
    assert isinstance(finished, Finished)
    assert msgspec.json.encode(finished.reply), "a trace that can be kept"


@pytest.mark.parametrize("failure", FAILURES)
async def test_a_refusal_is_a_typed_error_with_words_for_the_user(harness: Harness, failure: FailureName) -> None:
    harness.fails(failure)
    with pytest.raises(FAILURES[failure]) as caught:
        await events_of(harness)
    assert caught.value.message
    assert caught.value.detail


async def test_an_empty_reply_is_a_failure_that_may_pass(harness: Harness) -> None:
    harness.replies(usage=USAGE)
    with pytest.raises(ProviderEmptyReply, match="empty reply") as caught:
        await events_of(harness)
    assert caught.value.may_pass
    assert "empty content in" in caught.value.detail


async def test_a_rate_limit_says_when_to_come_back(harness: Harness) -> None:
    harness.fails("rate limit")
    with pytest.raises(ProviderError) as caught:
        await events_of(harness)
    assert caught.value.retry_after == 7


async def test_what_came_before_the_connection_broke_is_not_lost(harness: Harness) -> None:
    harness.breaks_off(TextPiece("Once "), TextPiece("upon"))
    events: list[ProviderEvent] = []

    async def read() -> None:
        async for event in harness.provider.stream(REQUEST):
            events.append(event)  # noqa: PERF401  what came must outlive the exception

    with pytest.raises(ProviderConnectionLost):
        await read()
    assert events == [TextPiece("Once "), TextPiece("upon")]


@pytest.mark.parametrize("failure", FAILURES)
async def test_after_a_failure_the_next_request_works(harness: Harness, failure: FailureName) -> None:
    harness.fails(failure)
    with pytest.raises(ProviderError):
        await events_of(harness)
    harness.replies(TextPiece("better"), usage=USAGE)
    assert (await events_of(harness))[0] == TextPiece("better")


async def test_closing_the_iterator_frees_the_connection_at_once(harness: Harness) -> None:
    harness.stalls(TextPiece("Once"))
    async with aclosing(harness.provider.stream(REQUEST)) as stream:
        assert await anext(stream) == TextPiece("Once")
    await harness.noticed_leaving()


async def test_cancelling_the_reader_frees_the_connection_at_once(harness: Harness) -> None:
    harness.stalls(TextPiece("Once"))
    reading = asyncio.Event()

    async def read() -> None:
        async with aclosing(harness.provider.stream(REQUEST)) as stream:
            async for _ in stream:
                reading.set()

    task = asyncio.create_task(read())
    await reading.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await harness.noticed_leaving()


async def test_encoding_the_same_request_twice_gives_the_same_bytes(harness: Harness) -> None:
    assert harness.provider.encode(REQUEST) == harness.provider.encode(REQUEST)


async def test_the_models_on_offer_have_handles_under_the_providers_name(harness: Harness) -> None:
    cards = await harness.provider.models()
    assert cards
    for card in cards:
        assert card.handle == f"{harness.provider.name}/{card.name}"
        assert card.provider_name == harness.provider.name
        assert card.context_window > 0
        assert harness.provider.card(card.name) == card
