"""What asks real providers: only with TERTULIA_LIVE=1, and only those whose keys the environment has."""

from collections.abc import Iterator

import pytest

from tests.conftest import GUARD, LIVE, REMEMBERED


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without the switch none of this folder is selected."""
    here = [item for item in items if item.path.parent.name == "live"]
    if here and not LIVE:
        config.hook.pytest_deselected(items=here)
        items[:] = [item for item in items if item not in here]


@pytest.fixture(autouse=True)
def outside(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The environment as it was, and the way out, for one test."""
    for name, value in REMEMBERED.items():
        if value:
            monkeypatch.setenv(name, value)
        else:
            monkeypatch.delenv(name, raising=False)
    GUARD.open = True
    yield
    GUARD.open = False
