"""How much work strangers can make of a history: counted, not timed."""

from collections.abc import Iterator, Sequence
from typing import Any, overload

import pytest

from tertulia.context.compaction import Wish, plan
from tertulia.context.encoding import count_tokens
from tertulia.domain.messages import Message
from tests.support.histories import message


class Counted(Sequence[float]):
    """Weights that count how often they are looked at."""

    def __init__(self, length: int) -> None:
        self.looks = 0
        self._length = length

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> float: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[float]: ...
    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, int) and index >= self._length:
            raise IndexError
        self.looks += 1
        return 1.0

    def __iter__(self) -> Iterator[float]:
        for index in range(self._length):
            yield self[index]


def looks(history: Sequence[Message], wish: Wish) -> int:
    weights = Counted(len(history))
    plan(history, weights, wish)
    return weights.looks


@pytest.mark.parametrize("resting", [True, False])
@pytest.mark.parametrize("room", [10.0, 5_000.0, 1e9])
@pytest.mark.parametrize("roles", [("user",), ("user", "assistant"), ("system", "user")])
def test_planning_a_cut_looks_at_each_message_a_few_times(
    roles: tuple[Any, ...], room: float, *, resting: bool
) -> None:
    history = [message(roles[index % len(roles)], "x") for index in range(4_000)]
    assert looks(history, Wish(room=room, resting=resting)) <= 4 * len(history)


@pytest.mark.parametrize("text", ["a", " ", " \n", "!", "日", "1", "aB"])
def test_a_text_without_the_end_of_a_word_is_counted(text: str) -> None:
    # The encoding's own expression gives up on a million spaces, with a panic that is no ordinary exception.
    assert 0 < count_tokens(text * 1_000_000) <= len(text) * 1_000_000


def test_a_text_counted_in_pieces_has_about_as_many_tokens() -> None:
    words = "The quick brown fox jumps over the lazy dog. "
    each = count_tokens(words * 2) - count_tokens(words)
    assert count_tokens(words * 4_000) == pytest.approx(4_000 * each, abs=10)
