"""Joining deltas into whole messages, for readers that do not want tokens."""

from hypothesis import given
from hypothesis import strategies as st

from tertulia.domain.events import Ended, Event, ReasoningDelta, RunStarted, Stopped, TextDelta, ToolCallDelta
from tertulia.engine.joiner import Joiner
from tertulia.ports.event_log import Numbered


def _text(text: str, message: str = "m1") -> TextDelta:
    return TextDelta(message, f"{message}-text", "step-1", 1.0, text)


def _call(id_: str, arguments: str) -> ToolCallDelta:
    return ToolCallDelta("m1", f"m1-{id_}", "step-1", 1.0, id_, "look", arguments)


def _numbered(*events: Event) -> list[Numbered]:
    return list(enumerate(events, 1))


def test_the_deltas_of_a_message_become_one_with_the_last_sequence_id() -> None:
    joined = Joiner().push(_numbered(RunStarted("run-1", 1.0), _text("he"), _text("llo"), Stopped("end_turn"), Ended()))
    assert joined == [
        (1, RunStarted("run-1", 1.0)),
        (3, _text("hello")),
        (4, Stopped("end_turn")),
        (5, Ended()),
    ]


def test_pieces_of_parallel_calls_that_alternate_are_told_apart() -> None:
    joined = Joiner().push(_numbered(_call("a", "{"), _call("b", "["), _call("a", "}"), _call("b", "]"), Ended()))
    assert [event for _, event in joined] == [_call("a", "{}"), _call("b", "[]"), Ended()]


def test_a_message_of_the_next_step_closes_the_one_before() -> None:
    joined = Joiner().push(_numbered(_text("one"), _text("two", "m2")))
    assert joined == [(1, _text("one"))]


def test_a_signature_that_comes_last_is_kept() -> None:
    pieces = [ReasoningDelta("m1", "o", "s", 1.0, "hm"), ReasoningDelta("m1", "o", "s", 1.0, "", "signed")]
    joined = Joiner().push(_numbered(*pieces, Ended()))
    assert joined[0] == (2, ReasoningDelta("m1", "o", "s", 1.0, "hm", "signed"))


@given(st.lists(st.text(min_size=1), min_size=1), st.data())
def test_however_the_log_is_cut_into_batches_the_messages_are_the_same(texts: list[str], data: st.DataObject) -> None:
    log = _numbered(*(_text(text) for text in texts), Stopped("end_turn"), Ended())
    cut = data.draw(st.integers(0, len(log)))
    joiner = Joiner()
    assert joiner.push(log[:cut]) + joiner.push(log[cut:]) == Joiner().push(log)
