"""Makes `.venv` from the locks and from nothing else: what `make setup` and `make clients` run.

    python requirements/install.py setup       everything the locks `dev` and `weights` name, and the project itself
    python requirements/install.py clients     what the tests run against the server, on top

Nothing is resolved: every file is one that a lock names, with its hash, built already. What is under way is told on a
line for each step; what pip says goes to `.venv/setup.log`, whose end is shown when something fails.
"""

import fcntl
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple, cast

DIRECTORY: Final = Path(__file__).resolve().parent
PROJECT: Final = DIRECTORY.parent
VENV: Final = PROJECT / ".venv"
PYTHON: Final = VENV / "bin" / "python"
LOG: Final = VENV / "setup.log"
STAMP: Final = VENV / ".installed"
CLIENTS_STAMP: Final = VENV / ".clients"
LOCKS: Final = ("dev", "weights")
OLDEST: Final = (3, 11)

_SHOWN: Final = 12
"""Lines of the log that are shown of a failure."""
# Each of these would have pip install elsewhere, or something else, than is asked for here.
_FORGOTTEN: Final = frozenset({"PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_CONSTRAINT", "PIP_NO_BINARY"})
_EXACTLY: Final = ("--require-hashes", "--no-deps", "--only-binary", ":all:", "--no-user")


class _Cause(NamedTuple):
    marks: str
    words: str


_CAUSES: Final = (
    _Cause(
        "DO NOT MATCH THE HASHES",
        "a file is not the one that the lock names: its hash differs. It was cut short or altered on its way, by a "
        "proxy or a mirror. Nothing of it was installed; try again, or from another network.",
    ),
    _Cause("No space left on device|Disk quota exceeded", "the disk is full."),
    _Cause(
        "CERTIFICATE_VERIFY_FAILED",
        "the package index's certificate is not trusted here. If a proxy of yours opens connections, name its "
        "certificates in PIP_CERT.",
    ),
    _Cause(
        "NewConnectionError|NameResolutionError|Failed to (establish|resolve)|name resolution|ConnectTimeout|timed out"
        "|ProxyError|Network is unreachable|Connection (refused|reset|aborted)|IncompleteRead|ProtocolError",
        "the package index cannot be reached. Is there a network? Behind a proxy, set HTTPS_PROXY; a mirror of your "
        "own is named in PIP_INDEX_URL. Try again: what was loaded already is kept.",
    ),
    _Cause(
        "No matching distribution found",
        "there is no build of a package for this Python and this machine, or the index does not have it. CPython 3.11 "
        "to 3.13 on Linux (glibc) and macOS are known to work.",
    ),
    _Cause("Permission denied|Read-only file system", "a file may not be written."),
    _Cause(
        "ensurepip is not available|No module named '?(venv|ensurepip)",
        "this Python lacks the module venv. On Debian and Ubuntu it is the package python3-venv.",
    ),
)


class SetupFailure(Exception):
    """What went wrong, in words."""


def setup() -> None:
    state = _state()
    before = _read_state()
    if before == state and PYTHON.exists():
        return
    STAMP.unlink(missing_ok=True)
    if {**before, "inputs": None} != {**state, "inputs": None} or not PYTHON.exists():
        _say(1, f"virtual environment in .venv (Python {platform.python_version()})")
        _remove(VENV)  # another Python's, moved, or left behind by a setup that was interrupted
        VENV.mkdir()
        _run([sys.executable, "-I", "-m", "venv", VENV], "the virtual environment could not be made")
    for number, lock in enumerate(LOCKS, 2):
        _say(number, f"packages of requirements/{lock}.lock")
        _install(lock)
    _say(4, "tertulia itself")
    _pip("--no-deps", "--no-index", "--no-build-isolation", "--no-user", "--editable", PROJECT)
    _point_from_within()
    _run([PYTHON, "-I", "-m", "compileall", "-q", PROJECT / "src"], "the project could not be compiled")
    _say(5, "looking whether all is there")
    _run([PYTHON, "-I", DIRECTORY / "check.py", *LOCKS], "what was installed is not what the locks name")
    STAMP.write_text(json.dumps(state))
    _tell("== ready: .venv/bin/tertulia")


def _point_from_within() -> None:
    """Have the environment find the project by a relative path.

    Before 3.13 Python reads such files in the locale's encoding, and under `LC_ALL=C` does not even start where the
    project is in a directory with a letter outside of ASCII.
    """
    for file in VENV.glob("lib/python*/site-packages/*tertulia*.pth"):
        file.write_text(os.path.relpath(PROJECT / "src", file.parent) + "\n", encoding="utf-8")


def clients() -> None:
    wanted = _digest([DIRECTORY / "clients.lock"])
    if CLIENTS_STAMP.exists() and CLIENTS_STAMP.read_text() == wanted:
        return
    _tell("== clients for the tests, from requirements/clients.lock (80 MB)")
    _install("clients")
    CLIENTS_STAMP.write_text(wanted)


def _state() -> dict[str, str | None]:
    """What the environment depends on: as long as it is the same, there is nothing to do."""
    inputs = [PROJECT / "pyproject.toml", *(DIRECTORY / f"{lock}.lock" for lock in LOCKS)]
    return {"python": sys.version, "place": str(VENV), "inputs": _digest(inputs)}


def _read_state() -> dict[str, str | None]:
    try:
        found = json.loads(STAMP.read_text())
    except (OSError, ValueError):
        return {}
    return cast("dict[str, str | None]", found) if isinstance(found, dict) else {}


def _digest(files: Sequence[Path]) -> str:
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()


def _install(lock: str) -> None:
    _pip(*_EXACTLY, "--requirement", DIRECTORY / f"{lock}.lock")


def _pip(*arguments: str | Path) -> None:
    quiet = ("--disable-pip-version-check", "--no-input", "--progress-bar", "off")
    command = [PYTHON, "-I", "-m", "pip", "install", *quiet]
    _run([*command, *arguments], "pip could not install it")


def _run(command: Sequence[str | Path], failure: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in _FORGOTTEN}
    with LOG.open("ab") as log:
        begun = log.tell()
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, cwd=PROJECT, check=False
        )
    if done.returncode:
        said = LOG.read_bytes()[begun:].decode(errors="replace")
        lines = [line for line in said.splitlines() if line.strip()]
        cause = _cause(said)
        raise SetupFailure(
            "\n    ".join([f"{failure}: {cause}" if cause else f"{failure}.", *lines[-_SHOWN:]])
            + f"\nAll that was said is in {LOG}"
        )


def _cause(said: str) -> str | None:
    """What a program said, in words that say what to do."""
    return next((cause.words for cause in _CAUSES if re.search(cause.marks, said)), None)


def _remove(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)


def _say(number: int, what: str) -> None:
    _tell(f"== {number}/{len(LOCKS) + 3} {what}")


def _tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _alone(work: Callable[[], None]) -> None:
    """Two at once would install into each other's way; the second finds nothing left to do."""
    with Path(__file__).open(encoding="utf-8") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _tell("== another setup is under way; waiting for it")
            fcntl.flock(held, fcntl.LOCK_EX)
        work()


def main(arguments: Sequence[str]) -> int:
    works = {"setup": setup, "clients": clients}
    if len(arguments) != 1 or arguments[0] not in works:
        sys.stderr.write(f"usage: python requirements/install.py {'|'.join(works)}\n")
        return 2
    if sys.version_info < OLDEST:
        sys.stderr.write(f"Tertulia needs Python 3.11 or newer; this is {platform.python_version()}.\n")
        return 1
    try:
        _alone(works[arguments[0]])
    except SetupFailure as failure:
        sys.stderr.write(f"Setup failed: {failure}\n")
    except OSError as error:
        sys.stderr.write(f"Setup failed: {error.filename or VENV}: {error.strerror}\n")
    except KeyboardInterrupt:
        sys.stderr.write("\nInterrupted. The next setup starts over.\n")
        return 130
    else:
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
