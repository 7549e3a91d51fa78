"""What the locks promise: whatever a pinned package asks for is pinned too, on every platform."""

import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import pytest
from packaging.markers import Environment, default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.install.scripts import REQUIREMENTS, ROOT, script

check: Any = script("check")
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT: dict[str, Any] = PYPROJECT["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
LOCKS = sorted(path.stem for path in REQUIREMENTS.glob("*.lock"))
PLATFORMS = {
    "linux-x86_64": {"sys_platform": "linux", "platform_system": "Linux", "platform_machine": "x86_64"},
    "linux-aarch64": {"sys_platform": "linux", "platform_system": "Linux", "platform_machine": "aarch64"},
    "macos-arm64": {"sys_platform": "darwin", "platform_system": "Darwin", "platform_machine": "arm64"},
    "macos-x86_64": {"sys_platform": "darwin", "platform_system": "Darwin", "platform_machine": "x86_64"},
}
VERSIONS = ("3.11.0", "3.11.9", "3.12.4", "3.13.1")


def environment(platform: str, version: str) -> Environment:
    python = {"python_full_version": version, "python_version": version.rpartition(".")[0], "os_name": "posix"}
    return cast("Environment", {**default_environment(), **python, **PLATFORMS[platform]})


def roots(lock: str) -> list[str]:
    """What of the project's own requirements the lock was made for."""
    source = REQUIREMENTS / f"{lock}.in"
    if source.exists():
        return [line for line in source.read_text(encoding="utf-8").splitlines() if line and line[0] not in "#-"]
    extras: Iterable[str] = EXTRAS if lock == "dev" else [check.EXTRAS[lock]]
    return [*PROJECT["dependencies"], *(line for extra in extras for line in EXTRAS[extra])]


def active(lines: Iterable[str], place: Environment) -> list[str]:
    found = (Requirement(line) for line in lines)
    return [str(one) for one in found if one.marker is None or one.marker.evaluate(cast("dict[str, str]", place))]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_everything_that_anything_in_it_asks_for(lock: str, platform: str, version: str) -> None:
    place = environment(platform, version)
    pins = check.pinned([lock], place)
    if lock == "runtime":
        assert pins
    gaps = check.gaps(pins, active(roots(lock), place), check.installed_requirements, place)
    assert sorted(gaps) == []


@pytest.mark.parametrize("lock", LOCKS)
def test_locks_agree_so_any_of_them_can_be_installed_together(lock: str) -> None:
    place = default_environment()
    tested = check.pinned(["dev", "weights", "clients"], place)
    for name, pin in check.pinned([lock], place).items():
        assert (name, pin.version) == (name, tested[name].version)


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_gives_each_file_s_hash_and_no_place_to_get_it_from(lock: str) -> None:
    lines = (REQUIREMENTS / f"{lock}.lock").read_text(encoding="utf-8").splitlines()
    wanted = re.compile(r"[a-z0-9][a-z0-9._-]*==[^ \\]+( ; [^\\]+)? \\|    --hash=sha256:[0-9a-f]{64}( \\)?| +#.*")
    assert [line for line in lines if not wanted.fullmatch(line)] == []
    for number, line in enumerate(lines):
        if "==" in line and not line.startswith(" "):
            assert "--hash=" in lines[number + 1]
    text = "\n".join(lines)
    assert "://" not in text
    assert not re.search(r"(?<![\w.])/\w", text)


def test_every_lock_is_made_by_make_lock() -> None:
    made = set(re.findall(r"-o requirements/([\w-]+)\.lock", (ROOT / "Makefile").read_text(encoding="utf-8")))
    assert made == set(LOCKS)


def test_the_build_backend_is_in_the_locks_that_the_project_is_built_with() -> None:
    (backend,) = (Requirement(line) for line in PYPROJECT["build-system"]["requires"])
    for lock in ("dev", "build"):
        pin = check.pinned([lock], default_environment())[canonicalize_name(backend.name)]
        assert backend.specifier.contains(pin.version)


@pytest.mark.parametrize("line", [*PROJECT["dependencies"], *(line for extra in EXTRAS.values() for line in extra)])
def test_a_wheel_takes_no_release_that_nobody_has_tried(line: str) -> None:
    wanted = Requirement(line)
    assert any(bound.operator in {"<", "=="} for bound in wanted.specifier), "it needs an upper bound"
    assert not wanted.specifier.contains("99999")
    locked = check.pinned(["dev"], default_environment())[canonicalize_name(wanted.name)]
    assert wanted.specifier.contains(locked.version)


def commands(path: Path) -> list[str]:
    """Every `pip install` a file gives, with its continued lines, of those that install what the project needs."""
    text = path.read_text(encoding="utf-8").replace("\\\n", " ")
    return re.findall(r"pip install [^\n`]*?requirements/[^\n`|]*", text)


@pytest.mark.parametrize("name", ["Dockerfile", "README.md", "docs/operations.md"])
def test_every_command_that_is_told_installs_from_locks_alone(name: str) -> None:
    found = commands(ROOT / name)
    assert found
    for command in found:
        for option in ("--no-deps", "--require-hashes", "--only-binary :all:"):
            assert option in command


def test_no_page_has_pip_resolve_the_project_s_extras() -> None:
    for name in ("README.md", "docs/operations.md", "Dockerfile", "Makefile"):
        assert not re.search(r"pip install '?(\.|tertulia)\[", (ROOT / name).read_text(encoding="utf-8")), name
