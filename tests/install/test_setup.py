"""`make setup` where something is wrong: words that say what to do, and a next attempt that starts over."""

import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.install.scripts import REQUIREMENTS, ROOT, script

install: Any = script("install")


def make(directory: Path, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["make", "--no-print-directory", "-C", directory, *arguments],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with our Makefile and setup, in a path as people have them, whose lock is one small package."""
    place = tmp_path / "Ein Übungs projekt"
    (place / "requirements").mkdir(parents=True)
    shutil.copy(ROOT / "Makefile", place)
    for name in ("install.py", "check.py"):
        shutil.copy(REQUIREMENTS / name, place / "requirements")
    wheel(place / "wheels", "tiny")
    (place / "requirements" / "weights.lock").touch()
    (place / "pyproject.toml").touch()
    return place


def wheel(directory: Path, name: str) -> None:
    directory.mkdir(exist_ok=True)
    with zipfile.ZipFile(directory / f"{name}-1.0-py3-none-any.whl", "w") as archive:
        about = f"{name}-1.0.dist-info"
        archive.writestr(f"{name}.py", "")
        archive.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{about}/RECORD", "")


def pin(project: Path, digest: str | None = None) -> None:
    digest = digest or hashlib.sha256((project / "wheels" / "tiny-1.0-py3-none-any.whl").read_bytes()).hexdigest()
    lock = project / "requirements" / "dev.lock"
    lock.write_text(f"tiny==1.0 \\\n    --hash=sha256:{digest}\n", encoding="utf-8")


def setup(project: Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    wheels = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": (project / "wheels").as_uri(), "PIP_CONFIG_FILE": os.devnull}
    # What a user's settings of pip would have it do instead.
    others = {"PIP_USER": "1", "PIP_TARGET": str(project / "elsewhere"), "PYTHONPATH": str(project / "wheels")}
    return make(project, "setup", f"PYTHON={sys.executable}", **{**wheels, **others, **variables})


def test_a_file_that_is_not_the_lock_s_is_refused_and_the_log_named(project: Path) -> None:
    pin(project, "0" * 64)
    failed = setup(project, LC_ALL="C")
    assert failed.returncode != 0
    assert "== 2/5 packages of requirements/dev.lock" in failed.stdout
    assert "its hash differs" in failed.stderr
    assert "Traceback" not in failed.stderr
    log = project / ".venv" / "setup.log"
    assert "DO NOT MATCH THE HASHES" in log.read_text(encoding="utf-8")
    assert ".venv/setup.log" in failed.stderr
    # What that left behind is not taken for an environment.
    assert not (project / ".venv" / ".installed").exists()


def test_a_setup_that_was_interrupted_starts_over_and_one_that_is_done_is_not_made_again(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pin(project)
    left = project / ".venv" / "lib" / "half-written"
    left.parent.mkdir(parents=True)
    left.touch()
    ran: list[list[str]] = []

    def run(command: list[Any], failure: str) -> None:
        ran.append([str(part) for part in command])
        (project / ".venv" / "bin").mkdir(exist_ok=True)
        (project / ".venv" / "bin" / "python").touch()

    venv = project / ".venv"
    for name, value in {
        "PROJECT": project,
        "DIRECTORY": project / "requirements",
        "VENV": venv,
        "PYTHON": venv / "bin" / "python",
        "STAMP": venv / ".installed",
    }.items():
        monkeypatch.setattr(install, name, value)
    monkeypatch.setattr(install, "_run", run)
    install.setup()
    assert not left.exists()
    assert len(ran) == 6
    assert "== 5/5" in capsys.readouterr().out
    install.setup()
    assert len(ran) == 6
    assert capsys.readouterr().out == ""
    # Another Python's environment is no use.
    state = json.loads((venv / ".installed").read_text(encoding="utf-8"))
    (venv / ".installed").write_text(json.dumps({**state, "python": "3.9"}), encoding="utf-8")
    install.setup()
    assert len(ran) == 12
    # Other pins are installed over those of before.
    (project / "requirements" / "dev.lock").write_text("", encoding="utf-8")
    install.setup()
    assert len(ran) == 17


def test_every_install_is_from_a_lock_and_exact() -> None:
    text = (REQUIREMENTS / "install.py").read_text(encoding="utf-8")
    assert text.count("_pip(*_EXACTLY") == 1
    assert {"--require-hashes", "--no-deps", "--only-binary"} <= set(install._EXACTLY)
    # The project itself, the other one, asks no index.
    assert '_pip("--no-deps", "--no-index", "--no-build-isolation"' in text


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "disk is full"),
        ("NewConnectionError('<pip…>: Failed to establish a new connection: [Errno 111]", "cannot be reached"),
        (
            "Failed to resolve 'host' ([Errno -3] Temporary failure in name resolution)\nNo matching",
            "cannot be reached",
        ),
        ("ReadTimeoutError(\"HTTPSConnectionPool(host='h', port=443): Read timed out.", "cannot be reached"),
        ("SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED]", "PIP_CERT"),
        ("ERROR: No matching distribution found for uvloop==0.23.0", "no build of a package for this Python"),
        ("The virtual environment was not created because ensurepip is not available.", "python3-venv"),
        ("/usr/bin/python3: No module named venv", "python3-venv"),
        ("PermissionError: [Errno 13] Permission denied: '/x'", "may not be written"),
    ],
)
def test_what_pip_says_is_told_in_words(said: str, words: str) -> None:
    assert words in install._cause(said)


def fake_python(directory: Path, text: str) -> str:
    path = directory / "a python"
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_without_a_python_that_is_said(project: Path) -> None:
    failed = make(project, "setup", "PYTHON=no-such-python")
    assert failed.returncode != 0
    assert "there is no 'no-such-python' that runs" in failed.stderr
    assert not (project / ".venv").exists()


def test_a_python_that_is_too_old_is_named(project: Path, tmp_path: Path) -> None:
    old = fake_python(tmp_path, 'case "$2" in *platform*) echo 3.9.2;; *) exit 1;; esac')
    failed = make(project, "demo", f"PYTHON={old}")
    assert failed.returncode != 0
    assert "needs Python 3.11 or newer" in failed.stderr
    assert "is 3.9.2" in failed.stderr


def test_a_directory_that_may_not_be_written_is_said_in_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse() -> None:
        raise PermissionError(13, "Permission denied", ".venv")

    monkeypatch.setattr(install, "setup", refuse)
    assert install.main(["setup"]) == 1
    assert capsys.readouterr().err == "Setup failed: .venv: Permission denied\n"


def test_ctrl_c_is_no_traceback(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(install, "setup", interrupt)
    assert install.main(["setup"]) == 130
    assert "starts over" in capsys.readouterr().err


def test_help_is_told_without_anything_being_installed(project: Path) -> None:
    told = make(project, "help")
    assert told.returncode == 0
    assert "make demo" in told.stdout
    assert not (project / ".venv").exists()
