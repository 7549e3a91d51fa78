"""Reading a run through another worker than its own, whatever becomes of either."""

import json
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import pytest

from tests.support.cluster import HTTP, Cluster, Talk, client, run_of, wait_for
from tests.support.following import Told, follow, read, send
from tests.support.openai_endpoint import Gate, OpenAIEndpoint, Pause, Send, text
from tests.support.server_process import ServerProcess

Pair = tuple[ServerProcess, ServerProcess]


@contextmanager
def _reading(server: ServerProcess, run_id: str) -> Generator[tuple[Told, Callable[[str], None]]]:
    """A client that reads the run; what it was told, and how to wait until it was told a text."""
    told = Told()
    body = {"starting_after": 0}
    with HTTP.stream("POST", f"{server.url}/v1/runs/{run_id}/stream", json=body) as reply:
        frames = told.add(reply.iter_lines())

        def read_until(said: str) -> None:
            while told.text != said:
                next(frames)

        yield told, read_until
        for _ in frames:
            pass


def test_a_run_is_read_through_another_worker_token_by_token(servers: Pair, endpoint: OpenAIEndpoint) -> None:
    a, b = servers
    gates = [Gate() for _ in range(4)]
    endpoint.script(
        [act for n, gate in enumerate(gates) for act in (Send({"content": f"w{n} "}), Pause(gate))] + text("end")
    )
    run_id = Talk(a).begin(a, "go")
    with _reading(b, run_id) as (told, read_until):
        said = ""
        for number, gate in enumerate(gates):
            said += f"w{number} "
            read_until(said)  # before the next token is there
            gate.open()
    assert told.done
    assert told.text == "w0 w1 w2 w3 end"
    assert told.kept == read(HTTP, a.url, run_id).kept


def test_a_reader_of_another_worker_is_told_the_rest_after_a_kill(servers: Pair, endpoint: OpenAIEndpoint) -> None:
    a, b = servers
    gate = Gate()
    endpoint.script([Send({"content": "half "}), Pause(gate), *text("never")], text("all ", "of ", "it"))
    run_id = Talk(a).begin(a, "go")
    with _reading(b, run_id) as (told, read_until):
        read_until("half ")
        a.kill()
    assert told.done
    assert (told.text, told.resumed) == ("all of it", 1)
    assert told.numbers == sorted(set(told.numbers))
    assert told.kept == read(HTTP, b.url, run_id).kept


def test_a_client_goes_on_at_another_worker_where_it_was(servers: Pair, endpoint: OpenAIEndpoint) -> None:
    a, b = servers
    talk, gate, told = Talk(a), Gate(), Told()
    endpoint.script(
        [*(Send({"content": f"w{n} "}) for n in range(50)), Pause(gate), *text("never")], text("all ", "of it")
    )
    with ThreadPoolExecutor(1) as pool, client() as http:
        sending = pool.submit(send, http, a.url, f"{talk.path}/messages", {"input": "go"}, told)
        gate.wait_reached()
        wait_for("the pieces to come", lambda: told.text.endswith("w49 "))
        a.kill()
        with pytest.raises(httpx.TransportError):
            sending.result()
        assert told.run_id is not None
        follow(http, lambda: b.url, told.run_id, told)
        assert (told.text, told.resumed) == ("all of it", 1)
        assert told.numbers == sorted(set(told.numbers))
        assert told.kept == read(http, b.url, told.run_id).kept
    assert talk.texts(b) == ["go", "all of it"]


def test_a_client_that_leaves_does_not_stop_a_run_that_another_worker_s_client_reads(
    servers: Pair, endpoint: OpenAIEndpoint
) -> None:
    a, b = servers
    talk, gate = Talk(a), Gate()
    endpoint.script([Send({"content": "half "}), Pause(gate), *text("done")])
    body = {"input": "go", "stream_tokens": True}
    with HTTP.stream("POST", f"{a.url}{talk.path}/messages", json=body) as leaving:
        lines = (line for line in leaving.iter_lines() if line.startswith("data: "))
        run_id = json.loads(next(lines).removeprefix("data: "))["run_id"]
        gate.wait_reached()
        with _reading(b, run_id) as (told, read_until):
            read_until("half ")
            leaving.close()
            gate.open()
    assert told.text == "half done"
    assert run_of(b, run_id)["status"] == "completed"


def test_no_event_is_lost_when_the_connections_for_signals_are_cut(
    cluster: Cluster, servers: Pair, endpoint: OpenAIEndpoint
) -> None:
    a, b = servers
    gate = Gate()
    endpoint.script([Send({"content": "half "}), Pause(gate), *text("more ", "done")])
    run_id = Talk(a).begin(a, "go")
    with _reading(b, run_id) as (told, read_until):
        read_until("half ")
        cut = cluster.query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
            "AND (query ILIKE 'listen%' OR query ILIKE '%pg_notify%') AND pid != pg_backend_pid()"
        )
        assert len(cut) >= 2
        gate.open()
    assert told.text == "half more done"
    assert told.numbers == list(range(1, len(told.numbers) + 1))
