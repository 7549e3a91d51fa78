"""Names of tools on the wire."""

import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tertulia.providers.encoding.tool_names import own_names, tool_name
from tests.support.tool_specs import SEARCH

TAKEN = re.compile(r"[a-zA-Z_][a-zA-Z0-9_-]{0,63}")


@pytest.mark.parametrize("name", ["search", "user-profile_update", "_x", "A" * 64])
def test_a_name_that_every_provider_takes_is_sent_as_it_is(name: str) -> None:
    assert tool_name(name) == name


@given(st.text(min_size=1, max_size=100))
def test_any_name_becomes_one_that_every_provider_takes(name: str) -> None:
    assert TAKEN.fullmatch(tool_name(name))


@given(st.lists(st.text("ab._-/é1", min_size=1, max_size=80), unique=True))
def test_no_two_names_become_one(names: list[str]) -> None:
    assert len({*map(tool_name, names)}) == len(names)


def test_the_way_back_knows_what_was_changed_and_nothing_else() -> None:
    names = ["search", "calendar.respondToEvent", "calendar/respondToEvent", "поиск", "x" * 70]
    tools = [msgspec.structs.replace(SEARCH, name=name) for name in names]
    back = own_names(tools)
    assert {*back.values()} == {*names[1:]}
    assert all(tool_name(own) == wire for wire, own in back.items())
