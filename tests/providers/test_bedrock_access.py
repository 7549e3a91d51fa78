"""How requests to Bedrock are allowed and where they go: keys, profiles, regions, addresses."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tertulia.domain.errors import ProviderAuthenticationError, ProviderBadRequest, ProviderError, ProviderUnreachable
from tertulia.domain.provider_types import BY_PREFIX
from tertulia.ports.provider import ModelRequest, TextPiece
from tertulia.providers.bedrock.adapter import BedrockProvider
from tertulia.providers.endpoint import EndpointConfig
from tests.support.bedrock_endpoint import ACCESS_KEY, API_KEY, MODEL, SECRET_KEY, BedrockEndpoint, refuse

REQUEST = ModelRequest(model=MODEL, system="", messages=())
KEYS = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}


@pytest.fixture(scope="module")
def far_end() -> Iterator[BedrockEndpoint]:
    with BedrockEndpoint() as endpoint:
        yield endpoint


@pytest.fixture
def endpoint(far_end: BedrockEndpoint) -> Iterator[BedrockEndpoint]:
    far_end.reset()
    yield far_end
    assert not far_end.violations


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of this machine's, and no asking of the network for roles."""
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))


def set_all(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def make(base_url: str = "", **fields: Any) -> BedrockProvider:
    config = EndpointConfig(name="bedrock", type=BY_PREFIX["bedrock"], base_url=base_url, retries=0, **fields)
    return BedrockProvider(config)


async def answers(provider: BedrockProvider) -> None:
    try:
        events = [event async for event in provider.stream(REQUEST)]
        assert events[0] == TextPiece("ok")
    finally:
        await provider.close()


async def failure(provider: BedrockProvider, kind: type[ProviderError]) -> ProviderError:
    with pytest.raises(kind) as caught:
        await answers(provider)
    return caught.value


def scope(endpoint: BedrockEndpoint) -> str:
    """What the last request was signed for: region and service."""
    return endpoint.requests[-1].headers["authorization"].partition("/")[2].partition(",")[0].partition("/")[2]


@pytest.mark.parametrize(
    "fields",
    [
        {"options": {"access_key": ACCESS_KEY, "secret_key": SECRET_KEY, "region": "eu-west-1"}},
        {"options": {"access_key": ACCESS_KEY, "region": "eu-west-1"}, "api_key": SECRET_KEY},
    ],
)
async def test_keys_of_the_configuration_sign_whatever_the_environment_has(
    endpoint: BedrockEndpoint, monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any]
) -> None:
    set_all(monkeypatch, {"AWS_BEARER_TOKEN_BEDROCK": "other", "AWS_SECRET_ACCESS_KEY": "x", "AWS_ACCESS_KEY_ID": "y"})
    await answers(make(endpoint.url, **fields))
    assert scope(endpoint) == "eu-west-1/bedrock/aws4_request"
    assert "x-amz-security-token" not in endpoint.requests[-1].headers


async def test_temporary_keys_go_with_their_token(endpoint: BedrockEndpoint) -> None:
    options = {"access_key": ACCESS_KEY, "secret_key": SECRET_KEY, "session_token": "tok/+="}
    await answers(make(endpoint.url, options=options))
    assert endpoint.requests[-1].headers["x-amz-security-token"] == "tok/+="
    assert scope(endpoint) == "us-east-1/bedrock/aws4_request", "an address of one's own needs no region"


async def test_a_bedrock_api_key_goes_as_it_is(endpoint: BedrockEndpoint) -> None:
    await answers(make(endpoint.url, api_key=API_KEY, options={"region": "us-east-1"}))
    assert endpoint.requests[-1].headers["authorization"] == f"Bearer {API_KEY}"


async def test_the_environment_alone_is_enough(endpoint: BedrockEndpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, {**KEYS, "AWS_REGION": "ap-south-1", "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": endpoint.url})
    provider = make()
    assert [card.name for card in await provider.models()] == ["amazon.nova-lite-v1:0"], "the list is asked there, too"
    await answers(provider)
    assert scope(endpoint) == "ap-south-1/bedrock/aws4_request"
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", API_KEY)
    await answers(make())
    assert endpoint.requests[-1].headers["authorization"] == f"Bearer {API_KEY}"


async def test_a_profile_tells_keys_and_region(
    endpoint: BedrockEndpoint, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "config").write_text("[profile work]\nregion = sa-east-1\n")
    (tmp_path / "credentials").write_text(
        f"[work]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n"
    )
    await answers(make(endpoint.url, options={"profile": "work"}))
    monkeypatch.setenv("AWS_PROFILE", "work")
    await answers(make(endpoint.url))
    assert scope(endpoint) == "sa-east-1/bedrock/aws4_request"


async def test_who_has_no_keys_is_told_which_variables_to_set(endpoint: BedrockEndpoint) -> None:
    error = await failure(make(endpoint.url), ProviderAuthenticationError)
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_BEARER_TOKEN_BEDROCK"):
        assert variable in error.message
    half = make(endpoint.url, options={"access_key": ACCESS_KEY})
    assert "AWS_SECRET_ACCESS_KEY" in (await failure(half, ProviderAuthenticationError)).message
    nobody = make(endpoint.url, options={"profile": "nobody"})
    assert "nobody" in (await failure(nobody, ProviderAuthenticationError)).detail


async def test_who_has_no_region_is_told_which_variable_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, KEYS)
    assert "AWS_REGION" in (await failure(make(), ProviderAuthenticationError)).message
    assert await make().models() == []


@pytest.mark.parametrize(("category", "words"), [("base", "AWS_ACCESS_KEY_ID"), ("byok", "/v1/providers/")])
async def test_who_has_wrong_keys_is_told_where_to_set_better_ones(
    endpoint: BedrockEndpoint, category: Any, words: str
) -> None:
    endpoint.script([refuse(403, "UnrecognizedClientException", "The security token is invalid.")])
    provider = make(endpoint.url, options={"access_key": ACCESS_KEY}, api_key=SECRET_KEY, category=category)
    assert words in (await failure(provider, ProviderAuthenticationError)).message


async def test_an_address_that_is_none_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, {**KEYS, "AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": "nonsense"})
    assert "nonsense" in (await failure(make(), ProviderBadRequest)).message
    monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", "http://127.0.0.1:9")
    await failure(make(), ProviderUnreachable)


async def test_without_the_package_the_user_is_told_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "tertulia.providers.bedrock.sdk", raising=False)
    monkeypatch.setitem(sys.modules, "aiobotocore.config", None)
    provider = make("http://127.0.0.1:9", api_key=API_KEY)
    assert "pip install 'tertulia[bedrock]'" in (await failure(provider, ProviderError)).message
    assert await provider.models() == []


def test_no_sdk_is_loaded_before_the_first_request() -> None:
    script = (
        "import sys; from tertulia.domain.provider_types import BY_PREFIX; "
        "from tertulia.providers.endpoint import EndpointConfig; from tertulia.providers.adapters import make_adapter; "
        "make_adapter(EndpointConfig(name='bedrock', type=BY_PREFIX['bedrock'], base_url='')); "
        "sys.exit(any(name in sys.modules for name in ('aiobotocore', 'botocore', 'aiohttp')))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
