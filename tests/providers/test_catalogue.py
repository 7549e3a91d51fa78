"""Which provider answers for a handle, and what is said where none does."""

import subprocess
import sys
from collections.abc import AsyncGenerator

import pytest

from tertulia.domain.errors import InvalidArgument
from tertulia.domain.models import PROVIDER_TYPES, ModelSettings
from tertulia.domain.provider_types import BY_PREFIX, ProviderType
from tertulia.domain.provider_types import PROVIDER_TYPES as ROWS
from tertulia.provider_settings import Endpoint, ProviderSettings
from tertulia.providers.catalogue import ProviderCatalogue, build_catalogue
from tests.support.raw_http import RawServer, response
from tests.support.scripted import ScriptedProvider

NOWHERE = "http://127.0.0.1:1/v1"
EVERYTHING = ProviderSettings(
    endpoints=(
        Endpoint(name="openai", type=BY_PREFIX["openai"], base_url="https://api.openai.com/v1", api_key="sk"),
        Endpoint(name="ollama", type=BY_PREFIX["ollama"], base_url=NOWHERE),
        Endpoint(name="vllm", type=BY_PREFIX["vllm"], base_url=NOWHERE),
        Endpoint(name="lmstudio_openai", type=BY_PREFIX["lmstudio"], base_url=NOWHERE),
        Endpoint(name="llamacpp", type=BY_PREFIX["llamacpp"], base_url=NOWHERE),
        Endpoint(name="anthropic", type=BY_PREFIX["anthropic"], base_url="http://127.0.0.1:1", api_key="sk"),
        Endpoint(
            name="moonshot_coding", type=BY_PREFIX["moonshot_coding"], base_url="http://127.0.0.1:1", api_key="sk"
        ),
        Endpoint(name="box", base_url=NOWHERE, models=("a", "b")),
    )
)
KEYS = {"chatgpt_oauth": '{"access_token": "a", "refresh_token": "r"}'}
NOTHING = build_catalogue(ProviderSettings(), None)


@pytest.fixture
async def catalogue() -> AsyncGenerator[ProviderCatalogue, None]:
    catalogue = build_catalogue(EVERYTHING, "openai/gpt-4o-mini", others=(ScriptedProvider(),))
    yield catalogue
    await catalogue.close()


@pytest.mark.parametrize(
    ("handle", "name", "model", "provider_type", "endpoint_type"),
    [
        ("openai/gpt-4o", "openai", "gpt-4o", "openai", "openai"),
        ("ollama/qwen3:8b", "ollama", "qwen3:8b", "ollama", "ollama"),
        ("vllm/org/model", "vllm", "org/model", "vllm", "vllm"),
        ("lmstudio_openai/m", "lmstudio_openai", "m", "lmstudio_openai", "lmstudio"),
        ("lmstudio/m", "lmstudio_openai", "m", "lmstudio_openai", "lmstudio"),
        ("llamacpp/m", "llamacpp", "m", "openai", "llamacpp"),
        ("llama_cpp/m", "llamacpp", "m", "openai", "llamacpp"),
        ("anthropic/claude-x", "anthropic", "claude-x", "anthropic", "anthropic"),
        ("moonshot_coding/k", "moonshot_coding", "k", "moonshot_coding", "moonshot_coding"),
        ("kimi-code/k", "moonshot_coding", "k", "moonshot_coding", "moonshot_coding"),
        ("box/m", "box", "m", "openai", "openai"),
        ("scripted/m", "scripted", "m", "openai", "openai"),
        ("letta/auto", "openai", "gpt-4o-mini", "openai", "openai"),
        ("letta/letta-free", "openai", "gpt-4o-mini", "openai", "openai"),
    ],
)
async def test_a_handle_finds_its_provider_and_what_is_known_of_the_model(
    catalogue: ProviderCatalogue, handle: str, name: str, model: str, provider_type: str, endpoint_type: str
) -> None:
    provider, card = catalogue.resolve(handle)
    assert (provider.name, provider.provider_type) == (name, provider_type)
    assert (card.handle, card.name) == (f"{name}/{model}", model)
    assert (card.provider_name, card.provider_type, card.endpoint_type) == (name, provider_type, endpoint_type)
    assert catalogue.card(handle) == card


@pytest.mark.parametrize("handle", ["gpt-4o", "", "/", "openai/", "/gpt-4o"])
async def test_a_handle_without_both_of_its_parts_is_refused(handle: str) -> None:
    with pytest.raises(InvalidArgument, match="should be in the format provider/model-name"):
        NOTHING.resolve(handle)


@pytest.mark.parametrize(
    ("handle", "variable"),
    [
        ("openai/gpt-4o", "OPENAI_API_KEY"),
        ("openai-proxy/gpt-4o", "OPENAI_API_KEY"),
        ("ollama/llama3", "OLLAMA_BASE_URL"),
        ("vllm/x", "VLLM_BASE_URL"),
        ("azure/x", "AZURE_API_KEY and AZURE_BASE_URL"),
        ("bedrock/x", "AWS_ACCESS_KEY_ID"),
        ("chatgpt-plus-pro/x", "tertulia login chatgpt"),
        ("lmstudio/x", "LMSTUDIO_BASE_URL"),
        ("llamacpp/x", "LLAMACPP_BASE_URL"),
        ("anthropic/x", "ANTHROPIC_API_KEY"),
        ("kimi-code/x", "MOONSHOT_CODING_API_KEY"),
        ("mystery/x", "TERTULIA_ENDPOINTS"),
    ],
)
async def test_a_provider_that_is_not_configured_is_refused_with_what_to_set(handle: str, variable: str) -> None:
    for ask in (NOTHING.resolve, NOTHING.card):
        with pytest.raises(InvalidArgument, match=variable):
            ask(handle)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
async def test_every_type_has_an_adapter_that_loads_nothing(row: ProviderType) -> None:
    endpoint = Endpoint(name=row.name, type=row, base_url="http://127.0.0.1:1/v1", api_key=KEYS.get(row.name, "sk"))
    catalogue = build_catalogue(ProviderSettings(endpoints=(endpoint,)), None)
    for prefix in row.prefixes:
        card = catalogue.resolve(f"{prefix}/some-model")[1]
        assert (card.handle, card.provider_type) == (f"{row.name}/some-model", row.provider_type)
    for kind in PROVIDER_TYPES:
        fits = catalogue.fits(f"{row.name}/some-model", ModelSettings(provider_type=kind))
        assert fits == (kind in row.settings_types)


def test_the_adapters_of_all_types_import_no_sdk() -> None:
    code = (
        "import sys; from tertulia.domain.provider_types import PROVIDER_TYPES; "
        "from tertulia.provider_settings import Endpoint, ProviderSettings; "
        "from tertulia.providers.catalogue import build_catalogue; "
        f"keys = {KEYS!r}; "
        "endpoints = [Endpoint(name=row.name, type=row, base_url='http://127.0.0.1:1/v1', "
        "api_key=keys.get(row.name, 'k')) for row in PROVIDER_TYPES]; "
        "catalogue = build_catalogue(ProviderSettings(endpoints=tuple(endpoints)), None); "
        "[catalogue.resolve(f'{row.name}/model') for row in PROVIDER_TYPES]; "
        "sys.exit(sorted({'openai', 'anthropic', 'google.genai', 'aiobotocore', 'botocore', 'httpx', 'httpx2'} "
        "& set(sys.modules)) or 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_type_of_settings_has_a_row() -> None:
    assert {kind for row in ROWS for kind in row.settings_types} == set(PROVIDER_TYPES)


def test_no_prefix_has_two_rows() -> None:
    prefixes = [prefix for row in ROWS for prefix in row.prefixes]
    assert len(prefixes) == len(set(prefixes))


@pytest.mark.parametrize("handle", ["openai/gpt-4o", "ollama/x", "vllm/x", "box/x", "lmstudio/x", "letta/auto"])
async def test_settings_of_openai_fit_every_server_of_its_dialect(catalogue: ProviderCatalogue, handle: str) -> None:
    catalogue.check_settings(handle, ModelSettings(provider_type="openai"))
    with pytest.raises(InvalidArgument, match="'anthropic'"):
        catalogue.check_settings(handle, ModelSettings(provider_type="anthropic"))


@pytest.mark.parametrize("handle", ["anthropic/x", "moonshot_coding/x", "kimi-code/x"])
async def test_settings_of_the_messages_dialect_fit_their_own_provider_alone(
    catalogue: ProviderCatalogue, handle: str
) -> None:
    own = catalogue.card(handle).provider_type
    for provider_type in ("anthropic", "moonshot_coding", "openai"):
        settings = ModelSettings(provider_type=provider_type)
        assert catalogue.fits(handle, settings) == (provider_type == own)
    catalogue.check_settings(handle, ModelSettings(provider_type=own, effort="low"))


@pytest.mark.parametrize(
    ("handle", "settings", "named"),
    [
        ("anthropic/x", ModelSettings(provider_type="anthropic", verbosity="low"), "verbosity"),
        ("openai/gpt-4o", ModelSettings(provider_type="openai", effort="low"), "effort"),
        ("openai/gpt-4o", ModelSettings(provider_type="openai", reasoning={"summary": "auto"}), "summary"),
    ],
)
async def test_what_a_provider_cannot_express_is_refused_when_it_is_set(
    catalogue: ProviderCatalogue, handle: str, settings: ModelSettings, named: str
) -> None:
    assert catalogue.fits(handle, settings)
    with pytest.raises(InvalidArgument, match=named):
        catalogue.check_settings(handle, settings)


@pytest.mark.parametrize(("base_url", "known"), [("https://api.openai.com/v1", False), (NOWHERE, True)])
async def test_openai_proxy_is_openai_at_another_address(base_url: str, known: bool) -> None:
    endpoint = Endpoint(name="openai", type=BY_PREFIX["openai"], base_url=base_url, api_key="sk")
    catalogue = build_catalogue(ProviderSettings(endpoints=(endpoint,)), None)
    if known:
        assert catalogue.resolve("openai-proxy/gpt-4o")[1].handle == "openai/gpt-4o"
    else:
        with pytest.raises(InvalidArgument):
            catalogue.resolve("openai-proxy/gpt-4o")


async def test_warming_up_and_closing_may_be_done_at_any_time(catalogue: ProviderCatalogue) -> None:
    await catalogue.warm_up()
    await catalogue.close()
    await NOTHING.warm_up()
    await NOTHING.close()


async def test_without_a_default_the_retired_servers_handles_name_nothing() -> None:
    with pytest.raises(InvalidArgument, match="letta"):
        NOTHING.resolve("letta/auto")


async def test_a_provider_that_is_down_hides_no_other() -> None:
    async with RawServer(response(200, b'{"data": [{"id": "up"}, {"id": "nomic-embed-text"}]}')) as server:
        endpoints = (
            Endpoint(name="down", base_url=NOWHERE),
            Endpoint(name="named", base_url=NOWHERE, models=("a",)),
            Endpoint(name="up", base_url=server.url),
        )
        catalogue = build_catalogue(ProviderSettings(endpoints=endpoints), None, others=(ScriptedProvider(),))
        assert [card.handle for card in await catalogue.models()] == ["scripted/model", "named/a", "up/up"]
        assert [card.handle for card in await catalogue.embeddings()] == ["up/nomic-embed-text"]
        await catalogue.close()


async def test_the_default_model_is_the_first_of_the_list() -> None:
    endpoint = Endpoint(name="box", base_url=NOWHERE, models=("a", "b", "c"))
    catalogue = build_catalogue(ProviderSettings(endpoints=(endpoint,)), "box/b", others=(ScriptedProvider(),))
    assert [card.handle for card in await catalogue.models()] == ["box/b", "scripted/model", "box/a", "box/c"]
    await catalogue.close()
