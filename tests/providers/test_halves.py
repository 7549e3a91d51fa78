"""Characters that servers cut in two."""

import json
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tertulia.ports.provider import Finished, NativeItem, ProviderEvent, ReasoningPiece, TextPiece, ToolCallPiece
from tertulia.providers.halves import Halves

HIGH, LOW = "\ud83d", "\ude00"


def sent(*texts: str) -> list[str]:
    """The texts as a server sends them in JSON and we read them, halves of characters with them."""
    halves = Halves()
    read = [msgspec.json.decode(halves.mend(json.dumps(text).encode()), type=str) for text in texts]
    return [event.text for text in read for event in halves.joined(TextPiece(text)) if isinstance(event, TextPiece)]


def joined(*events: ProviderEvent) -> list[ProviderEvent]:
    halves = Halves()
    return [each for event in events for each in halves.joined(event)]


def test_a_pair_that_is_split_over_two_deltas_is_one_character() -> None:
    assert sent(f"hi {HIGH}", f"{LOW}!") == ["hi ", "😀!"]


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), st.lists(st.integers(0, 60)))
def test_any_text_arrives_whole_however_its_code_units_are_cut(text: str, cuts: list[int]) -> None:
    units = text.encode("utf-16-le")
    edges = [0, *sorted(2 * cut for cut in cuts if 2 * cut < len(units)), len(units)]
    pieces = [units[start:end].decode("utf-16-le", "surrogatepass") for start, end in pairwise(edges)]
    assert "".join(sent(*pieces)) == text


@pytest.mark.parametrize("texts", [(f"a{LOW}", "b"), (f"a{HIGH}", "b"), (f"{HIGH}{HIGH}", f"{LOW}"), (LOW,)])
def test_half_a_character_that_stays_alone_is_replaced_once(texts: tuple[str, ...]) -> None:
    whole = "".join(sent(*texts))
    whole.encode()
    assert whole.count("\ufffd") == 1


def test_what_looks_like_an_escape_and_is_none_is_left_alone() -> None:
    assert sent("\\ud83d", "\\\\ud83d \\ud83d\\ude00") == ["\\ud83d", "\\\\ud83d \\ud83d\\ude00"]


def test_a_half_at_the_end_comes_before_the_end() -> None:
    end = Finished(reason="stop", usage=None, reply={"content": f"a{HIGH}"})
    told = joined(TextPiece(f"a{HIGH}"), end)
    assert told[:2] == [TextPiece("a"), TextPiece("\ufffd")]
    assert told[2] == Finished(reason="stop", usage=None, reply={"content": "a\ufffd"})


def test_each_call_and_each_kind_of_text_has_halves_of_its_own() -> None:
    told = joined(
        ReasoningPiece(f"r{HIGH}"),
        TextPiece(f"t{HIGH}"),
        ToolCallPiece(0, f"x{HIGH}", "a", "f"),
        ToolCallPiece(1, f"y{HIGH}", "b", "f"),
        ToolCallPiece(0, f"{LOW}x"),
        ToolCallPiece(1, f"{LOW}y"),
        NativeItem({"text": HIGH + LOW}),
    )
    assert told == [
        ReasoningPiece("r"),
        ReasoningPiece("\ufffd"),
        TextPiece("t"),
        TextPiece("\ufffd"),
        ToolCallPiece(0, "x", "a", "f"),
        ToolCallPiece(1, "y", "b", "f"),
        ToolCallPiece(0, "😀x"),
        ToolCallPiece(1, "😀y"),
        NativeItem({"text": "😀"}),
    ]


def test_private_characters_of_a_reply_without_halves_are_left_alone() -> None:
    assert joined(TextPiece("\U0010d83d")) == [TextPiece("\U0010d83d")]
