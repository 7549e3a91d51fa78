"""What no client should send, and endpoints that are not there: a clear error, and the next message works."""

from typing import Any

import httpx
import pytest
from letta_client import Letta, UnprocessableEntityError
from letta_client.types import AgentState, Conversation

from tests.conformance.conftest import MAX_BODY_BYTES
from tests.conformance.helpers import MakeAgent, answer, detail, refused, send, unique
from tests.conformance.requirements import requirement
from tests.conformance.wire import Recorder, RecordingTransport
from tests.support.server_process import ForkedServer, ServerProcess, free_port

KEY = "the-key-of-this-server"
ROUTES = [
    ("POST", "/v1/agents/"),
    ("POST", "/v1/blocks/"),
    ("PATCH", "/v1/agents/{agent}"),
    ("PATCH", "/v1/conversations/{conversation}"),
    ("POST", "/v1/conversations/{conversation}/messages"),
    ("POST", "/v1/agents/{agent}/messages"),
    ("POST", "/v1/agents/{agent}/messages/stream"),
]


@requirement("bad-input.invalid-json")
@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize(
    "content",
    [b"{", b"", b"[]", b"null", b'"text"', b"\xff\xfe\x00", b"[" * 5000, b'{"a":' * 5000],
    ids=["open", "empty", "list", "null", "string", "binary", "deep-list", "deep-object"],
)
def test_a_body_that_is_no_json_object_is_422(
    http: httpx.Client, conversation: Conversation, method: str, path: str, content: bytes
) -> None:
    url = path.format(agent=conversation.agent_id, conversation=conversation.id)
    reply = http.request(method, url, content=content, headers={"content-type": "application/json"})
    assert reply.status_code == 422, reply.text


@requirement("bad-input.oversized-body")
@pytest.mark.parametrize("declared", [True, False], ids=["declared", "chunked"])
def test_a_body_over_the_limit_is_413(
    client: Letta, http: httpx.Client, conversation: Conversation, declared: bool
) -> None:
    body = b'{"streaming": false, "input": "' + b"x" * MAX_BODY_BYTES + b'"}'
    content: Any = body if declared else iter([body[:1000], body[1000:]])
    headers = {"content-type": "application/json"}
    reply = http.post(f"/v1/conversations/{conversation.id}/messages", content=content, headers=headers)
    assert reply.status_code == 413
    assert str(MAX_BODY_BYTES) in reply.json()["detail"]
    assert answer(send(client, conversation.id)) == "ok"


@requirement("bad-input.method-and-path")
def test_a_wrong_method_is_405_and_an_unknown_path_404(http: httpx.Client) -> None:
    assert http.put("/v1/agents/").status_code == 405
    assert http.delete("/v1/health/").status_code == 405
    assert http.get("/v1/nothing/here").status_code == 404
    assert http.get("/nothing").status_code == 404


@requirement("bad-input.strange-ids")
@pytest.mark.parametrize("strange", ["x", "agent-", "%00", "..%2f..%2fetc", "agent-" + "9" * 500, "💥", "'; --"])
def test_a_strange_id_is_404_or_422(http: httpx.Client, strange: str) -> None:
    for path in ("agents", "blocks", "tools", "runs", "steps", "messages", "conversations"):
        assert http.get(f"/v1/{path}/{strange}").status_code in {404, 422}, path


@requirement("bad-input.unknown-model")
@pytest.mark.parametrize(
    ("model", "says"), [("nobody/model", "nobody"), ("ollama/llama3", "OLLAMA_BASE_URL"), ("vllm/x", "VLLM_BASE_URL")]
)
def test_a_model_of_a_provider_that_is_not_configured_is_400_and_says_what_to_set(
    client: Letta, agent: AgentState, model: str, says: str
) -> None:
    assert says in detail(400, lambda: send(client, "default", agent_id=agent.id, override_model=model))
    assert answer(send(client, "default", agent_id=agent.id)) == "ok"


@requirement("bad-input.null-characters")
def test_a_null_character_is_refused_by_name(client: Letta, make_agent: MakeAgent) -> None:
    agent = make_agent(name=unique("null"))
    with pytest.raises(UnprocessableEntityError, match="'value' in the body"):
        client.blocks.create(label="odd", value="a\x00b\ud7ff")
    with pytest.raises(UnprocessableEntityError, match="NUL character"):
        send(client, "default", "a\x00b", agent_id=agent.id)


@requirement("bad-input.lone-surrogates")
def test_a_lone_surrogate_is_refused(http: httpx.Client) -> None:
    reply = http.post(
        "/v1/blocks/", content=rb'{"label": "odd", "value": "\ud800"}', headers={"content-type": "application/json"}
    )
    assert reply.status_code in {400, 422}


@requirement("bad-input.numbers-out-of-range")
@pytest.mark.parametrize("number", [2**63, -(2**70), 1e300])
def test_a_number_no_column_can_hold_is_refused(
    client: Letta, agent: AgentState, conversation: Conversation, number: float
) -> None:
    value: Any = number
    for request in (
        lambda: client.agents.update(agent.id, context_window_limit=value),
        lambda: client.agents.update(agent.id, last_run_duration_ms=value),
        lambda: client.conversations.update(conversation.id, context_window_limit=value),
        lambda: client.blocks.create(label="x", value="", limit=value),
        lambda: client.agents.list(limit=value),
        lambda: client.runs.list(limit=value),
    ):
        assert detail(422, request)


@pytest.fixture(scope="module")
def lonely_server(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A server whose endpoint is not there, that has no key for OpenAI, and that wants a key itself."""
    environment = {
        "OLLAMA_BASE_URL": f"http://127.0.0.1:{free_port()}/v1",
        "TERTULIA_MODEL_RETRIES": "0",
        "TERTULIA_API_KEY": KEY,
        "TERTULIA_MODEL_CONNECT_TIMEOUT": "2",
    }
    with ForkedServer(tmp_path_factory.mktemp("lonely") / "data", environment) as server:
        yield server


@requirement("bad-input.endpoint-down")
def test_an_endpoint_that_is_down_is_told_and_hides_no_other_model(lonely_server: ServerProcess) -> None:
    with Letta(base_url=lonely_server.url, api_key=KEY, max_retries=0) as client:
        assert all(str(model.handle).split("/", maxsplit=1)[0] != "openai" for model in client.models.list())
        agent = client.agents.create(model="ollama/llama3")
        error = refused(502, lambda: client.agents.messages.create(agent.id, input="hello"))["error"]
        assert error["type"] == "llm_error"
        assert "127.0.0.1" in error["message"] + error["detail"]


@requirement("bad-input.missing-key")
def test_a_missing_key_is_told_with_the_variable_to_set(lonely_server: ServerProcess) -> None:
    with Letta(base_url=lonely_server.url, api_key=KEY, max_retries=0) as client:
        agent = client.agents.create(model="ollama/llama3")
        model = "openai/gpt-4o-mini"
        said = detail(400, lambda: client.agents.messages.create(agent.id, input="hello", override_model=model))
        assert "OPENAI_API_KEY" in said


@requirement("auth.key")
@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer wrong"}, {"authorization": KEY}])
def test_without_the_key_every_route_but_health_is_401(
    lonely_server: ServerProcess, recorder: Recorder, headers: dict[str, str]
) -> None:
    with httpx.Client(base_url=lonely_server.url, transport=RecordingTransport(recorder), headers=headers) as http:
        assert http.get("/v1/health/").status_code == 200
        for method, path in (*ROUTES, ("GET", "/v1/agents/"), ("GET", "/v1/nothing"), ("GET", "/metrics")):
            assert http.request(method, path.format(agent="agent-1", conversation="conv-1")).status_code == 401, path
