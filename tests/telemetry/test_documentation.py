"""The page for those who run a server names every figure, and none that there is not."""

import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tertulia.telemetry.metrics import Metrics

pytestmark = pytest.mark.anyio

PAGE = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()


async def test_the_table_of_metrics_is_complete_and_true() -> None:
    text = (await Metrics().render()).decode()
    families = list(text_string_to_metric_families(text))
    made = {f"{family.name}_total" if family.type == "counter" else family.name for family in families}
    told = set(re.findall(r"^\| `(tertulia_\w+)` \|", PAGE, re.MULTILINE))
    assert told == {name for name in made if name.startswith("tertulia_")}


async def test_alerts_are_about_figures_that_there_are() -> None:
    text = (await Metrics().render()).decode()
    names = set(re.findall(r"^# TYPE (\w+)", text, re.MULTILINE))
    used = {re.sub(r"_bucket$", "", name) for name in re.findall(r"\btertulia_\w+", PAGE)}
    assert used <= names
