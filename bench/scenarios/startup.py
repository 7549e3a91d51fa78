"""How soon a started server answers, and how much memory it holds before anyone has asked for anything."""

import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path

from bench.processes import Memory, server


@dataclass(frozen=True, slots=True)
class Startup:
    """Medians, in milliseconds, from starting the process to the first 200 of `/v1/health`.

    Attributes:
        first_ready_ms: with an empty data directory, so tables are made.
        again_ready_ms: with the data directory of an earlier start.
        again_ready_cpu_ms: processor time of the process until it was ready the second time.
        idle: memory of a server that is ready and has served nothing else.
    """

    first_ready_ms: float
    again_ready_ms: float
    again_ready_cpu_ms: float | None
    idle: Memory | None
    starts: int


def measure(tertulia: Path, endpoint_port: int, starts: int) -> Startup:
    first: list[float] = []
    again: list[float] = []
    cpu: list[float] = []
    idle: Memory | None = None
    for _ in range(starts):
        with tempfile.TemporaryDirectory(prefix="tertulia-bench-") as name:
            with server(tertulia, Path(name), endpoint_port) as child:
                first.append(child.ready_ms)
                idle = child.memory()
            with server(tertulia, Path(name), endpoint_port) as child:
                again.append(child.ready_ms)
                cpu.append((child.cpu_seconds() or 0.0) * 1000)
    return Startup(
        first_ready_ms=round(statistics.median(first), 1),
        again_ready_ms=round(statistics.median(again), 1),
        again_ready_cpu_ms=round(statistics.median(cpu), 1) if any(cpu) else None,
        idle=idle,
        starts=starts,
    )
