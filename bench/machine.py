"""Where a result comes from: the machine, the versions, the revision, and how busy everything was."""

import os
import platform
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PACKAGES = ("tertulia", "fastapi", "starlette", "uvicorn", "uvloop", "httptools", "httpx2", "pydantic", "sqlalchemy")


@dataclass(frozen=True, slots=True)
class Machine:
    """What the numbers depend on beside the code.

    Attributes:
        cores: processors this process may use.
        git: the revision, with `-dirty` when there are uncommitted changes; None outside a checkout.
    """

    cpu: str
    cores: int
    memory_gb: float | None
    system: str
    python: str
    packages: dict[str, str]
    git: str | None


@dataclass(frozen=True, slots=True)
class Busyness:
    """How much of the machine others took, before the run and after it.

    Attributes:
        load: load average over one minute, before and after (the run itself adds to the second).
        yardstick_ms: a fixed piece of Python, median of 15, before and after: two results whose yardsticks differ
            were not measured on the same machine, whatever its name.
    """

    load: list[float] = field(default_factory=list[float])
    yardstick_ms: list[float] = field(default_factory=list[float])

    def read(self) -> None:
        self.load.append(round(os.getloadavg()[0], 2))
        self.yardstick_ms.append(_yardstick_ms())


def describe() -> Machine:
    return Machine(
        cpu=_cpu_name(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1),
        memory_gb=_memory_gb(),
        system=f"{platform.system()} {platform.release()}",
        python=f"{platform.python_implementation()} {sys.version.split()[0]}",
        packages={name: found for name in _PACKAGES if (found := _version(name))},
        git=_revision(),
    )


def _yardstick_ms() -> float:
    def once() -> float:
        started = time.perf_counter()
        _ = sum(value * value for value in range(100_000))
        return (time.perf_counter() - started) * 1000

    return round(statistics.median(once() for _ in range(15)), 2)


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except FileNotFoundError:
        return platform.processor() or "unknown"
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")


def _memory_gb() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)
    except (ValueError, OSError):
        return None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _revision() -> str | None:
    root = Path(__file__).resolve().parent.parent
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return found.stdout.strip()
