"""Stopping a server: replies that are being made get to end, and whoever reads one is told how it did."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.processes.conftest import MODEL
from tests.processes.raw_stream import frames, read_stream
from tests.support.openai_endpoint import Gate, OpenAIEndpoint, Pause, Send, text
from tests.support.server_process import ForkedServer, ServerProcess


@pytest.fixture
def agent_id(server: ServerProcess) -> str:
    return httpx.post(f"{server.url}/v1/agents/", json={"name": "Ada", "model": MODEL}, verify=False).json()["id"]


def _stream(server: ServerProcess, agent_id: str, *, background: bool = False) -> bytes:
    body = {"input": "go", "stream_tokens": True, "background": background}
    return read_stream(server.url, f"/v1/agents/{agent_id}/messages/stream", body)


def test_a_reply_that_is_being_made_is_finished_before_the_server_stops(
    server: ServerProcess, endpoint: OpenAIEndpoint, agent_id: str
) -> None:
    gate = Gate()
    endpoint.script([Send({"content": "half "}), Pause(gate), *text("done")])
    with ThreadPoolExecutor(2) as pool:
        reading = pool.submit(_stream, server, agent_id)
        gate.wait_reached()
        stopping = pool.submit(server.stop)
        gate.open()
        stream = reading.result()
        stopping.result()
    assert "".join(frame.get("content", "") for frame in frames(stream)) == "half done"
    assert stream.endswith(b"data: [DONE]\n\n")


@pytest.fixture
def hasty(tmp_path: Path, endpoint: OpenAIEndpoint) -> Iterator[ServerProcess]:
    """A server that waits for nothing when it stops."""
    environment = {"OPENAI_API_KEY": "sk-test", "OPENAI_BASE_URL": endpoint.url, "TERTULIA_SHUTDOWN_GRACE": "0"}
    with ForkedServer(tmp_path / "data", environment) as server:
        yield server
        assert "Traceback" not in server.log


def _agent(server: ServerProcess) -> str:
    return httpx.post(f"{server.url}/v1/agents/", json={"name": "Ada", "model": MODEL}, verify=False).json()["id"]


@pytest.mark.parametrize("background", [False, True])
def test_a_reply_that_takes_too_long_is_made_again_after_the_stop_and_its_reader_is_told(
    hasty: ServerProcess, endpoint: OpenAIEndpoint, background: bool
) -> None:
    gate = Gate()
    endpoint.script([Send({"content": "half "}), Pause(gate), *text("never")], text("whole"))
    agent_id = _agent(hasty)
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(_stream, hasty, agent_id, background=background)
        gate.wait_reached()
        hasty.stop()
        stream = reading.result()
    last = frames(stream)[-1]
    assert (last["message_type"], last["error_type"]) == ("error_message", "stream_interrupted")
    hasty.start()
    told = frames(read_stream(hasty.url, f"/v1/runs/{last['run_id']}/stream", {}))
    resumed = next(frame for frame in told if frame["message_type"] == "event_message")
    assert resumed["event_type"] == "resumed"
    discarded = resumed["event_data"]["discarded_message_ids"]
    kept = [frame for frame in told if frame.get("id") not in discarded]
    assert "".join(frame.get("content", "") for frame in kept) == "whole"
    numbers = [frame["seq_id"] for frame in told if "seq_id" in frame]
    assert numbers == sorted(set(numbers))
    seen = [frame["seq_id"] for frame in frames(stream) if frame.get("seq_id")]
    assert resumed["seq_id"] > max(seen)


def test_a_blocking_reply_that_takes_too_long_is_answered_not_dropped(
    hasty: ServerProcess, endpoint: OpenAIEndpoint
) -> None:
    gate = Gate()
    endpoint.script([Send({"content": "half "}), Pause(gate), *text("never")], text("whole"))
    agent_id = _agent(hasty)
    path = f"{hasty.url}/v1/agents/{agent_id}/messages"
    message = {"role": "user", "content": "go", "otid": "mine"}
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(httpx.post, path, json={"messages": [message]}, timeout=20, verify=False)
        gate.wait_reached()
        hasty.stop()
        reply = waiting.result()
    assert reply.status_code == 503
    assert "will be resumed" in reply.json()["detail"]
    hasty.start()
    again = httpx.post(
        path, json={"messages": [message]}, timeout=20, verify=False
    )  # by its otid, it is the same message
    assert [each["content"] for each in again.json()["messages"]] == ["whole"]
