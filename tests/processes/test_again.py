"""One server, one client's own library, the same request more often than its limits of headers: as the first time."""

import http.client
import re
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import pytest

from tests.processes.conftest import MODEL
from tests.support.openai_endpoint import OpenAIEndpoint, text
from tests.support.server_process import ServerProcess

STREAMS = 120  # http.client reads at most 100 headers
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
    found = re.findall(r"^(\w+)\{worker=\"0\"\} (\S+)$", httpx.get(f"{server.url}/metrics").text, re.MULTILINE)
    return {name: float(value) for name, value in found}


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
    agent: dict[str, Any] = httpx.post(f"{server.url}/v1/agents/", json={"name": "Ada", "model": MODEL}).json()
    endpoint.answer_with(lambda _: text("o", "k"))
    for status, path, body in CASES:
        first = _seen(connection, path.format(agent=agent["id"]), body)
        assert first[0] == status, first[2]
        open_files = _figures(server)["process_open_fds"]
        for _ in range(STREAMS - 1):
            assert _seen(connection, path.format(agent=agent["id"]), body) == first
        assert _figures(server)["process_open_fds"] <= open_files
