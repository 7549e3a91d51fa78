"""A server process for each test worker, the endpoint it takes its models from, and clients that check every reply."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest
from letta_client import Letta

from tests.conformance.helpers import MODEL, unique
from tests.conformance.wire import Recorder, RecordingTransport
from tests.support.anthropic_endpoint import AnthropicEndpoint
from tests.support.openai_endpoint import OpenAIEndpoint
from tests.support.server_process import ForkedServer, ServerProcess

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from letta_client.types import AgentState, Conversation

    from tests.conformance.helpers import MakeAgent

MAX_BODY_BYTES = 200_000


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "requirement(*ids): the rows of requirements.py that a test proves")
    # How the SDK marks the methods it would rather not have called; users call them.
    config.addinivalue_line("filterwarnings", "ignore:deprecated$:DeprecationWarning")


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """After a test that passed, every reply it got is checked against the contract."""
    result = yield
    recorder = pyfuncitem.funcargs.get("recorder")
    if isinstance(recorder, Recorder):
        recorder.check()
    for name in ("endpoint", "messages_endpoint"):
        endpoint = pyfuncitem.funcargs.get(name)
        if isinstance(endpoint, OpenAIEndpoint | AnthropicEndpoint):
            assert not endpoint.violations, "\n".join(endpoint.violations)
    return result


@pytest.fixture(scope="session")
def shared_endpoint() -> Iterator[OpenAIEndpoint]:
    with OpenAIEndpoint() as endpoint:
        yield endpoint


@pytest.fixture(scope="session")
def shared_messages_endpoint() -> Iterator[AnthropicEndpoint]:
    with AnthropicEndpoint() as endpoint:
        yield endpoint


@pytest.fixture(scope="session")
def environment(shared_endpoint: OpenAIEndpoint, shared_messages_endpoint: AnthropicEndpoint) -> dict[str, str]:
    """What a server needs to take its models from the endpoints."""
    return {
        "ANTHROPIC_API_KEY": "sk-ant-test",
        "ANTHROPIC_BASE_URL": shared_messages_endpoint.url,
        "MOONSHOT_CODING_API_KEY": "sk-kimi-test",
        "MOONSHOT_CODING_BASE_URL": shared_messages_endpoint.url,
        "OPENAI_API_KEY": "sk-test",
        "OPENAI_BASE_URL": shared_endpoint.url,
        "TERTULIA_DEFAULT_MODEL": MODEL,
        "TERTULIA_MAX_BODY_BYTES": str(MAX_BODY_BYTES),
        "TERTULIA_MODEL_RETRIES": "0",
        "TERTULIA_MODEL_IDLE_TIMEOUT": "2",
    }


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> Iterator[ServerProcess]:
    with ForkedServer(tmp_path_factory.mktemp("server") / "data", environment) as server:
        yield server


@pytest.fixture
def endpoint(shared_endpoint: OpenAIEndpoint) -> OpenAIEndpoint:
    shared_endpoint.reset()
    return shared_endpoint


@pytest.fixture
def messages_endpoint(shared_messages_endpoint: AnthropicEndpoint) -> AnthropicEndpoint:
    """Where the providers `anthropic` and `moonshot_coding` are."""
    shared_messages_endpoint.reset()
    return shared_messages_endpoint


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def http(server: ServerProcess, recorder: Recorder) -> Iterator[httpx.Client]:
    """Plain HTTP, for what the SDK would never send."""
    with httpx.Client(base_url=server.url, transport=RecordingTransport(recorder), timeout=20) as client:
        yield client


@pytest.fixture
def client(http: httpx.Client, server: ServerProcess) -> Letta:
    """The official SDK, as a user would make it, except that it does not retry."""
    return Letta(base_url=server.url, api_key="unused", http_client=http, max_retries=0)


@pytest.fixture
def make_agent(client: Letta, endpoint: OpenAIEndpoint) -> MakeAgent:
    """Creates an agent on the scripted endpoint; keyword arguments are those of the SDK."""

    def make(**fields: Any) -> AgentState:
        given: dict[str, Any] = {"name": unique("agent"), "model": MODEL} | fields
        return client.agents.create(**given)

    return make


@pytest.fixture
def agent(make_agent: MakeAgent) -> AgentState:
    """An agent with the two usual memory blocks."""
    return make_agent(
        memory_blocks=[
            {"label": "human", "value": "Name: Chad.", "description": "What is known of the user.", "limit": 200},
            {"label": "persona", "value": "I am terse."},
        ]
    )


@pytest.fixture
def conversation(client: Letta, agent: AgentState) -> Conversation:
    return client.conversations.create(agent_id=agent.id)
