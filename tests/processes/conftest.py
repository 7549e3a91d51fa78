"""A server process of the test's own and a scripted endpoint, for what only real processes and sockets can show."""

from collections.abc import Iterator

import pytest

from tests.support.openai_endpoint import OpenAIEndpoint
from tests.support.server_process import ForkedServer, ServerProcess

MODEL = "openai/gpt-4o-mini"


@pytest.fixture
def endpoint() -> Iterator[OpenAIEndpoint]:
    with OpenAIEndpoint() as endpoint:
        yield endpoint


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory, endpoint: OpenAIEndpoint) -> Iterator[ServerProcess]:
    environment = {
        "OPENAI_API_KEY": "sk-test",
        "OPENAI_BASE_URL": endpoint.url,
        "TERTULIA_DEFAULT_MODEL": MODEL,
        "TERTULIA_MODEL_RETRIES": "0",
    }
    with ForkedServer(tmp_path_factory.mktemp("processes") / "data", environment) as server:
        yield server
