"""Cuts and summaries: whatever a history is, a cut parts no call from its return, and makes it shorter."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tertulia.context.compaction import Cut, Wish, places, plan
from tertulia.context.pairing import is_paired, paired
from tertulia.context.summaries import as_shown, clipped, extract, pieces, transcript
from tertulia.domain.messages import ApprovalPart, Message, TextPart, ToolCallPart
from tests.support.histories import answer, call, message

_numbers = itertools.count()


def exchange(calls: int, *, said: str = "hm", decided: bool = False) -> list[Message]:
    """A reply that calls tools, what a person said of the calls, and their returns."""
    ids = [f"c{next(_numbers)}" for _ in range(calls)]
    made = [ToolCallPart(id_, "look", "{}", awaits="approval" if decided else None) for id_ in ids]
    decisions = [message("approval", ApprovalPart(id_, approve=True)) for id_ in ids] if decided else []
    return [message("assistant", said, *made), *decisions, *(answer(id_) for id_ in ids)]


def pending(calls: int, answered: int) -> list[Message]:
    ids = [f"c{next(_numbers)}" for _ in range(calls)]
    made = [ToolCallPart(id_, "look", "{}", awaits="client") for id_ in ids]
    return [message("assistant", *made), *(answer(id_) for id_ in ids[:answered])]


def turn(exchanges: list[tuple[int, bool]], questions: int, *, replied: bool) -> list[Message]:
    asked = [message("user", "why?") for _ in range(questions)]
    worked = [each for calls, decided in exchanges for each in exchange(calls, decided=decided)]
    return [*asked, *worked, *([message("assistant", "so")] if replied else [])]


_turns = st.builds(
    turn,
    st.lists(st.tuples(st.integers(1, 3), st.booleans()), max_size=3),
    st.integers(0, 2),
    replied=st.booleans(),
)
_ends = st.one_of(st.just([]), st.builds(pending, st.integers(2, 3), st.integers(0, 1)))


@st.composite
def histories(draw: st.DrawFn) -> list[Message]:
    turns = draw(st.lists(_turns, max_size=6))
    return [*(each for one in turns for each in one), *draw(_ends)]


@st.composite
def any_messages(draw: st.DrawFn) -> list[Message]:
    """Histories in no order at all, as a process that died may leave them."""
    messages = draw(histories())
    return draw(st.permutations(messages))


_wishes = st.builds(
    Wish,
    share=st.floats(0, 1),
    whole=st.booleans(),
    room=st.one_of(st.just(math.inf), st.floats(-100, 200)),
    resting=st.booleans(),
    pinned=st.integers(0, 2),
)


@given(histories(), _wishes, st.integers(1, 20))
def test_a_cut_parts_no_call_from_what_came_of_it_and_makes_the_history_shorter(
    history: list[Message], wish: Wish, weight: int
) -> None:
    cut = plan(history, [weight] * len(history), wish)
    if cut is None:
        return
    gone, stays = history[: cut.start], history[cut.start :]
    called = {made.id for each in gone for made in each.tool_calls}
    came = {part.tool_call_id for each in stays for part in each.tool_returns}
    decided = {part.tool_call_id for each in stays for part in each.content if isinstance(part, ApprovalPart)}
    assert not called & (came | decided)
    if is_paired(history):
        assert is_paired(gone)
        assert is_paired(stays)
    kept = [history[index] for index in cut.kept]
    assert all(each.role in {"user", "system"} for each in kept)
    assert len(kept) + 1 + len(stays) < len(history)
    assert cut.start >= wish.pinned


@given(histories(), _wishes)
def test_calls_that_wait_for_an_answer_stay_in_view(history: list[Message], wish: Wish) -> None:
    cut = plan(history, [1] * len(history), wish)
    returned = {part.tool_call_id for each in history for part in each.tool_returns}
    waiting = {made.id for each in history[-4:] for made in each.tool_calls if made.awaits} - returned
    if cut is not None:
        assert waiting <= {made.id for each in history[cut.start :] for made in each.tool_calls}


@given(any_messages(), _wishes)
def test_a_history_in_disorder_is_cut_to_one_that_providers_accept(history: list[Message], wish: Wish) -> None:
    cut = plan(history, [1] * len(history), wish)
    start = cut.start if cut else 0
    assert is_paired(paired([each for each in history[start:] if each.role != "approval"]))


@given(histories(), st.floats(0, 1))
def test_what_is_not_answered_stays_in_view_if_there_is_room(history: list[Message], share: float) -> None:
    asked = [*history, message("assistant", "so"), message("user", "and now?")]
    cut = plan(asked, [1] * len(asked), Wish(share=share, room=math.inf))
    if cut is not None:
        assert cut.start <= len(asked) - 1 or len(asked) - 1 in cut.kept


def test_the_oldest_share_goes_and_the_cut_falls_before_a_question() -> None:
    history = [message("user" if index % 2 == 0 else "assistant", str(index)) for index in range(20)]
    assert plan(history, [1] * 20, Wish(share=0.3, resting=True)) == Cut(6)
    assert plan(history, [1] * 20, Wish(share=0.5, resting=True)) == Cut(10)
    assert plan(history, [1] * 20, Wish(share=0.31, resting=True)) == Cut(8)
    assert plan(history, [1] * 20, Wish(share=1, resting=True)) == Cut(20)


def test_more_goes_than_the_share_where_room_is_wanted() -> None:
    history = [message("user" if index % 2 == 0 else "assistant", str(index)) for index in range(20)]
    assert plan(history, [10] * 20, Wish(share=0.3, room=60)) == Cut(14)
    assert plan(history, [10] * 20, Wish(share=0.3, room=-5)) == Cut(20)


def test_all_goes_but_a_question_without_an_answer() -> None:
    answered = [message("user", "a"), message("assistant", "b"), message("user", "c"), message("assistant", "d")]
    assert plan(answered, [1] * 4, Wish(whole=True, resting=True)) == Cut(4)
    assert plan(answered[:3], [1] * 3, Wish(whole=True, resting=True)) == Cut(2)
    assert plan(answered[:3], [1] * 3, Wish(whole=True)) == Cut(2)


def test_in_a_long_turn_the_question_is_kept_beside_the_summary() -> None:
    history = [message("user", "go"), *(each for _ in range(5) for each in exchange(1))]
    assert plan(history, [10] * 11, Wish(share=0.3, room=50)) == Cut(7, (0,))
    # A question that takes most of the room goes too, with the summary to tell of it.
    assert plan(history, [60, *[10] * 10], Wish(share=0.3, room=50)) == Cut(7)


def test_there_is_nothing_to_cut_in_too_short_a_history() -> None:
    wish = Wish(share=1, whole=True, resting=True)
    assert plan([], [], wish) is None
    assert plan([message("user", "hi")], [1], wish) is None
    assert plan([message("user", "hi"), *pending(1, 0)], [1, 1], wish) is None


def test_a_call_whose_return_was_lost_does_not_hold_back_what_came_before_and_after() -> None:
    history = [
        message("user", "a"),
        message("assistant", call("lost")),
        message("user", "b"),
        message("assistant", "c"),
    ]
    assert places(history) == [1, 2, 3, 4]


def test_a_transcript_tells_who_said_what_and_what_tools_did() -> None:
    told = transcript([message("user", "look"), *exchange(1, said="I look"), message("summary", "They met.")])
    assert told == [
        "User: look",
        "Assistant: I look\n(calls look with {})",
        "Tool look returned: done",
        "Summary of what came before: They met.",
    ]


@given(st.lists(st.text(max_size=50), max_size=20), st.integers(5, 60))
def test_pieces_hold_everything_and_none_is_too_long(entries: list[str], limit: int) -> None:
    entries = [entry for entry in entries if entry]
    texts = pieces(entries, limit)
    assert all(len(text) <= limit for text in texts)
    assert "".join(texts).replace("\n", "") == "".join(entries).replace("\n", "")


@given(st.text(), st.integers(1, 50), st.integers(10, 100))
def test_clipping_keeps_to_characters_and_bytes(text: str, limit: int, limit_bytes: int) -> None:
    kept = clipped(text, limit, limit_bytes)
    assert len(kept) <= limit
    assert len(kept.encode(errors="replace")) <= limit_bytes


@given(histories(), st.integers(100, 3000))
def test_an_extract_keeps_to_its_limit(history: list[Message], limit: int) -> None:
    assert len(extract(history, limit)) <= limit


def test_an_extract_of_many_messages_has_their_first_and_their_last() -> None:
    history = [message("user", f"fact {index}") for index in range(1000)]
    text = extract(history, 1000)
    assert "fact 0" in text
    assert "fact 999" in text
    assert len(text) > 800


def test_an_extract_of_an_extract_goes_on_being_one_list() -> None:
    first = extract([message("user", "I live in Rome")], 1000)
    second = extract([message("summary", first), message("user", "I sing")], 1000)
    assert second.splitlines()[1:] == ["- User: I live in Rome", "- User: I sing"]


def test_a_summary_is_shown_as_one() -> None:
    shown = as_shown(message("summary", "They met in Rome."))
    assert shown.text.endswith("They met in Rome.")
    assert "summary" in shown.text.splitlines()[0]
    plain = message("user", "hi")
    assert as_shown(plain) is plain
    assert isinstance(shown.content[1], TextPart)


@pytest.mark.parametrize("limit", [1, 5, 100])
def test_an_extract_of_nothing_is_no_failure(limit: int) -> None:
    assert len(extract([], limit)) <= limit
