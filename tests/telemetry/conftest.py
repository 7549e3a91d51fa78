import pytest

from tertulia.ports.telemetry import Telemetry
from tests.support.told import Told


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def watchers(told: Told) -> list[Telemetry]:
    return [told]
