"""How many tokens something has."""

import subprocess
import sys
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tertulia.context import budget
from tertulia.context.budget import TokenMeter, count_tokens
from tertulia.context.encoding import DamagedData, checked_ranks
from tertulia.domain.messages import (
    ImagePart,
    Message,
    NativePart,
    OmittedReasoningPart,
    Part,
    ReasoningPart,
    Role,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UrlImage,
)
from tertulia.domain.tools import ToolSpec

MODEL = "openai/gpt-4o"
TOOL = ToolSpec(
    id="tool-1", name="search", description="Finds things.", parameters={"type": "object"}, tool_type="letta_core"
)


def message(id_: str, *parts: Part, role: Role = "user") -> Message:
    return Message(
        id=id_,
        agent_id="agent-1",
        conversation_id="conv-1",
        role=role,
        content=parts,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


def texts(count: int, words: str = "The quick brown fox jumps over the lazy dog.") -> list[Message]:
    return [message(f"message-{index}", TextPart(words)) for index in range(count)]


# Counts that OpenAI's own tokenizer gives.
@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", 0),
        ("hello world", 2),
        ("tiktoken is great!", 6),
        ("antidisestablishmentarianism", 6),
        ("2 + 2 = 4", 7),
        ("お誕生日おめでとう", 8),
        ("<|endoftext|>", 7),
    ],
)
def test_tokens_are_counted_as_openai_counts_them(text: str, tokens: int) -> None:
    assert count_tokens(text) == tokens


def test_damaged_data_is_refused() -> None:
    with pytest.raises(DamagedData, match="cannot be read"):
        checked_ranks(b"not xz at all")


def test_data_of_another_hash_is_refused() -> None:
    import lzma  # noqa: PLC0415  for this test alone

    with pytest.raises(DamagedData, match="hash"):
        checked_ranks(lzma.compress(b"IQ== 0\n"))


@pytest.mark.parametrize(
    "text",
    [
        "Memory is what the conversation leaves behind, and an agent without it begins anew every morning. " * 20,
        "La tertulia es una reunión de personas que se juntan habitualmente para conversar. " * 20,
        "Разговор продолжается, и память о нём остаётся надолго у тех, кто слушал внимательно. " * 20,
        "对话会继续，记忆会留下来，代理会在早晨重新开始，因为他记得昨天的话。" * 20,
        '{"name": "search", "arguments": {"query": "weather in Lima", "limit": 5}}, ' * 20,
    ],
    ids=["English", "Spanish", "Russian", "Chinese", "JSON"],
)
def test_an_estimate_is_within_a_factor_of_two_of_the_count(text: str) -> None:
    estimate = TokenMeter().estimate(MODEL, [message("message-1", TextPart(text))])
    assert 0.5 < estimate / count_tokens(text) < 2


def test_everything_a_request_holds_is_estimated() -> None:
    meter = TokenMeter()
    parts: tuple[Part, ...] = (
        TextPart("word " * 40),
        ReasoningPart("word " * 40),
        ToolCallPart("a", "search", '{"query": "' + "word " * 40 + '"}'),
        ToolReturnPart("a", "search", "word " * 40),
        ToolReturnPart("a", "search", (TextPart("word " * 40), ImagePart(UrlImage("https://example.org/a.png")))),
        ImagePart(UrlImage("https://example.org/a.png")),
        NativePart("openai", {"text": "word " * 40}),
    )
    for index, part in enumerate(parts):
        assert meter.estimate(MODEL, [message(f"message-{index}", part)]) > 40
    assert meter.estimate(MODEL, [message("message-hidden", OmittedReasoningPart())]) < 10
    assert meter.estimate(MODEL, [], system="word " * 40) > 40
    assert meter.estimate(MODEL, [], tools=[TOOL]) > 5


@given(lengths=st.lists(st.integers(1, 50), min_size=1, max_size=10))
def test_an_estimate_never_shrinks_when_messages_are_added(lengths: list[int]) -> None:
    meter = TokenMeter()
    history = [message(f"message-{index}", TextPart("x" * length)) for index, length in enumerate(lengths)]
    estimates = [meter.estimate(MODEL, history[:end]) for end in range(1, len(history) + 1)]
    assert estimates == sorted(estimates)


def test_the_first_reply_corrects_the_estimate_and_later_ones_smooth_it() -> None:
    meter = TokenMeter()
    history = texts(50)
    actual = meter.estimate(MODEL, history) * 3 // 2
    meter.observe(MODEL, meter.estimate(MODEL, history), actual)
    assert meter.estimate(MODEL, history) == pytest.approx(actual, rel=0.01)
    meter.observe(MODEL, meter.estimate(MODEL, history), actual * 2)
    assert actual < meter.estimate(MODEL, history) < actual * 2
    for _ in range(20):
        meter.observe(MODEL, meter.estimate(MODEL, history), actual * 2)
    assert meter.estimate(MODEL, history) == pytest.approx(actual * 2, rel=0.02)


def test_models_are_corrected_apart() -> None:
    meter = TokenMeter()
    before = meter.estimate("other/model", texts(5))
    meter.observe(MODEL, 100, 200)
    assert meter.estimate("other/model", texts(5)) == before


@pytest.mark.parametrize(("estimated", "actual"), [(100, 0), (0, 100), (-1, 5)])
def test_a_reply_without_usage_corrects_nothing(estimated: int, actual: int) -> None:
    meter = TokenMeter()
    before = meter.estimate(MODEL, texts(5))
    meter.observe(MODEL, estimated, actual)
    assert meter.estimate(MODEL, texts(5)) == before


def test_a_provider_that_counts_nonsense_does_not_break_the_estimates() -> None:
    meter = TokenMeter()
    before = meter.estimate(MODEL, texts(50))
    for _ in range(50):
        meter.observe(MODEL, 1_000_000, 1)
    assert meter.estimate(MODEL, texts(50)) >= before // 6


async def test_far_from_the_window_nothing_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(_text: str) -> int:
        raise AssertionError

    monkeypatch.setattr(budget, "count_tokens", never)
    meter = TokenMeter()
    assert await meter.measure(MODEL, texts(10), window=32_000) == meter.estimate(MODEL, texts(10))


async def test_near_the_window_tokens_are_counted() -> None:
    words = "The quick brown fox jumps over the lazy dog."
    measured = await TokenMeter().measure(MODEL, texts(10, words), window=100, system=words, tools=[TOOL])
    assert count_tokens(words) * 11 < measured < count_tokens(words) * 11 + 10 * 5 + 30


async def test_near_the_window_the_larger_number_counts_for_a_model_that_was_seen() -> None:
    meter = TokenMeter()
    meter.observe(MODEL, 100, 300)
    history = texts(10)
    assert await meter.measure(MODEL, history, window=100) == meter.estimate(MODEL, history)


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "_KEPT", 10)
    meter = TokenMeter()
    assert meter.estimate(MODEL, texts(25)) == meter.estimate(MODEL, texts(25))
    assert len(meter._lengths) <= 10


def test_models_that_a_client_makes_up_are_not_kept_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "_MODELS_KEPT", 10)
    meter = TokenMeter()
    for number in range(100):
        meter.observe(MODEL, 100, 300)  # asked all the time
        meter.observe(f"box/{number}", 100, 300)
    assert len(meter._corrections) <= 10
    assert meter.estimate(MODEL, texts(1)) > meter.estimate("box/0", texts(1))  # which was forgotten


def test_estimating_loads_no_encoding() -> None:
    code = (
        "import sys; from tertulia.context.budget import TokenMeter; "
        "TokenMeter().estimate('m', (), system='hello'); sys.exit('tiktoken' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_of_replies_each_model_is_counted_what_it_is_sent() -> None:
    meter = TokenMeter()
    reply = message("message-1", ReasoningPart("words " * 400), TextPart("yes"), role="assistant")
    asked = message("message-2", TextPart("and?"))
    whole = meter.estimate(MODEL, [reply, asked])
    less = meter.estimate("other/model", [reply, asked], sent=lambda each: each.content[-1:])
    assert whole - less == 600
    assert meter.estimate(MODEL, [reply, asked]) == whole
