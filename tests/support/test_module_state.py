import sys
from collections.abc import Iterator
from types import MappingProxyType, ModuleType

import pytest

from tests.support.module_state import ModuleState

NAME = "tertulia.made_for_a_test"


@pytest.fixture
def module() -> Iterator[ModuleType]:
    made = ModuleType(NAME)
    made.__dict__.update(
        START=MappingProxyType({"headers": [(b"a", b"b")]}),
        PLAIN={"a": {"b": {1}}},
        KEPT=({"a": 1},),
        Thing=type("Thing", (), {"__module__": NAME, "seen": []}),
    )
    sys.modules[NAME] = made
    yield made
    del sys.modules[NAME]


def test_nothing_is_said_of_what_stays_as_it_was(module: ModuleType) -> None:
    state = ModuleState()
    assert state.look() == []
    assert state.look() == []
    assert module.PLAIN


def test_what_is_left_is_named_once_however_deep_it_lies(module: ModuleType) -> None:
    state = ModuleState()
    state.look()
    module.START["headers"].append((b"x-request-id", b"1"))
    module.PLAIN["a"]["b"].add(2)
    module.KEPT[0]["a"] = True  # equal to 1, and not the same
    module.Thing.seen.append(None)
    assert state.look() == [f"{NAME}.{name}" for name in ("START", "PLAIN", "KEPT", "Thing.seen")]
    assert state.look() == []
