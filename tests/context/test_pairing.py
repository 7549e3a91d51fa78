"""Pairing: what is shown to a model has a return right after every call, whatever is stored."""

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tertulia.context.pairing import INTERRUPTED, is_paired, paired, unanswered
from tertulia.domain.messages import Message
from tests.support.histories import answer, call, message


def test_a_history_in_order_is_left_as_it_is() -> None:
    history = [message("user", "hi"), message("assistant", call("a"), call("b")), answer("b"), answer("a")]
    assert is_paired(history)
    assert paired(history) == history


def test_a_call_without_a_return_gets_one_that_says_it_was_interrupted() -> None:
    history = [message("assistant", "let me look", call("a")), message("user", "hello?")]
    mended = paired(history)
    assert [m.role for m in mended] == ["assistant", "tool", "user"]
    assert mended[1].tool_returns[0].content == INTERRUPTED
    assert mended[1].tool_returns[0].status == "error"
    assert [part.id for part in unanswered(history)] == ["a"]


def test_a_return_without_a_call_is_not_shown() -> None:
    history = [answer("ghost"), message("user", "hi")]
    assert [m.role for m in paired(history)] == ["user"]


def test_a_return_that_came_late_is_shown_right_after_its_call() -> None:
    late = answer("a", "found it")
    history = [message("assistant", call("a")), message("user", "hello?"), late]
    assert paired(history) == [history[0], late, history[1]]


def test_mending_gives_the_same_ids_every_time_so_that_encoded_messages_can_be_kept() -> None:
    history = [message("assistant", call("a"), call("b")), message("user", "hello?")]
    assert [m.id for m in paired(history)] == [m.id for m in paired(history)]
    assert len({m.id for m in paired(history)}) == len(paired(history))


_ids = st.sampled_from(["a", "b", "c", "d"])
_entries = st.one_of(
    st.just(None),
    st.lists(_ids, min_size=1, max_size=3, unique=True).map(tuple),
    _ids,
)


def _history(entries: list[tuple[str, ...] | str | None]) -> list[Message]:
    seen: set[str] = set()
    history: list[Message] = []
    for number, entry in enumerate(entries):
        if entry is None:
            history.append(message("user", f"message {number}"))
        elif isinstance(entry, tuple):
            fresh = [id_ for id_ in entry if id_ not in seen]
            seen.update(fresh)
            history.append(message("assistant", "text", *map(call, fresh)))
        else:
            history.append(answer(entry))
    return history


@given(st.lists(_entries, max_size=12))
def test_any_history_becomes_one_that_providers_accept(entries: list[tuple[str, ...] | str | None]) -> None:
    history = _history(entries)
    mended = paired(history)
    assert is_paired(mended)
    assert [m for m in mended if m.role != "tool"] == [m for m in history if m.role != "tool"]


def test_a_mended_return_has_no_other_messages_id_whatever_the_ids_are() -> None:
    for last_digits in ("00", "80", "81"):
        caller = replace(
            message("assistant", call("a"), call("b")), id=f"message-{'0' * 8}-0000-0000-0000-{'0' * 10}{last_digits}"
        )
        assert len({m.id for m in paired([caller, message("user", "hello?")])}) == 4
