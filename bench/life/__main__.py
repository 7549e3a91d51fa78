"""`python -m bench.life`: prints what was done, what the server held and what is wrong, as JSON; 1 if anything is."""

import argparse
import dataclasses
import json
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

from bench import machine
from bench.life.clients import clients
from bench.life.running import Outcome, Part, Plan, life

_RESULTS = Path(__file__).resolve().parents[1] / "results"
_DATABASES = ("sqlite", "postgres")


def main() -> int:
    given = _options()
    replies, databases = cast("int", given.replies), cast("list[str] | None", given.database) or _DATABASES
    parts = [Part(client=client, streams=replies, plain=replies) for client in clients()]
    plan = Plan(parts=parts, warm_up=replies * len(parts))  # half of all
    busyness = machine.Busyness()
    busyness.read()
    outcomes = {database: _lived(cast("Path", given.tertulia), database, plan) for database in databases}
    busyness.read()
    text = json.dumps(_document(plan, outcomes, busyness, replies), indent=2)
    print(text)
    if cast("bool", given.save):
        _ = (_RESULTS / f"{datetime.now(UTC):%Y-%m-%d}-{given.label}.json").write_text(text + "\n")
    return 1 if any(outcome.wrong for outcome in outcomes.values()) else 0


def _lived(tertulia: Path, database: str, plan: Plan) -> Outcome:
    serve = ["--db", "embedded-pg"] if database == "postgres" else []
    with tempfile.TemporaryDirectory(prefix="tertulia-life-") as folder:
        # A PostgreSQL that is started by root runs as another user, who has to get to its files.
        Path(folder).chmod(0o755)
        outcome = life(tertulia, Path(folder), serve, plan)
    wrong = "\n  ".join(outcome.wrong) or "nothing"
    print(f"{database}: {outcome.messages} messages; wrong: {wrong}", file=sys.stderr, flush=True)
    return outcome


def _document(plan: Plan, outcomes: dict[str, Outcome], busyness: machine.Busyness, replies: int) -> dict[str, object]:
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": dataclasses.asdict(machine.describe()),
        "busyness": dataclasses.asdict(busyness),
        "plan": {"streams": replies, "plain": replies, "rehearsal": plan.rehearsal, "warm_up": plan.warm_up},
        **{database: dataclasses.asdict(outcome) for database, outcome in outcomes.items()},
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.life", description=__doc__)
    add = parser.add_argument
    _ = add("--replies", type=int, default=3_000, metavar="N", help="streams, and plain replies, each client (3000)")
    _ = add("--database", action="append", choices=_DATABASES, help="one of the two (both)")
    _ = add("--save", action="store_true", help="save the result in bench/results/<date>-<label>.json")
    _ = add("--label", default="life", help="a name for the file of --save")
    _ = add(
        "--tertulia",
        type=Path,
        default=Path(sys.executable).parent / "tertulia",
        help="the server's command (default: the one beside this Python)",
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
