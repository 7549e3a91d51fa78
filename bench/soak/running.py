"""One soak from the empty database to the checks; the test suite runs a short one."""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from bench.soak.checks import complaints
from bench.soak.fleet import Fleet, Trouble
from bench.soak.load import MODEL, Load, answer
from tests.support.openai_endpoint import ChatRequest, OpenAIEndpoint, Reply
from tests.support.server_process import ServerProcess

_ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """``kill_every`` and ``lease`` are seconds. It ends after ``seconds``, or with the last of ``messages``.

    ``kind`` is how workers are started; memory is only measured truly of those that are started anew.
    """

    workers: int = 2
    conversations: int = 20
    messages: int = 200
    seconds: float = 600.0
    kill_every: float = 2.0
    lease: float = 1.0
    seed: int = 1
    kind: type[ServerProcess] = ServerProcess


@dataclass(slots=True)
class Outcome:
    """``wrong`` holds a line for each thing that must not be."""

    seconds: float = 0.0
    sent: int = 0
    broken_streams: int = 0
    resumed_runs: int = 0
    given_up: int = 0
    trouble: Trouble = field(default_factory=Trouble)
    wrong: list[str] = field(default_factory=list[str])


def soak(folder: Path, database: str, plan: Plan) -> Outcome:
    """Run it in an empty folder, on a PostgreSQL that no other server uses."""
    effects = folder / "effects"
    effects.touch()
    with OpenAIEndpoint() as endpoint:
        endpoint.answer_with(lambda request: _answered(endpoint, request))
        environment = {
            "OPENAI_API_KEY": "soak",
            "OPENAI_BASE_URL": endpoint.url,
            "TERTULIA_DEFAULT_MODEL": MODEL,
            "TERTULIA_DB": database,
            "EFFECTS": str(effects),
            "PYTHONPATH": os.pathsep.join([str(_ROOT), os.environ.get("PYTHONPATH", "")]),
        }
        with Fleet(folder, plan.workers, environment, plan.lease, plan.seed, plan.kind) as fleet:
            return _soak(fleet, effects, plan)


def _answered(endpoint: OpenAIEndpoint, request: ChatRequest) -> Reply:
    endpoint.requests.clear()  # nobody looks at them, and there are many
    return answer(request)


def _soak(fleet: Fleet, effects: Path, plan: Plan) -> Outcome:
    started = time.monotonic()
    with httpx.Client(timeout=30) as http:
        ids = _conversations(http, fleet.workers[0].url, plan.conversations)
        load = Load(fleet.any_url, plan.messages)
        fleet.sample()
        failures = _run(fleet, load, ids, plan)
        fleet.sample()
        wrong = complaints(http, fleet.workers[-1].url, load.sent, effects, load.given_up)
    return Outcome(
        seconds=round(time.monotonic() - started, 1),
        sent=len(load.sent),
        broken_streams=load.broken,
        resumed_runs=load.resumed,
        given_up=len(load.given_up),
        trouble=fleet.trouble,
        wrong=[*failures, *load.wrong, *wrong],
    )


def _conversations(http: httpx.Client, url: str, count: int) -> list[str]:
    agent = {"name": "Soak", "model": MODEL, "tools": ["append_once", "append_again"]}
    agent_id = http.post(f"{url}/v1/agents/", json=agent).raise_for_status().json()["id"]
    path = f"{url}/v1/conversations/"
    made = [http.post(path, params={"agent_id": agent_id}, json={}).raise_for_status() for _ in range(count)]
    return [each.json()["id"] for each in made]


def _run(fleet: Fleet, load: Load, ids: list[str], plan: Plan) -> list[str]:
    quiet = threading.Event()
    trouble = threading.Thread(target=fleet.make_trouble, args=(plan.kill_every, quiet))
    with ThreadPoolExecutor(len(ids)) as pool:
        talking = [pool.submit(load.converse, id_) for id_ in ids]
        trouble.start()
        _ = wait(talking, timeout=plan.seconds)
        load.over.set()
        _ = wait(talking)
    quiet.set()
    trouble.join()
    return [str(error) for each in talking if (error := each.exception()) is not None]
