"""What is noted of requests: figures by route, an id in the reply and in every log line."""

import re

import httpx
import pytest
from starlette.types import Message, Receive, Scope, Send
from structlog.contextvars import get_contextvars
from structlog.testing import capture_logs

from tertulia.api.deps import ApiSettings, Services
from tertulia.api.observing import ObservingMiddleware
from tertulia.ports.telemetry import no_telemetry


async def figures(client: httpx.AsyncClient, **headers: str) -> str:
    reply = await client.get("/metrics", headers=headers)
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")
    return reply.text


def requests_of(text: str) -> dict[str, float]:
    found = re.findall(r'tertulia_http_requests_total{method="(\w+)",route="([^"]+)",status="(\d+)".*} (\S+)', text)
    return {f"{method} {route} {status}": float(count) for method, route, status, count in found}


async def test_requests_are_counted_by_the_route_that_answered(client: httpx.AsyncClient) -> None:
    await client.get("/v1/agents/agent-00000000-0000-4000-8000-000000000001")
    await client.get("/v1/agents/agent-00000000-0000-4000-8000-000000000002/")
    await client.head("/v1/health/")
    await client.post("/v1/agents/", content=b"{")
    await client.get("/nowhere/at/all")
    found = requests_of(await figures(client))
    assert found == {
        "GET /v1/agents/{agent_id} 404": 2,
        "HEAD /v1/health 200": 1,
        "POST /v1/agents 422": 1,
        "GET other 404": 1,
    }


async def test_requests_that_are_being_answered_are_a_gauge(client: httpx.AsyncClient) -> None:
    assert 'tertulia_http_requests_open{worker="0"} 1.0' in await figures(client)


async def test_the_figures_tell_of_the_process_and_of_the_version(client: httpx.AsyncClient) -> None:
    text = await figures(client)
    assert "process_resident_memory_bytes{" in text
    assert 'tertulia_build{version="' in text


class TestWithAKey:
    @pytest.fixture
    def api_settings(self) -> ApiSettings:
        return ApiSettings(api_key="sesame")

    async def test_the_figures_want_the_key_too(self, client: httpx.AsyncClient) -> None:
        assert (await client.get("/metrics")).status_code == 401
        text = await figures(client, authorization="Bearer sesame")
        assert requests_of(text) == {"GET other 401": 1}


async def test_every_reply_has_an_id_and_keeps_the_clients_own(client: httpx.AsyncClient) -> None:
    made = (await client.get("/v1/health")).headers["x-request-id"]
    assert re.fullmatch(r"req-[0-9a-f]{16}", made)
    kept = await client.get("/v1/agents/none", headers={"x-request-id": "mine-1"})
    assert (kept.status_code, kept.headers["x-request-id"]) == (404, "mine-1")
    replaced = await client.get("/v1/health", headers={"x-request-id": "a b\tc"})
    assert replaced.headers["x-request-id"].startswith("req-")


async def test_log_lines_of_a_request_carry_its_id_and_no_others(
    client: httpx.AsyncClient, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[object] = []

    async def fail() -> None:
        seen.append(get_contextvars()["request_id"])
        raise RuntimeError

    monkeypatch.setattr(services.catalogue, "models", fail)
    with capture_logs():
        await client.get("/v1/models/", headers={"x-request-id": "mine-1"})
    assert seen == ["mine-1"]
    assert "request_id" not in get_contextvars()


async def test_a_message_that_was_sent_is_left_as_it_was_for_whoever_sends_it_again() -> None:
    start: Message = {"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]}

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start)

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    scope: Scope = {"type": "http", "method": "GET", "headers": []}
    for _ in range(2):
        await ObservingMiddleware(app, no_telemetry)(dict(scope), receive, send)
    assert start["headers"] == [(b"a", b"b")]
    assert [[name for name, _ in message["headers"]] for message in sent] == [[b"a", b"x-request-id"]] * 2
