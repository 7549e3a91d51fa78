"""How long a call of a user's tool takes in the sandbox, and whether anything grows: ``python bench/sandbox.py``."""

import argparse
import asyncio
import json
import os
import platform
import time
from pathlib import Path
from typing import Any, Final

from tertulia.ports.sandbox import SandboxRequest, SandboxTier
from tertulia.sandbox.service import ConfinedSandbox

_REQUEST: Final = SandboxRequest(source="def roll(n):\n    return {'rolled': n}\n", function="roll", arguments={"n": 4})
_TIERS: Final[tuple[SandboxTier, ...]] = ("namespaces", "landlock")
_AT_ONCE: Final = 16


async def _one(sandbox: ConfinedSandbox) -> float:
    began = time.perf_counter()
    outcome = await sandbox.run(_REQUEST)
    if outcome.result != {"rolled": 4}:
        raise RuntimeError(outcome.error)
    return (time.perf_counter() - began) * 1000


async def _many(sandbox: ConfinedSandbox, calls: int) -> float:
    """Calls a second, with 16 under way."""

    async def worker(count: int) -> None:
        for _ in range(count):
            await _one(sandbox)

    began = time.perf_counter()
    await asyncio.gather(*(worker(calls // _AT_ONCE) for _ in range(_AT_ONCE)))
    return calls / (time.perf_counter() - began)


def _held() -> dict[str, int]:
    status = Path("/proc/self/status").read_text("utf-8")
    resident = int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")))
    return {"resident_kb": resident, "descriptors": len(os.listdir("/proc/self/fd"))}  # noqa: PTH208


async def _measure(tier: SandboxTier, calls: int) -> dict[str, Any]:
    sandbox = ConfinedSandbox(tier=tier)
    try:
        first = await _one(sandbox)
        warm = sorted([await _one(sandbox) for _ in range(200)])
        await _many(sandbox, 320)
        before = _held()
        rate = await _many(sandbox, calls)
        after = _held()
    finally:
        await sandbox.close()
    return {
        "tier": tier,
        "first_call_ms": round(first, 1),
        "warm_p50_ms": round(warm[100], 2),
        "warm_p95_ms": round(warm[190], 2),
        "calls_per_s_at_16": round(rate, 1),
        "calls": calls,
        "before": before,
        "after": after,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--out", type=Path, default=Path("bench/results/sandbox.json"))
    given = parser.parse_args()
    results = [asyncio.run(_measure(tier, given.calls)) for tier in _TIERS]
    report = {"python": platform.python_version(), "cores": os.cpu_count(), "load": os.getloadavg(), "results": results}
    text = json.dumps(report, indent=1)
    given.out.write_text(text + "\n", "utf-8")
    print(text)


if __name__ == "__main__":
    main()
