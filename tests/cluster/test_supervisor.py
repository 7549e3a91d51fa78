"""`tertulia serve --workers N`: several processes behind one address, kept running by the one that was started."""

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.support.cluster import HTTP, client, query, wait_for
from tests.support.crashes import FAULTY, MODEL, environment_of
from tests.support.databases import execute
from tests.support.following import Told, follow
from tests.support.openai_endpoint import Gate, OpenAIEndpoint, Pause, Send, text

UNTIL_ENDED = 60  # seconds
FOR_EVER = "600"  # seconds: nothing here waits for it to be over


@pytest.fixture(scope="module")
def endpoint() -> Generator[OpenAIEndpoint]:
    with OpenAIEndpoint() as endpoint:
        yield endpoint


class Supervised:
    """A server with workers, as its user sees it."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self.process = process
        self._log = log

    @property
    def output(self) -> str:
        return self._log.read_text()

    @property
    def url(self) -> str:
        found = re.search(r"ready at (\S+)", self.output)
        assert found, self.output
        return found.group(1)

    @property
    def workers(self) -> list[int]:
        """The process ids of those that are ready, the eldest first."""
        events = [json.loads(line) for line in self.output.splitlines() if line.startswith("{")]
        of = {name: [each["worker_pid"] for each in events if each["event"] == name] for name in EVENTS}
        return [pid for pid in of["worker_ready"] if pid not in of["worker_died"]]

    def wait_until_ready(self, count: int) -> None:
        ended = self.process.poll
        wait_for("workers to be ready", lambda: len(self.workers) == count or ended() is not None)
        assert ended() is None, self.output


EVENTS = ("worker_ready", "worker_died")


@contextmanager
def _serving(
    folder: Path, endpoint: OpenAIEndpoint, database: str, workers: int, **variables: str
) -> Generator[Supervised]:
    log = folder / "log"
    environment = environment_of(endpoint, folder / "effects", folder / "fault") | {
        "TERTULIA_DB": database,
        "TERTULIA_LEASE": FOR_EVER,
        "TERTULIA_LOG_LEVEL": "info",
    }
    command = [sys.executable, "-m", FAULTY, "serve", "--port", "0", "--workers", str(workers)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--data-dir", str(folder / "data")],
            env=os.environ | environment | variables,
            cwd=folder,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    server = Supervised(process, log)
    try:
        server.wait_until_ready(workers)
        yield server
    finally:
        process.kill()  # the workers end when it has
        process.wait()
        for pid in server.workers:
            wait_for("its workers to end", lambda pid=pid: not _lives(pid))


def _lives(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


@pytest.fixture
def empty_database(postgres: str) -> str:
    """One in which there is not even a schema."""
    name = f"supervised_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"
    asyncio.run(execute(postgres, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)', f'CREATE DATABASE "{name}"'))
    return urlsplit(postgres)._replace(path=f"/{name}").geturl()


def _begin(server: Supervised, endpoint: OpenAIEndpoint) -> tuple[str, Gate]:
    """A run whose reply waits at a gate; whoever asks the model again gets the whole reply."""
    gate = Gate()
    held = [[Send({"content": "half "}), Pause(gate)]]
    endpoint.answer_with(lambda _: held.pop() if held else text("whole"))
    agent = HTTP.post(f"{server.url}/v1/agents/", json={"name": "Ada", "model": MODEL}).raise_for_status().json()
    body = {"input": "go", "background": True, "stream_tokens": True}
    with HTTP.stream("POST", f"{server.url}/v1/agents/{agent['id']}/messages/stream", json=body) as reply:
        lines = (line for line in reply.iter_lines() if line.startswith("data: "))
        run_id = json.loads(next(lines).removeprefix("data: "))["run_id"]
    gate.wait_reached()
    return run_id, gate


def test_what_dead_workers_were_answering_is_taken_over_long_before_their_lease_is_over(
    tmp_path: Path, endpoint: OpenAIEndpoint, empty_database: str
) -> None:
    with _serving(tmp_path, endpoint, empty_database, 2) as server:
        for together in (False, True):
            run_id, _ = _begin(server, endpoint)
            for pid in server.workers:
                os.kill(pid, signal.SIGKILL)
                if not together:
                    wait_for("its death to be seen", lambda pid=pid: pid not in server.workers)
                    server.wait_until_ready(2)
            server.wait_until_ready(2)
            with client() as http:
                told = follow(http, lambda: server.url, run_id, Told())
            assert told.text == "whole"


def test_workers_start_at_once_are_replaced_when_they_die_and_hand_over_when_they_stop(
    tmp_path: Path, endpoint: OpenAIEndpoint, empty_database: str
) -> None:
    with _serving(tmp_path, endpoint, empty_database, 4, TERTULIA_SHUTDOWN_GRACE="0") as server:
        assert len(query(empty_database, "SELECT id FROM workers")) == 4
        (worker,) = set(re.findall(r'worker="(\d+)"', HTTP.get(f"{server.url}/metrics").raise_for_status().text))
        assert int(worker) in range(4)
        os.kill(server.workers[0], signal.SIGKILL)
        wait_for("its death to be seen", lambda: "SIGKILL" in server.output)
        server.wait_until_ready(4)
        run_id, _ = _begin(server, endpoint)
        (first,) = query(empty_database, "SELECT worker_id FROM runs")
        for pid in list(server.workers):
            os.kill(pid, signal.SIGTERM)
            wait_for("it to stop", lambda pid=pid: pid not in server.workers)
            server.wait_until_ready(4)
            if query(empty_database, "SELECT worker_id FROM runs") != [first]:
                break
        with client() as http:
            told = follow(http, lambda: server.url, run_id, Told())
        assert (told.text, told.resumed) == ("whole", 1)
        workers = server.workers
        server.process.terminate()
        assert server.process.wait(UNTIL_ENDED) == 0
        assert not any(map(_lives, workers))
        assert server.output.count("is ready at") == 1
        assert "Traceback" not in server.output


def test_workers_stop_when_the_one_that_started_them_is_gone(
    tmp_path: Path, endpoint: OpenAIEndpoint, empty_database: str
) -> None:
    with _serving(tmp_path, endpoint, empty_database, 2) as server:
        workers = server.workers
        server.process.kill()
        for pid in workers:
            wait_for("a worker to stop", lambda pid=pid: not _lives(pid))
    assert query(empty_database, "SELECT id FROM workers") == []  # it was a proper stop


def test_the_second_interrupt_stops_at_once(tmp_path: Path, endpoint: OpenAIEndpoint, empty_database: str) -> None:
    with _serving(tmp_path, endpoint, empty_database, 2, TERTULIA_SHUTDOWN_GRACE=FOR_EVER) as server:
        run_id, gate = _begin(server, endpoint)
        with ThreadPoolExecutor(1) as pool:
            reading = pool.submit(HTTP.post, f"{server.url}/v1/runs/{run_id}/stream", json={})
            server.process.send_signal(signal.SIGINT)
            wait_for("it to say so", lambda: "Stopping" in server.output)
            server.process.send_signal(signal.SIGINT)
            assert server.process.wait(UNTIL_ENDED) == 0
            with contextlib.suppress(httpx.TransportError):
                reading.result()
        gate.open()


def test_a_database_that_is_not_there_is_told_once(tmp_path: Path, postgres: str) -> None:
    command = [sys.executable, "-m", "tertulia", "serve", "--port", "0", "--workers", "2"]
    missing = urlsplit(postgres)._replace(path="/not_there").geturl()
    done = subprocess.run(
        [*command, "--data-dir", str(tmp_path / "data"), "--db", missing],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=UNTIL_ENDED,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("Error: ") == 1
    assert "not_there" in done.stderr
    assert "Traceback" not in done.stderr
