"""A worker that stands still for longer than its lease: what it lost it leaves alone."""

from typing import Any

from tests.support.cluster import Cluster, Talk, run_of, wait_for
from tests.support.openai_endpoint import Gate, OpenAIEndpoint, Pause, Send, call, calls, text
from tests.support.server_process import ServerProcess

ROWS = {
    "messages": "SELECT * FROM messages WHERE run_id = $1 ORDER BY id",
    "events": "SELECT * FROM event_chunks WHERE run_id = $1 ORDER BY 1, 2",
    "steps": "SELECT * FROM steps WHERE run_id = $1 ORDER BY id",
    "runs": "SELECT * FROM runs WHERE id = $1",
}


def _rows(cluster: Cluster, run_id: str) -> dict[str, list[tuple[Any, ...]]]:
    return {table: cluster.query(sql, run_id) for table, sql in ROWS.items()}


def test_it_writes_nothing_to_runs_it_lost_and_serves_on_under_another_name(
    cluster: Cluster, servers: tuple[ServerProcess, ServerProcess], endpoint: OpenAIEndpoint
) -> None:
    a, b = servers
    gate = Gate()
    late = calls(call("append_once", {"line": "late"}, "call_late"))
    endpoint.script([Send({"content": "half "}), Pause(gate), *late], text("whole"), text("fine"))
    talk = Talk(a, tools=["append_once"])
    run_id = talk.begin(a, "go")
    gate.wait_reached()
    ((name,),) = cluster.query("SELECT worker_id FROM runs WHERE id = $1", run_id)
    a.pause()
    try:
        wait_for("the other worker to finish", lambda: run_of(b, run_id)["status"] == "completed")
        before = _rows(cluster, run_id)
        assert all(before.values())
        gate.open()
    finally:
        a.go_on()
    wait_for("its new name", lambda: _names(cluster, name))
    assert talk.say(a, "again")["messages"][-1]["content"] == "fine"
    assert _rows(cluster, run_id) == before
    assert talk.texts(a) == ["go", "whole", "again", "fine"]
    assert cluster.effects.read_text() == ""


def _names(cluster: Cluster, old: str) -> bool:
    """Whether all members have a lease, and none of them under the old name."""
    live = "lease_until > EXTRACT(EPOCH FROM clock_timestamp()) * 1000000"
    names = {row[0] for row in cluster.query(f"SELECT id FROM workers WHERE {live}")}
    return old not in names and len(names) == 3
