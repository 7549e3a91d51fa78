import json
import signal
import urllib.request
from pathlib import Path

import pytest

from tests.cli.server import TIMEOUT, serving, start

pytestmark = pytest.mark.slow


def test_the_ready_line_names_an_address_that_answers(tmp_path: Path) -> None:
    with serving(tmp_path) as (_, url), urllib.request.urlopen(f"{url}/v1/health/", timeout=TIMEOUT) as reply:
        assert json.loads(reply.read())["status"] == "ok"


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_server_without_complaint(tmp_path: Path, stop: signal.Signals) -> None:
    with serving(tmp_path) as (process, _):
        process.send_signal(stop)
        _, errors = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0
    assert "Traceback" not in errors


def test_a_data_directory_has_one_server(tmp_path: Path) -> None:
    with serving(tmp_path):
        second = start(tmp_path)
        output, errors = second.communicate(timeout=TIMEOUT)
    assert (second.returncode, output) == (2, "")
    assert errors.startswith("Error: ")
    assert str(tmp_path) in errors
    assert "Traceback" not in errors


def test_the_data_directory_belongs_to_its_owner_alone(tmp_path: Path) -> None:
    with serving(tmp_path / "data"):
        assert (tmp_path / "data").stat().st_mode & 0o077 == 0


def test_logs_are_json_lines_where_no_terminal_is(tmp_path: Path) -> None:
    with serving(tmp_path, TERTULIA_LOG_LEVEL="debug", TERTULIA_PROT="1") as (process, _):
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=TIMEOUT)
    events = [json.loads(line) for line in errors.splitlines()]
    assert any(event.get("variable") == "TERTULIA_PROT" and event["level"] == "warning" for event in events)
