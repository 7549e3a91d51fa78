"""Vertex AI: where it is, and what it is spoken to with. Nobody of Google's is asked."""

import json
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tertulia.domain.errors import ProviderAuthenticationError
from tertulia.domain.provider_types import BY_PREFIX
from tertulia.ports.provider import ModelRequest, TextPiece
from tertulia.providers.endpoint import EndpointConfig
from tertulia.providers.gemini.adapter import GeminiProvider
from tertulia.providers.gemini.addresses import place_of, vertex_address
from tests.support.asking import ask_once
from tests.support.gemini_raw import WHOLE
from tests.support.histories import message
from tests.support.raw_http import RawServer, Seen, chunked, response

REQUEST = ModelRequest(model="gemini-2.5-flash", system="", messages=[message("user", "hi")])
GENERATE = "publishers/google/models/gemini-2.5-flash:streamGenerateContent?alt=sse"


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[RawServer, None]:
    for name in ("GOOGLE_CLOUD_PROJECT", "GOOGLE_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    async with RawServer(chunked(*WHOLE)) as server:
        yield server


def config_of(url: str = "", **fields: Any) -> EndpointConfig:
    fields = {"retries": 0, **fields}
    return EndpointConfig(
        name="google_vertex",
        type=BY_PREFIX["google_vertex"],
        base_url=url.removesuffix("/v1"),
        **fields,
    )


async def ask(server: RawServer, **fields: Any) -> Seen:
    """The last request that an ask comes to."""
    events = await ask_once(GeminiProvider(config_of(server.url, **fields)), REQUEST)
    assert events[0] == TextPiece("Hél")
    return server.requests[-1]


async def test_a_project_is_in_the_path_and_a_token_in_the_header(server: RawServer) -> None:
    options = {"project": "p-1", "location": "europe-west4", "access_token": "ya29.x", "api_version": "v1"}
    seen = await ask(server, options=options)
    assert seen.path == f"/v1/projects/p-1/locations/europe-west4/{GENERATE}"
    assert seen.headers["authorization"] == "Bearer ya29.x"
    assert "x-goog-api-key" not in seen.headers


async def test_a_key_alone_needs_no_project(server: RawServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "other")
    seen = await ask(server, api_key="AQ.x")
    assert seen.path == f"/v1beta1/{GENERATE}"
    assert seen.headers["x-goog-api-key"] == "AQ.x"


async def test_a_key_may_go_with_a_project(server: RawServer) -> None:
    seen = await ask(server, api_key="AQ.x", options={"project": "p-1", "region": "us"})
    assert seen.path == f"/v1beta1/projects/p-1/locations/us/{GENERATE}"
    assert seen.headers["x-goog-api-key"] == "AQ.x"


async def test_other_hosts_than_googles_get_nothing_of_the_machines(
    server: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEMINI_API_KEY", "other")
    monkeypatch.setenv("GOOGLE_CLOUD_LOCATION", "other")
    seen = await ask(server, options={"project": "p-1"})
    assert seen.path == f"/v1beta1/projects/p-1/locations/global/{GENERATE}"
    assert not {"authorization", "x-goog-api-key"} & set(seen.headers)


@pytest.fixture(scope="module")
def private_key() -> str:
    key = rsa.generate_private_key(65537, 2048)
    encoding, layout = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(encoding, layout, serialization.NoEncryption()).decode()


def account(token_uri: str, private_key: str) -> dict[str, str]:
    return {
        "type": "service_account",
        "project_id": "p-of-account",
        "private_key": private_key,
        "client_email": "robot@p-of-account.iam.example",
        "token_uri": token_uri,
    }


TOKEN = response(200, b'{"access_token": "ya29.made", "expires_in": 3600, "token_type": "Bearer"}')


async def test_the_key_of_a_service_account_gets_a_token(server: RawServer, private_key: str) -> None:
    async with RawServer(TOKEN) as sign_in:
        key = json.dumps(account(sign_in.url, private_key), indent=2)
        seen = await ask(server, api_key=key, options={"location": "us-central1"})
        assert sign_in.requests[0].body.startswith(b"assertion=")
    assert seen.path.startswith("/v1beta1/projects/p-of-account/locations/us-central1/")
    assert seen.headers["authorization"] == "Bearer ya29.made"


async def test_a_file_of_credentials_gets_a_token(server: RawServer, private_key: str, tmp_path: Path) -> None:
    async with RawServer(TOKEN) as sign_in:
        file = tmp_path / "account.json"
        file.write_text(json.dumps(account(sign_in.url, private_key)))
        seen = await ask(server, options={"project": "p-1", "credentials": str(file)})
    assert seen.path.startswith("/v1beta1/projects/p-1/")
    assert seen.headers["authorization"] == "Bearer ya29.made"


@pytest.mark.parametrize("content", [None, "{}", "{", '{"type": "service_account"}'])
async def test_a_file_that_holds_no_credentials_is_named(
    server: RawServer, tmp_path: Path, content: str | None
) -> None:
    file = tmp_path / "account.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ProviderAuthenticationError, match=r"account\.json"):
        await ask(server, options={"project": "p-1", "credentials": str(file)})
    assert not server.requests


async def test_a_sign_in_that_fails_is_a_matter_of_credentials(server: RawServer, private_key: str) -> None:
    async with RawServer(
        response(400, b'{"error": "invalid_grant", "error_description": "no such account"}')
    ) as sign_in:
        with pytest.raises(ProviderAuthenticationError) as caught:
            await ask(server, api_key=json.dumps(account(sign_in.url, private_key)))
    assert "invalid_grant" in caught.value.detail
    assert not server.requests


@pytest.mark.parametrize(
    "key",
    ['{"type": "service_account", "project_id": "p"}', '{"type": "external_account", "project_id": "p"}', "{nothing"],
)
async def test_json_that_is_no_service_account_is_refused(server: RawServer, key: str) -> None:
    with pytest.raises(ProviderAuthenticationError, match="service account"):
        await ask(server, api_key=key)
    assert not server.requests


async def test_without_a_project_and_a_key_there_is_nothing_to_speak_to(server: RawServer) -> None:
    with pytest.raises(ProviderAuthenticationError, match="GOOGLE_CLOUD_PROJECT"):
        await ask(server)


async def test_a_machine_without_credentials_is_told_how_to_get_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_GCE_CHECK", "true")  # or the address of Google's own machines would be tried
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    provider = GeminiProvider(config_of(options={"project": "p-1", "location": "us-central1"}))
    assert provider.config.base_url == "https://us-central1-aiplatform.googleapis.com"
    with pytest.raises(ProviderAuthenticationError, match="GOOGLE_APPLICATION_CREDENTIALS"):
        await ask_once(provider, REQUEST)


@pytest.mark.parametrize(
    ("location", "address"),
    [
        ("global", "https://aiplatform.googleapis.com"),
        ("us-central1", "https://us-central1-aiplatform.googleapis.com"),
        ("eu", "https://aiplatform.eu.rep.googleapis.com"),
    ],
)
def test_the_address_follows_from_the_location(location: str, address: str) -> None:
    assert vertex_address(location) == address
    provider = GeminiProvider(config_of(options={"project": "p", "location": location}))
    place = place_of(provider.config)
    assert place.base_url == f"{address}/v1beta1"
    assert place.is_google


def test_hosts_that_only_look_like_googles_are_not() -> None:
    for url in ("https://googleapis.com.example", "https://mygoogleapis.com", "http://127.0.0.1"):
        assert not place_of(config_of(url, options={"project": "p"})).is_google


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("gemini-x", "/projects/p/locations/l/publishers/google/models/gemini-x"),
        ("meta/llama", "/projects/p/locations/l/publishers/meta/models/llama"),
        ("publishers/a/models/b", "/projects/p/locations/l/publishers/a/models/b"),
        ("endpoints/12", "/projects/p/locations/l/endpoints/12"),
        ("projects/q/locations/l/endpoints/12", "/projects/q/locations/l/endpoints/12"),
    ],
)
def test_models_may_be_named_by_their_path(model: str, path: str) -> None:
    place = place_of(config_of(options={"project": "p", "location": "l"}))
    assert place.generate(model) == f"{path}:streamGenerateContent?alt=sse"
