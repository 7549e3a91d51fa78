"""Medians and percentiles of timings."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timing:
    """Milliseconds over `n` samples."""

    median: float
    p99: float
    mean: float
    best: float
    n: int

    @classmethod
    def of(cls, seconds: Sequence[float]) -> "Timing":
        ordered = sorted(value * 1000 for value in seconds)
        return cls(
            median=round(statistics.median(ordered), 3),
            p99=round(ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))], 3),
            mean=round(statistics.fmean(ordered), 3),
            best=round(ordered[0], 3),
            n=len(ordered),
        )
