"""Stopping a server: replies that are being made get to end, and whoever reads one is told how it did."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.processes.conftest import MODEL
from tests.processes.raw_stream import frames, read_stream
from tests.support.openai_endpoint import Gate, OpenAIEndpoint, Pause, Send, text
from tests.support.server_process import ServerProcess


@pytest.fixture
def agent_id(server: ServerProcess) -> str:
    return httpx.post(f"{server.url}/v1/agents/", json={"name": "Ada", "model": MODEL}).json()["id"]


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


@pytest.mark.parametrize("background", [False, True])
def test_a_reply_that_takes_too_long_ends_as_cancelled_and_its_reader_is_told(
    tmp_path: Path, endpoint: OpenAIEndpoint, background: bool
) -> None:
    environment = {"OPENAI_API_KEY": "sk-test", "OPENAI_BASE_URL": endpoint.url, "TERTULIA_SHUTDOWN_GRACE": "0"}
    gate = Gate()
    endpoint.script([Send({"content": "half "}), Pause(gate), *text("never")])
    with ServerProcess(tmp_path / "data", environment) as server, ThreadPoolExecutor(1) as pool:
        agent_id = httpx.post(f"{server.url}/v1/agents/", json={"name": "Ada", "model": MODEL}).json()["id"]
        reading = pool.submit(_stream, server, agent_id, background=background)
        gate.wait_reached()
        server.stop()
        stream = reading.result()
        assert frames(stream)[-1] == {"message_type": "stop_reason", "stop_reason": "cancelled"}
        assert stream.endswith(b"data: [DONE]\n\n")
        assert "Traceback" not in server.log


def test_a_blocking_reply_that_takes_too_long_is_answered_not_dropped(tmp_path: Path, endpoint: OpenAIEndpoint) -> None:
    environment = {"OPENAI_API_KEY": "sk-test", "OPENAI_BASE_URL": endpoint.url, "TERTULIA_SHUTDOWN_GRACE": "0"}
    gate = Gate()
    endpoint.script([Send({"content": "half "}), Pause(gate), *text("never")])
    with ServerProcess(tmp_path / "data", environment) as server, ThreadPoolExecutor(1) as pool:
        agent_id = httpx.post(f"{server.url}/v1/agents/", json={"name": "Ada", "model": MODEL}).json()["id"]
        path = f"{server.url}/v1/agents/{agent_id}/messages"
        waiting = pool.submit(httpx.post, path, json={"input": "go"}, timeout=20)
        gate.wait_reached()
        server.stop()
        reply = waiting.result()
    assert reply.status_code == 200
    assert reply.json()["stop_reason"]["stop_reason"] == "cancelled"
