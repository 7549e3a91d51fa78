"""However a provider fails, and whatever it quotes of the request, the key is in no reply, run, trace or log line."""

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import httpx
import pytest
import structlog
from structlog.testing import LogCapture

from tertulia.provider_settings import ProviderSettings
from tests.api.conftest import PROVIDERS
from tests.support.raw_http import DONE, SSE_HEAD, Abort, RawServer, Step, chunked, delta, event, response

KEY = "sk-very-secret/0123456789+abcdef"
QUOTED = f"Incorrect API key provided: Bearer {KEY}. See https://example.com/?key={KEY}"


def refusal(status: int, *headers: str) -> list[Step]:
    return response(
        status, json.dumps({"error": {"message": QUOTED, "type": QUOTED, "code": QUOTED}}).encode(), *headers
    )


FAILURES: dict[str, Sequence[Step]] = {
    "a key that is refused": refusal(401),
    "a key that may not do this": refusal(403),
    "a request that is refused": refusal(400),
    "nothing there": refusal(404),
    "too many requests": refusal(429, "retry-after: 0"),
    "a failure": refusal(500),
    "a gateway's page": response(502, f"<html><body>{QUOTED}</body></html>".encode(), content_type="text/html"),
    "words alone": response(401, QUOTED.encode(), content_type="text/plain"),
    "JSON that is something else": response(401, json.dumps([QUOTED]).encode()),
    "JSON with slashes escaped": response(401, json.dumps({"error": QUOTED}).replace("/", "\\/").encode()),
    "in a header": response(401, b"{}", f"www-authenticate: Bearer realm={KEY}", f"x-request-id: {KEY}"),
    "a way to another place": response(302, b"", f"location: http://127.0.0.1:9/?key={KEY}"),
    "success that is no stream": response(200, QUOTED.encode(), content_type="text/plain"),
    "an event that is no JSON": chunked(f"data: {QUOTED}\n\n".encode()),
    "an error in the stream": chunked(delta(content="begin"), event({"error": {"message": QUOTED, "code": 500}}), DONE),
    "an error before the stream": chunked(event({"error": {"message": QUOTED, "code": "invalid_api_key"}}), DONE),
    "no HTTP": [f"HTTP/1.1 {KEY}\r\n\r\n".encode()],
    "no chunk": [SSE_HEAD, f"{KEY}\r\n".encode()],
    "a connection that breaks": [Abort()],
}
TYPES = ("openai", "anthropic", "google_ai")


@pytest.fixture
def provider_settings() -> ProviderSettings:
    return replace(PROVIDERS, retries=0)


@pytest.fixture
async def provider() -> AsyncIterator[RawServer]:
    async with RawServer() as server:
        yield server


@pytest.fixture
def logged() -> list[Any]:
    """Every log line of the test, with the traceback of what failed."""
    capture = LogCapture()
    structlog.configure(processors=[structlog.processors.format_exc_info, capture])
    structlog.get_logger("a test").warning("logs are read")
    return capture.entries


@pytest.mark.parametrize("provider_type", TYPES)
@pytest.mark.parametrize("failure", FAILURES)
async def test_a_key_is_told_nowhere(
    client: httpx.AsyncClient,
    provider: RawServer,
    logged: list[Any],
    caplog: pytest.LogCaptureFixture,
    provider_type: str,
    failure: str,
) -> None:
    provider.script(FAILURES[failure])
    body = {"name": "box", "provider_type": provider_type, "base_url": provider.url, "api_key": KEY}
    made = (await client.post("/v1/providers/", json=body)).json()
    replies = [await client.post(f"/v1/providers/{made['id']}/check")]
    agent: dict[str, Any] = (await client.post("/v1/agents/", json={"model": "box/some-model"})).json()
    path = f"/v1/agents/{agent['id']}/messages"
    replies.append(await client.post(path, json={"input": "hi", "max_steps": 1}))
    replies.append(await client.post(path, json={"input": "hi", "streaming": True, "stream_tokens": True}))
    assert len(provider.requests) > 2, "the model was never asked"
    replies += [await client.get(path), await client.get("/v1/runs/", params={"agent_id": agent["id"]})]
    for run in replies[-1].json():
        steps = await client.get(f"/v1/runs/{run['id']}/steps")
        replies += [steps, *[await client.get(f"/v1/steps/{step['id']}/trace") for step in steps.json()]]
    replies.append(await client.get(f"/v1/providers/{made['id']}"))
    told = "\n".join([*(f"{reply.headers} {reply.text}" for reply in replies), repr(logged), caplog.text])
    assert KEY not in told.replace("\\/", "/")


class TestAnAddressWithAPassword:
    """The owner of the server may configure one; who uses the API need not be the owner."""

    @pytest.fixture
    def provider_settings(self, provider: RawServer) -> ProviderSettings:
        address = provider.url.replace("//", "//me:hunter2@")
        (endpoint,) = (each for each in PROVIDERS.endpoints if each.name == "openai")
        return replace(PROVIDERS, endpoints=(replace(endpoint, base_url=address, models=("gpt-4o-mini",)),), retries=0)

    @pytest.mark.parametrize("failure", [*FAILURES, "nobody there"])
    async def test_its_password_is_told_nowhere(
        self,
        client: httpx.AsyncClient,
        provider: RawServer,
        logged: list[Any],
        caplog: pytest.LogCaptureFixture,
        failure: str,
    ) -> None:
        if failure == "nobody there":
            await provider.__aexit__()
        else:
            provider.script(FAILURES[failure])
        made = await client.post("/v1/agents/", json={"model": "openai/gpt-4o-mini"})
        path = f"/v1/agents/{made.json()['id']}/messages"
        replies = [made, *[await client.get(f"/v1/models/{what}") for what in ("", "embedding")]]
        replies += [
            await client.post(path, json={"input": "hi", "streaming": streaming}) for streaming in (True, False)
        ]
        replies += [await client.get("/v1/runs/"), await client.get("/v1/steps/")]
        told = "\n".join([*(f"{reply.headers} {reply.text}" for reply in replies), repr(logged), caplog.text])
        assert provider.url.partition("//")[2] in told
        assert "hunter2" not in told


async def test_the_password_in_a_callback_url_is_refused_and_told_nowhere(
    client: httpx.AsyncClient, logged: list[Any], caplog: pytest.LogCaptureFixture, agent: dict[str, Any]
) -> None:
    body = {"input": "hi", "callback_url": f"http://user:{KEY}@example.com/told"}
    reply = await client.post(f"/v1/agents/{agent['id']}/messages/async", json=body)
    assert reply.status_code == 400
    assert "callback_url" in reply.json()["detail"]
    runs = (await client.get("/v1/runs/")).text
    assert KEY not in f"{reply.text} {runs} {logged} {caplog.text}"
    assert runs == "[]"
