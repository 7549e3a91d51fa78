"""A server without a key answers this machine and its own pages, not pages that come from elsewhere."""

import dataclasses

import httpx
import pytest

from tertulia.api.browsers import is_this_machine
from tertulia.api.deps import ApiSettings
from tertulia.api.router import build_api
from tests.support.world import World

pytestmark = pytest.mark.anyio


def client(world: World, settings: ApiSettings, base_url: str = "http://localhost:8283") -> httpx.AsyncClient:
    app = build_api(dataclasses.replace(world.services, settings=settings))
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=base_url)


@pytest.mark.parametrize("host", ["localhost:8283", "127.0.0.1", "127.3.2.1:80", "[::1]:8283", "app.localhost"])
async def test_names_of_this_machine_are_answered(world: World, host: str) -> None:
    async with client(world, ApiSettings()) as http:
        assert (await http.get("/v1/agents/", headers={"host": host})).status_code == 200


async def test_another_name_is_refused_unless_it_is_allowed(world: World) -> None:
    for settings, status in ((ApiSettings(), 421), (ApiSettings(allowed_hosts=("box.lan",)), 200)):
        async with client(world, settings) as http:
            reply = await http.get("/v1/agents/", headers={"host": "box.lan:8283"})
            assert reply.status_code == status
            assert status == 200 or "TERTULIA_ALLOWED_HOSTS" in reply.json()["detail"]


async def test_pages_of_other_origins_are_refused_unless_they_are_allowed(world: World) -> None:
    page = {"origin": "http://evil.example"}
    async with client(world, ApiSettings()) as http:
        assert (await http.post("/v1/agents/", json={}, headers=page)).status_code == 403
        own = {"origin": "http://localhost:8283"}
        assert (await http.get("/v1/agents/", headers=own)).status_code == 200
    async with client(world, ApiSettings(cors_origins=("http://evil.example",))) as http:
        reply = await http.get("/v1/agents/", headers=page)
        assert reply.headers["access-control-allow-origin"] == "http://evil.example"


async def test_with_a_key_names_and_origins_do_not_matter_and_a_preflight_needs_none(world: World) -> None:
    settings = ApiSettings(api_key="secret", cors_origins=("https://app.example",))
    async with client(world, settings, "https://api.example") as http:
        assert (await http.get("/v1/agents/")).status_code == 401
        allowed = await http.get("/v1/agents/", headers={"authorization": "Bearer secret"})
        assert allowed.status_code == 200
        asked = {"origin": "https://app.example", "access-control-request-method": "POST"}
        preflight = await http.options(
            "/v1/agents/", headers=asked | {"access-control-request-headers": "authorization"}
        )
        assert preflight.status_code == 200


async def test_a_body_that_does_not_say_it_is_json_is_refused(world: World) -> None:
    agent = (await world.agent()).agent
    async with client(world, ApiSettings()) as http:
        reply = await http.post(
            f"/v1/agents/{agent.id}/messages", content='{"input": "hi"}', headers={"content-type": "text/plain"}
        )
    assert reply.status_code == 422
    assert "application/json" in reply.json()["detail"]
    assert await world.told(agent.id) == []


def test_only_loopback_is_this_machine() -> None:
    assert is_this_machine("localhost")
    assert not is_this_machine("localhost.evil.example")
    assert not is_this_machine("192.168.1.5")
    assert not is_this_machine("")
