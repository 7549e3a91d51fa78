import pytest
from hypothesis import given
from hypothesis import strategies as st

from tertulia.api.pages import page, slice_of
from tertulia.domain.errors import NotFound

IDS = ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    ("limit", "after", "before", "ascending", "expected"),
    [
        (None, None, None, True, "abcd"),
        (None, None, None, False, "dcba"),
        (2, None, None, True, "ab"),
        (2, None, None, False, "dc"),
        (2, "b", None, True, "cd"),
        (2, "c", None, False, "ba"),
        (None, None, "c", True, "ab"),
        (1, None, "c", True, "b"),
        (1, None, "b", False, "c"),
        (None, "a", "d", True, "bc"),
        (None, "d", "a", True, ""),
        (0, None, None, True, ""),
        (2, "", "", True, "ab"),
    ],
)
def test_a_page_goes_on_after_one_cursor_and_stops_short_of_the_other(
    limit: int | None, after: str | None, before: str | None, ascending: bool, expected: str
) -> None:
    chosen = slice_of(IDS, page(limit, after, before, ascending=ascending))
    assert "".join(IDS[i] for i in chosen) == expected


def test_a_cursor_that_names_nothing_is_not_found() -> None:
    with pytest.raises(NotFound):
        slice_of(IDS, page(None, "z", None, ascending=True))


@given(st.lists(st.uuids().map(str), unique=True, max_size=20), st.integers(1, 7), st.booleans())
def test_pages_put_together_are_the_whole_list(ids: list[str], limit: int, ascending: bool) -> None:
    seen: list[str] = []
    while chosen := [ids[i] for i in slice_of(ids, page(limit, seen[-1] if seen else None, None, ascending=ascending))]:
        seen += chosen
    assert seen == (ids if ascending else ids[::-1])
