"""One server, one client's own library, the same request more often than its limits of headers: as the first time."""

import http.client
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.processes.conftest import MODEL
from tests.support.openai_endpoint import Gate, OpenAIEndpoint, Pause, Send, text
from tests.support.server_process import ForkedServer, ServerProcess

STREAMS = 120  # http.client reads at most 100 headers
HELD = ("process_open_fds", "tertulia_tasks", "tertulia_http_connections_open", "tertulia_runs_active")
VARYING = re.compile(rb"[0-9a-f]{8}-[0-9a-f-]{27}|req-[0-9a-f]{16}|\d{4}-\d\d-\d\dT[\d:.]+(Z|\+00:00)|\d+")


@pytest.fixture
def connection(server: ServerProcess) -> Iterator[http.client.HTTPConnection]:
    opened = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=30)
    yield opened
    opened.close()


def _seen(connection: http.client.HTTPConnection, path: str, body: str) -> tuple[int, object, bytes]:
    connection.request("POST", path, body, {"content-type": "application/json"})
    reply = connection.getresponse()
    headers = [
        (name, VARYING.sub(b"#", value.encode())) for name, value in reply.getheaders() if name.lower() != "date"
    ]
    return reply.status, headers, VARYING.sub(b"#", reply.read())


def _figures(server: ServerProcess) -> Mapping[str, float]:
    found = re.findall(
        r"^(\w+)\{worker=\"0\"\} (\S+)$", httpx.get(f"{server.url}/metrics", verify=False).text, re.MULTILINE
    )
    return {name: float(value) for name, value in found}


def _made(server: ServerProcess, path: str, body: dict[str, Any]) -> str:
    reply: dict[str, Any] = httpx.post(f"{server.url}/v1/{path}", json=body, verify=False).json()
    return reply["id"]


def _new_agent(server: ServerProcess) -> str:
    return _made(server, "agents/", {"name": "Ada", "model": MODEL})


CASES = (
    (200, "/v1/agents/{agent}/messages", '{"input": "hi", "streaming": true, "stream_tokens": true}'),
    (200, "/v1/agents/{agent}/messages", '{"input": "hi"}'),
    (404, "/v1/agents/{agent}/nowhere", "{}"),
    (405, "/v1/health", "{}"),
    (422, "/v1/agents/{agent}/messages", "{"),
)


def test_a_connection_gets_the_hundred_and_twentieth_reply_like_the_first(
    server: ServerProcess, endpoint: OpenAIEndpoint, connection: http.client.HTTPConnection
) -> None:
    agent_id = _new_agent(server)
    endpoint.answer_with(lambda _: text("o", "k"))
    for status, path, body in CASES:
        first = _seen(connection, path.format(agent=agent_id), body)
        assert first[0] == status, first[2]
        open_files = _figures(server)["process_open_fds"]
        for _ in range(STREAMS - 1):
            assert _seen(connection, path.format(agent=agent_id), body) == first
        assert _figures(server)["process_open_fds"] <= open_files


@pytest.fixture
def full_server(tmp_path: Path, endpoint: OpenAIEndpoint) -> Iterator[ServerProcess]:
    """One that answers a single run at once, and takes bodies of 2,000 bytes."""
    environment = {
        "OPENAI_API_KEY": "sk-test",
        "OPENAI_BASE_URL": endpoint.url,
        "TERTULIA_MAX_RUNS": "1",
        "TERTULIA_MAX_BODY_BYTES": "2000",
        "TERTULIA_SHUTDOWN_GRACE": "0",
    }
    with ForkedServer(tmp_path / "data", environment) as server:
        yield server


def test_who_is_turned_away_is_so_the_hundred_and_twentieth_time_as_the_first(
    full_server: ServerProcess, endpoint: OpenAIEndpoint
) -> None:
    endpoint.answer_with(lambda _: [Send({"content": "begin"}), Pause(Gate())])
    agent_id = _new_agent(full_server)
    path = f"/v1/agents/{agent_id}/messages"
    other = _made(full_server, f"conversations/?agent_id={agent_id}", {})
    busy = {"input": "hi", "streaming": True, "stream_tokens": True}
    with httpx.stream("POST", f"{full_server.url}{path}", json=busy, verify=False) as talk:
        lines = talk.iter_lines()  # kept, for the reply is closed with it
        assert any("begin" in line for line in lines)
        for status, where, body in (
            (413, path, json.dumps({"input": "a" * 3000})),
            (503, f"/v1/conversations/{other}/messages", '{"input": "hi"}'),
        ):
            connection = http.client.HTTPConnection(full_server.url.removeprefix("http://"), timeout=30)
            first = _seen(connection, where, body)
            assert first[0] == status, first[2]
            before = _figures(full_server)
            for _ in range(STREAMS - 1):
                assert _seen(connection, where, body) == first
            after = _figures(full_server)
            connection.close()
            # What the one before left behind may have gone meanwhile.
            assert {name: after[name] for name in HELD if after[name] > before[name]} == {}, status
