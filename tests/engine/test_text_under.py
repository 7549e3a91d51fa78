"""The text under a name of a JSON object in pieces: the same however it is cut, whatever stands beside it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tertulia.domain.json_stream import TextUnder

_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=5), _json, max_size=3), st.text(), st.data())
def test_any_cut_of_the_arguments_gives_the_same_text(others: dict[str, Any], said: str, data: st.DataObject) -> None:
    members = list({**others, "message": said}.items())
    text = json.dumps(dict(data.draw(st.permutations(members))), ensure_ascii=data.draw(st.booleans()))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    reader = TextUnder("message")
    pieces = [text[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert "".join(map(reader.feed, pieces)) == said


@pytest.mark.parametrize(
    "text", ["[1]", "nonsense", '{"message": 5}', '{"message": {"message": "x"}}', '{"a" "b"}', ""]
)
def test_what_says_nothing_gives_nothing(text: str) -> None:
    assert TextUnder("message").feed(text) == ""


def test_what_came_so_far_is_told_at_once() -> None:
    reader = TextUnder("message")
    assert [reader.feed(piece) for piece in ('{"mess', 'age": "He', "l", "lo\\", 'n"', ', "x": 1}')] == [
        "",
        "He",
        "l",
        "lo",
        "\n",
        "",
    ]
