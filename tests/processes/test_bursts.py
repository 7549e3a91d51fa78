"""A model that outruns the store, and readers of it: the short form of ``bench.bursts``."""

import json

import pytest

from bench import bursts


@pytest.mark.parametrize("database", [[], ["--postgres"]], ids=["sqlite", "postgresql"])
def test_every_reader_of_a_burst_over_a_stalled_store_has_every_delta_once_and_in_order(
    database: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["--tokens", "3000", "--readers", "6", "--blocking", "1", "--stall", "1", *database]
    assert bursts.main(asked) == 0, capsys.readouterr().out
    outcome = json.loads(capsys.readouterr().out)
    assert outcome["runs"] == {"completed": 3}
    assert {kind.partition(": ")[2] for kind in outcome["readers"]} == {"whole"}
