from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute

from tertulia.api.deps import ApiSettings, Services
from tertulia.api.operations import BEYOND_THE_SDK, OPERATIONS
from tertulia.api.router import RESOURCES, build_api

ROUTES = [route for router in RESOURCES for route in router.routes if isinstance(route, APIRoute)]
MISSING = [operation for operation in OPERATIONS if not operation.built]
PLAIN = {"/openapi.json": {"GET"}, "/docs": {"GET"}, "/docs/favicon.png": {"GET"}, "/metrics": {"GET"}}
METHODS = ("get", "post", "put", "patch", "delete")


def _filled(path: str) -> str:
    return path.replace("{", "").replace("}", "")


def _methods_at() -> dict[str, set[str]]:
    """What each path accepts, those of operations that are not built too."""
    found = {path: set(methods) for path, methods in PLAIN.items()}
    for operation in OPERATIONS:
        found.setdefault(_filled(operation.path), set()).add(operation.method)
    for method, path, _ in BEYOND_THE_SDK:
        found.setdefault(_filled(path), set()).add(method)
    return found


METHODS_AT = _methods_at()


def _allowed(reply: httpx.Response) -> set[str]:
    return set(reply.headers["allow"].split(", "))


def test_the_table_has_every_operation_once() -> None:
    assert len(OPERATIONS) == 129
    assert len({operation.id for operation in OPERATIONS}) == 129
    assert len({(operation.method, operation.route_path) for operation in OPERATIONS}) == 129


def test_the_table_and_the_routes_agree_on_what_is_built() -> None:
    routed = {(method, route.path_format, route.operation_id) for route in ROUTES for method in route.methods or ()}
    built = {(operation.method, operation.route_path, operation.id) for operation in OPERATIONS if operation.built}
    assert routed == built | set(BEYOND_THE_SDK)


async def test_an_operation_not_built_says_so(client: httpx.AsyncClient) -> None:
    for operation in MISSING:
        reply = await client.request(operation.method, _filled(operation.path))
        assert reply.status_code == 501
        assert reply.json()["operation"] == operation.id
        assert reply.json()["detail"].startswith(f"UNSUPPORTED: {operation.sdk} is not available in this release")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/agents/a/secrets"),
        ("GET", "/v1/agents/a/mcp-servers"),
        ("GET", "/v1/metadata/balance"),
        ("GET", "/v1/organizations/self/quotas"),
        ("POST", "/v1/_internal_search/cache-warm"),
        ("GET", "/v1/git/a/state.git/info/refs"),
        ("GET", "/nothing"),
    ],
)
async def test_what_clients_probe_for_and_no_sdk_has_is_404_in_our_shape(
    client: httpx.AsyncClient, method: str, path: str
) -> None:
    reply = await client.request(method, path)
    assert reply.status_code == 404
    assert path in reply.json()["detail"]


async def test_head_is_answered_like_get_without_the_body_on_every_path(client: httpx.AsyncClient) -> None:
    for path in sorted(path for path, methods in METHODS_AT.items() if "GET" in methods):
        head, get = await client.head(path), await client.get(path)
        assert (head.status_code, head.content) == (get.status_code, b""), path
        if path != "/metrics":  # whose figures count these requests
            assert head.headers.get("content-length") == get.headers.get("content-length"), path


async def test_options_says_on_every_path_what_it_accepts_and_does_nothing(client: httpx.AsyncClient) -> None:
    for path, methods in METHODS_AT.items():
        reply = await client.options(path)
        assert (reply.status_code, reply.content) == (204, b""), path
        assert _allowed(reply) >= methods | {"OPTIONS"}, path
        assert ("HEAD" in _allowed(reply)) == ("GET" in _allowed(reply)), path
    assert (await client.options("/v1/nothing")).status_code == 404


async def test_a_wrong_method_is_405_on_every_path_and_says_which_there_are(client: httpx.AsyncClient) -> None:
    for path in METHODS_AT:
        allowed = _allowed(await client.options(path))
        for method in {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "PROPFIND"} - allowed:
            reply = await client.request(method, path, json={})
            assert (reply.status_code, _allowed(reply)) == (405, allowed), (method, path)
            if method != "HEAD":
                assert reply.json().keys() == {"detail"}
                assert reply.json()["detail"].startswith(f"{method} is not allowed on {path.rstrip('/')}; it accepts ")


async def test_the_words_of_a_405_name_the_methods(client: httpx.AsyncClient) -> None:
    reply = await client.put("/v1/agents/", json={})
    assert reply.headers["allow"] == "GET, HEAD, OPTIONS, POST"
    assert reply.json()["detail"] == "PUT is not allowed on /v1/agents; it accepts GET and POST."


@pytest.mark.parametrize("path", ["/v1/blocks", "/v1/blocks/"])
async def test_a_body_arrives_with_and_without_the_slash(client: httpx.AsyncClient, path: str) -> None:
    reply = await client.post(path, json={"label": "human", "value": "Ada"})
    assert reply.status_code == 200
    assert reply.json()["value"] == "Ada"


@pytest.mark.parametrize("path", ["/v1/health", "/v1/health/"])
async def test_health_tells_the_level_of_the_api_and_our_own_version(client: httpx.AsyncClient, path: str) -> None:
    reply = await client.get(path)
    assert reply.status_code == 200
    assert reply.json().keys() == {"version", "status", "tertulia_version"}
    assert reply.json()["version"] == "0.16.8"


async def test_the_openapi_document_has_every_operation_at_the_path_the_sdk_asks_for(client: httpx.AsyncClient) -> None:
    document: dict[str, Any] = (await client.get("/openapi.json")).json()
    described = {
        (method.upper(), path, item[method]["operationId"])
        for path, item in document["paths"].items()
        for method in METHODS
        if method in item
    }
    assert {(operation.method, operation.path, operation.id) for operation in OPERATIONS} <= described
    assert set(document["components"]["schemas"]) >= {"AgentStateBody", "BlockBody", "OpenAIModelSettings", "Error"}


async def test_the_documentation_needs_nothing_from_elsewhere(client: httpx.AsyncClient) -> None:
    page = await client.get("/docs")
    assert page.status_code == 200
    assert "//" not in page.text.replace("<!DOCTYPE html>", "")
    for asset in ("swagger-ui.css", "swagger-ui-bundle.js", "favicon.png"):
        assert f"docs/{asset}" in page.text
        assert (await client.get(f"/docs/{asset}")).status_code == 200
    assert (await client.get("/docs/redoc.standalone.js")).status_code == 404


class TestWithAKey:
    @pytest.fixture
    def api_settings(self) -> ApiSettings:
        return ApiSettings(api_key="s3cret")

    @pytest.mark.parametrize(
        "header",
        [None, "s3cret", "Bearer", "Bearer ", "Bearer s3cre", "Bearer s3cret2", "Basic s3cret", "Bearer \xff"],
    )
    async def test_a_request_without_the_key_is_401_in_our_shape(
        self, client: httpx.AsyncClient, header: str | None
    ) -> None:
        headers = {} if header is None else {"authorization": header}
        for path in ("/v1/agents/", "/v1/archives/", "/v1/nothing", "/metrics"):
            reply = await client.get(path, headers=httpx.Headers(headers, encoding="latin-1"))
            assert reply.status_code == 401
            assert "API key" in reply.json()["detail"]

    @pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
    async def test_a_request_with_the_key_is_answered(self, client: httpx.AsyncClient, scheme: str) -> None:
        reply = await client.get("/v1/agents/", headers={"authorization": f"{scheme} s3cret"})
        assert reply.status_code == 200

    async def test_health_and_documentation_need_no_key(self, client: httpx.AsyncClient) -> None:
        for path in ("/v1/health", "/v1/health/", "/openapi.json", "/docs", "/docs/swagger-ui.css"):
            assert (await client.get(path)).status_code == 200


async def test_two_applications_can_be_built_over_the_same_services(services: Services) -> None:
    assert build_api(services) is not build_api(services)
