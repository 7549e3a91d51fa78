"""Servers that speak OpenAI Chat, each under a name of its own."""

import json
from collections.abc import Iterator

import httpx
import pytest
from letta_client import Letta

from tests.conformance.helpers import answer, send
from tests.conformance.requirements import requirement
from tests.conformance.wire import Recorder, RecordingTransport
from tests.support.openai_endpoint import OpenAIEndpoint, text, think
from tests.support.server_process import ForkedServer

# The provider part of the handle, the setting of its address, and where that leads.
ENDPOINTS = {
    "ollama": ("OLLAMA_BASE_URL", "/ollama/v1"),
    "vllm": ("VLLM_API_BASE", "/vllm/v1"),
    "lmstudio_openai": ("LMSTUDIO_BASE_URL", "/lmstudio/v1"),
    "llamacpp": ("LLAMACPP_BASE_URL", "/llamacpp/v1"),
}
NAMED = {"mine": "/mine/v1", "yours": "/yours/api"}


@pytest.fixture
def many(tmp_path_factory: pytest.TempPathFactory, endpoint: OpenAIEndpoint, recorder: Recorder) -> Iterator[Letta]:
    root = endpoint.url.removesuffix("/v1")
    named = {name: {"base_url": f"{root}{path}", "api_key": "sk-named"} for name, path in NAMED.items()}
    environment = {setting: f"{root}{path}" for setting, path in ENDPOINTS.values()}
    environment["TERTULIA_ENDPOINTS"] = json.dumps(named)
    with (
        ForkedServer(tmp_path_factory.mktemp("many") / "data", environment) as server,
        httpx.Client(transport=RecordingTransport(recorder), timeout=20) as http,
    ):
        yield Letta(base_url=server.url, api_key="unused", http_client=http, max_retries=0)


@requirement("models.compatible-endpoints")
def test_every_compatible_endpoint_is_reached_by_its_handle(many: Letta, endpoint: OpenAIEndpoint) -> None:
    paths = {name: path for name, (_, path) in ENDPOINTS.items()} | NAMED
    handles = {model.handle for model in many.models.list()}
    agent = many.agents.create(model="ollama/gpt-4o-mini")
    for name, path in paths.items():
        assert f"{name}/gpt-4o-mini" in handles
        endpoint.script(think("hm", answer=f"I am {name}"), text("again"))
        handle = f"{name}/gpt-4o-mini"
        said = send(many, "default", agent_id=agent.id, override_model=handle)
        assert answer(said) == f"I am {name}"
        request = endpoint.requests[-1]
        assert request.path == f"{path}/chat/completions"
        assert request.body["model"] == "gpt-4o-mini"
        assert (request.headers.get("authorization") == "Bearer sk-named") == (name in NAMED)
