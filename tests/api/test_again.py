"""The same request a hundred times: the same reply with the same headers, as a list, so that one more is seen."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import httpx
import pytest

from tertulia.api.deps import ApiSettings, Services
from tertulia.domain.errors import ProviderOverloaded
from tests.support.world import World

TIMES = 100
VARYING = re.compile(rb"[0-9a-f]{8}-[0-9a-f-]{27}|req-[0-9a-f]{16}|\d{4}-\d\d-\d\dT[\d:.]+(Z|\+00:00)|\d+")
"""Ids, dates and numbers."""
LIMIT = 4096
PAGE = "https://app.example"
PREFLIGHT = {"origin": PAGE, "access-control-request-method": "POST"}


@pytest.fixture
def api_settings() -> ApiSettings:
    return ApiSettings(max_body_bytes=LIMIT, cors_origins=(PAGE,))


def seen(reply: httpx.Response) -> tuple[int, Sequence[tuple[bytes, bytes]], bytes]:
    headers = [(name, VARYING.sub(b"#", value)) for name, value in reply.headers.raw]
    return reply.status_code, headers, VARYING.sub(b"#", reply.content)


async def same(client: httpx.AsyncClient, status: int, method: str, path: str, **sent: Any) -> None:
    """It is."""
    first = seen(await client.request(method, path, **sent))
    assert first[0] == status, first[2]
    names = [name for name, _ in first[1]]
    assert len(names) == len({*names}), names
    for _ in range(TIMES - 1):
        assert seen(await client.request(method, path, **sent)) == first


@pytest.mark.parametrize(
    ("status", "method", "path", "sent"),
    [
        (200, "GET", "/v1/health", {}),
        (200, "HEAD", "/v1/health/", {}),
        (200, "GET", "/v1/agents/", {}),
        (404, "GET", "/v1/agents/agent-00000000-0000-4000-8000-000000000001", {}),
        (404, "GET", "/nowhere", {}),
        (405, "PUT", "/v1/health", {}),
        (413, "POST", "/v1/agents/", {"json": {"name": "a" * LIMIT}}),
        (422, "POST", "/v1/agents/", {"json": {"name": 1}}),
        (422, "POST", "/v1/agents/", {"content": b"{"}),
        (422, "POST", "/v1/agents/", {"content": b"{}", "headers": {"content-type": "text/plain"}}),
        (501, "GET", "/v1/folders/", {}),
        (200, "OPTIONS", "/v1/agents/", {"headers": PREFLIGHT}),
        (200, "GET", "/v1/health", {"headers": {"origin": PAGE}}),
    ],
)
async def test_a_reply_is_the_hundredth_time_as_it_was_the_first(
    client: httpx.AsyncClient, status: int, method: str, path: str, sent: Mapping[str, Any]
) -> None:
    await same(client, status, method, path, **sent)


@pytest.mark.parametrize("body", [{}, {"streaming": True}, {"streaming": True, "stream_tokens": True}])
async def test_a_message_is_answered_the_hundredth_time_as_it_was_the_first(
    world: World, scripted: httpx.AsyncClient, body: Mapping[str, Any]
) -> None:
    agent_id = (await world.agent()).agent.id
    await same(scripted, 200, "POST", f"/v1/agents/{agent_id}/messages", json={"input": "hi", **body})


async def test_a_message_that_fails_fails_the_hundredth_time_as_it_did_the_first(
    world: World, scripted: httpx.AsyncClient
) -> None:
    agent_id = (await world.agent()).agent.id
    world.model.scripts.extend([[ProviderOverloaded("Busy.")]] * TIMES * 4)
    body = {"input": "hi", "streaming": True, "stream_tokens": True}
    await same(scripted, 200, "POST", f"/v1/agents/{agent_id}/messages", json=body)


async def test_a_server_that_is_about_to_stop_refuses_the_hundredth_time_as_it_did_the_first(
    client: httpx.AsyncClient, services: Services
) -> None:
    services.runs.retire()
    await same(client, 503, "GET", "/v1/health/ready")
