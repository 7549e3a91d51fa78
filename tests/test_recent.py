"""What is kept of what was used last."""

from hypothesis import given
from hypothesis import strategies as st

from tertulia.domain.recent import Recent

KEYS = st.sampled_from("abcdefgh")
USES = st.lists(st.tuples(KEYS, st.one_of(st.none(), st.integers(1, 4))))


@given(USES)
def test_it_never_weighs_more_than_its_bound_and_gives_back_what_was_put_last(
    uses: list[tuple[str, int | None]],
) -> None:
    kept, truth = Recent[int](8, lambda value: value), dict[str, int]()
    for key, value in uses:
        if value is None:
            assert kept.get(key) in (None, truth.get(key))
        else:
            kept.put(key, value)
            truth[key] = value
            assert kept.get(key) == value
        held = [truth[key] for key in {*kept._young, *kept._old}]
        assert len(kept) == len(held)
        assert sum(held) <= 8


@given(USES)
def test_what_was_used_since_half_of_it_was_filled_is_still_there(uses: list[tuple[str, int | None]]) -> None:
    kept = Recent[int](8)
    last = dict[str, None]()
    for key, value in uses:
        if value is None and kept.get(key) is None:
            continue
        if value is not None:
            kept.put(key, value)
        last.pop(key, None)
        last[key] = None
        assert all(kept.get(used) is not None for used in list(last)[-4:])


def test_what_is_heavier_than_half_of_it_is_not_kept() -> None:
    kept = Recent[bytes](10, len)
    kept.put("a", b"12345")
    kept.put("b", b"123456")
    assert (kept.get("a"), kept.get("b")) == (b"12345", None)
