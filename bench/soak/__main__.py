"""`python -m bench.soak --minutes N --workers W`: prints what was done and what is wrong, as JSON; 1 if anything is."""

import argparse
import dataclasses
import json
import sys
import tempfile
from pathlib import Path
from typing import cast

from bench.soak.running import Plan, soak
from tests.support.databases import own_postgres

_ENDLESS = 10**9


def main() -> int:
    plan = _plan()
    with own_postgres() as database, tempfile.TemporaryDirectory(prefix="tertulia-soak-") as folder:
        outcome = soak(Path(folder), database.url, plan)
    told = dataclasses.asdict(plan) | {"kind": plan.kind.__name__}
    print(json.dumps({"plan": told, **dataclasses.asdict(outcome)}, indent=2))
    return 1 if outcome.wrong else 0


def _plan() -> Plan:
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    _ = parser.add_argument("--minutes", type=float, default=30.0)
    _ = parser.add_argument("--workers", type=int, default=3)
    _ = parser.add_argument("--conversations", type=int, default=20)
    _ = parser.add_argument(
        "--messages", type=int, default=_ENDLESS, help="end after so many (the minutes, by default)"
    )
    _ = parser.add_argument("--kill-every", type=float, default=2.0, metavar="SECONDS")
    _ = parser.add_argument("--lease", type=float, default=2.0, metavar="SECONDS")
    _ = parser.add_argument("--seed", type=int, default=1)
    given = cast("dict[str, float | int]", vars(parser.parse_args()))
    return Plan(
        workers=int(given["workers"]),
        conversations=int(given["conversations"]),
        messages=int(given["messages"]),
        seconds=given["minutes"] * 60,
        kill_every=given["kill_every"],
        lease=given["lease"],
        seed=int(given["seed"]),
    )


if __name__ == "__main__":
    sys.exit(main())
