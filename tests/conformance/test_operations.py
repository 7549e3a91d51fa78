"""The 129 operations of the SDK: which are supported, and what the others answer."""

import re
from typing import Any

import httpx
import pytest
from letta_client import Letta

from tests.conformance.operations import SUPPORTED, sdk_methods
from tests.conformance.requirements import requirement
from tests.conformance.schema import Operation, operation, operations
from tests.support.server_process import ServerProcess

IDS = {
    "agent_id": "agent-00000000-0000-4000-8000-000000000000",
    "conversation_id": "conv-00000000-0000-4000-8000-000000000000",
    "run_id": "run-00000000-0000-4000-8000-000000000000",
}


def _url(known: Operation) -> str:
    return re.sub(r"\{(\w+)\}", lambda match: IDS.get(match[1], "x"), known.path)


@requirement("operations.table-is-the-sdk")
def test_the_table_holds_every_operation_of_the_installed_sdk() -> None:
    assert sdk_methods(Letta(base_url="http://127.0.0.1", api_key="unused")) == {known.sdk for known in operations()}
    assert len(operations()) == 129
    assert {known.sdk for known in operations()} >= SUPPORTED


@requirement("operations.unsupported-is-501")
@pytest.mark.parametrize("sdk", [known.sdk for known in operations() if known.sdk not in SUPPORTED])
def test_an_operation_that_is_not_built_answers_501_and_names_itself(http: httpx.Client, sdk: str) -> None:
    known = operation(sdk)
    for url in {_url(known), _url(known).rstrip("/")}:
        reply = http.request(known.method, url, json={} if known.body else None)
        assert reply.status_code == 501, reply.text
        assert sdk in reply.json()["detail"]


@requirement("operations.supported-is-not-501")
@pytest.mark.parametrize("sdk", sorted(SUPPORTED))
def test_a_supported_operation_answers_with_and_without_the_slash(http: httpx.Client, sdk: str) -> None:
    known = operation(sdk)
    for url in {_url(known).rstrip("/"), _url(known).rstrip("/") + "/"}:
        reply = http.request(known.method, url, json={"input": 3} if known.body else None)
        assert reply.status_code in {200, 400, 404, 409, 422}, reply.text


@pytest.fixture(scope="module")
def document(server: ServerProcess) -> dict[str, Any]:
    return httpx.get(f"{server.url}/openapi.json", verify=False).json()


def _normalised(path: str) -> str:
    return re.sub(r"\{\w+\}", "{}", path.rstrip("/"))


@requirement("openapi.has-every-supported-operation")
@pytest.mark.parametrize("sdk", sorted(SUPPORTED))
def test_the_openapi_document_describes_each_supported_operation(document: dict[str, Any], sdk: str) -> None:
    known = operation(sdk)
    paths = {_normalised(path): methods for path, methods in document["paths"].items()}
    described = paths[_normalised(known.path)][known.method.lower()]
    assert re.fullmatch(r"[A-Za-z_.]+", described["operationId"])
    named = {parameter["name"] for parameter in described.get("parameters", [])}
    assert set(known.query) <= named
    if known.body:
        schema = described["requestBody"]["content"]["application/json"]["schema"]
        assert set(known.body) <= _fields(document, schema)


def _fields(document: dict[str, Any], schema: dict[str, Any]) -> set[str]:
    if "$ref" in schema:
        return _fields(document, document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[-1]])
    branches = [*schema.get("anyOf", []), *schema.get("allOf", []), *schema.get("oneOf", [])]
    return set(schema.get("properties", {})).union(*(_fields(document, branch) for branch in branches))


@requirement("openapi.lettas-operation-ids")
def test_the_operation_ids_are_lettas_and_unique(document: dict[str, Any]) -> None:
    ids = {
        (method.upper(), _normalised(path)): described["operationId"]
        for path, methods in document["paths"].items()
        for method, described in methods.items()
    }
    assert len(set(ids.values())) == len(ids)
    known = {
        ("POST", "/v1/agents"): "create_agent",
        ("GET", "/v1/agents"): "list_agents",
        ("PATCH", "/v1/agents/{}"): "modify_agent",
        ("POST", "/v1/agents/{}/messages"): "send_message",
        ("POST", "/v1/agents/{}/messages/stream"): "create_agent_message_stream",
        ("POST", "/v1/conversations"): "create_conversation",
        ("PATCH", "/v1/conversations/{}"): "update_conversation",
        ("POST", "/v1/conversations/{}/messages"): "send_conversation_message",
        ("GET", "/v1/conversations/{}/messages"): "list_conversation_messages",
        ("GET", "/v1/runs/{}"): "retrieve_run",
        ("GET", "/v1/steps/{}/trace"): "retrieve_trace_for_step",
        ("GET", "/v1/models"): "list_models",
    }
    assert {route: ids[route] for route in known} == known


@requirement("openapi.docs-without-a-cdn")
def test_the_swagger_page_loads_nothing_from_elsewhere(http: httpx.Client) -> None:
    page = http.get("/docs")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    loaded = re.findall(r"""(?:src|href)\s*=\s*["']?([^"'\s>]+)""", page.text)
    assert any(path.endswith(".js") for path in loaded)
    for path in loaded:
        url = page.url.join(path)
        assert (url.host, url.port) == (page.url.host, page.url.port)
        assert http.get(url).status_code == 200, path
