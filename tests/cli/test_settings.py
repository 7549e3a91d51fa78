from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from tertulia.domain.provider_types import BY_PREFIX, PROVIDER_TYPES, ProviderType
from tertulia.provider_settings import Endpoint
from tertulia.settings import Settings, is_loopback, unknown_variables, variable_in_use


def test_without_any_setting_the_server_is_local_and_keyless() -> None:
    settings = Settings()
    assert (settings.host, settings.port, settings.api_key) == ("127.0.0.1", 8283, None)
    assert settings.data_dir == Path.home() / ".tertulia"
    assert settings.database_path == Path.home() / ".tertulia" / "tertulia.db"
    assert settings.providers.endpoints == ()


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "example.org"])
def test_an_address_others_can_reach_needs_a_key(host: str) -> None:
    with pytest.raises(ValidationError, match="TERTULIA_API_KEY"):
        Settings(host=host)
    assert Settings(host=host, api_key=SecretStr("k" * 16)).host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_loopback_addresses_need_no_key(host: str) -> None:
    assert is_loopback(host)
    assert Settings(host=host).api_key is None


def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERTULIA_API_KEY", "")
    monkeypatch.setenv("TERTULIA_PORT", "")
    with pytest.raises(ValidationError, match="a key is needed"):
        Settings(host="0.0.0.0")
    assert Settings().port == 8283


def test_options_go_before_the_environment_and_that_before_the_env_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(".env").write_text("TERTULIA_PORT=1001\nTERTULIA_LOG_LEVEL=debug\nOPENAI_API_KEY=from-file\n")
    assert Settings().port == 1001
    monkeypatch.setenv("TERTULIA_PORT", "1002")
    assert Settings().port == 1002
    assert Settings(port=1003).port == 1003
    assert Settings().log_level == "debug"
    assert [endpoint.api_key for endpoint in Settings().providers.endpoints] == ["from-file"]


def test_a_relative_data_directory_is_made_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert Settings(data_dir=Path("data")).database_path == tmp_path / "data" / "tertulia.db"


@pytest.mark.parametrize(
    ("url", "path"),
    [("sqlite:////var/lib/t.db", Path("/var/lib/t.db")), ("sqlite:////with%20space/t.db", Path("/with space/t.db"))],
)
def test_the_database_can_be_another_file(url: str, path: Path) -> None:
    assert Settings(db=url).database_path == path


@pytest.mark.parametrize(
    "url",
    [
        "mysql://user:secret@host/db",
        "postgresql:user:secret@host",
        "postgresql://",
        "sqlite://",
        "/var/t.db",
        "sqlite:///t.db?mode=ro",
    ],
)
def test_any_other_database_is_refused_without_showing_its_password(url: str) -> None:
    with pytest.raises(ValidationError, match="is not supported") as refusal:
        Settings(db=url)
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+asyncpg"])
def test_a_postgresql_is_named_as_its_own_programs_name_it(scheme: str) -> None:
    settings = Settings(db=f"{scheme}://user:secret@host/db?sslmode=require")
    assert settings.postgres_url == "postgresql://user:secret@host/db?sslmode=require"
    assert settings.database_path is None
    assert ":secret@" not in repr(settings)


def test_a_postgresql_of_the_servers_own_is_in_the_data_directory() -> None:
    settings = Settings(db="embedded-pg", data_dir=Path("/srv/t"))
    assert (settings.database_path, settings.postgres_url) == (None, None)
    assert settings.embedded_directory == Path("/srv/t/embedded-pg")


def test_an_openai_key_alone_configures_openai(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
    assert Settings().providers.endpoints == (
        Endpoint(name="openai", type=BY_PREFIX["openai"], base_url="https://api.openai.com/v1", api_key="sk-1"),
    )


@pytest.mark.parametrize("variable", ["OPENAI_BASE_URL", "OPENAI_API_BASE", "TERTULIA_OPENAI_BASE_URL"])
def test_openai_can_live_at_another_address_without_a_key(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "http://127.0.0.1:9/v1/")
    (endpoint,) = Settings().providers.endpoints
    assert (endpoint.base_url, endpoint.api_key) == ("http://127.0.0.1:9/v1", None)


@pytest.mark.parametrize(
    ("variable", "name"),
    [
        ("OLLAMA_BASE_URL", "ollama"),
        ("VLLM_BASE_URL", "vllm"),
        ("VLLM_API_BASE", "vllm"),
        ("TERTULIA_SGLANG_BASE_URL", "sglang"),
        ("LMSTUDIO_BASE_URL", "lmstudio_openai"),
        ("LLAMACPP_BASE_URL", "llamacpp"),
        ("LLAMA_CPP_BASE_URL", "llamacpp"),
    ],
)
def test_an_address_variable_configures_its_server(monkeypatch: pytest.MonkeyPatch, variable: str, name: str) -> None:
    monkeypatch.setenv(variable, "http://127.0.0.1:9")
    (endpoint,) = Settings().providers.endpoints
    assert (endpoint.name, endpoint.base_url) == (name, "http://127.0.0.1:9/v1")


@pytest.mark.parametrize(
    ("name", "address"),
    [("anthropic", "https://api.anthropic.com"), ("moonshot_coding", "https://api.kimi.com/coding")],
)
def test_the_messages_dialect_needs_a_key_or_another_address(
    monkeypatch: pytest.MonkeyPatch, name: str, address: str
) -> None:
    monkeypatch.setenv(f"{name.upper()}_API_KEY", "sk-1")
    assert Settings().providers.endpoints == (
        Endpoint(name=name, type=BY_PREFIX[name], base_url=address, api_key="sk-1"),
    )
    # Their base URLs end before /v1, which people write all the same.
    for given in ("http://127.0.0.1:9/a", "http://127.0.0.1:9/a/", "http://127.0.0.1:9/a/v1"):
        monkeypatch.setenv(f"{name.upper()}_BASE_URL", given)
        assert Settings().providers.endpoints[0].base_url == "http://127.0.0.1:9/a"


def test_a_complaint_names_the_variable_that_was_set(monkeypatch: pytest.MonkeyPatch) -> None:
    assert variable_in_use("searxng_base_url") == "SEARXNG_BASE_URL"
    monkeypatch.setenv("TERTULIA_SEARXNG_BASE_URL", "http://h")
    assert variable_in_use("searxng_base_url") == "TERTULIA_SEARXNG_BASE_URL"


@pytest.mark.parametrize("row", [row for row in PROVIDER_TYPES if row.needs], ids=lambda row: row.name)
def test_what_a_type_needs_configures_it(monkeypatch: pytest.MonkeyPatch, row: ProviderType) -> None:
    for variable in row.needs:
        monkeypatch.setenv(
            variable, "http://127.0.0.1:9/x" if variable in row.url_variables else f"value of {variable}"
        )
    (endpoint,) = Settings().providers.endpoints
    assert (endpoint.name, endpoint.type) == (row.name, row)
    assert endpoint.base_url == (row.base_url or ("http://127.0.0.1:9/x" if row.url_variables[0] in row.needs else ""))


@pytest.mark.parametrize("row", PROVIDER_TYPES, ids=lambda row: row.name)
def test_every_address_can_be_another(monkeypatch: pytest.MonkeyPatch, row: ProviderType) -> None:
    monkeypatch.setenv(row.url_variables[0], "http://127.0.0.1:9/x/")
    providers = Settings().providers
    assert providers.base_urls == {row.name: "http://127.0.0.1:9/x"}
    # Who signs in is configured by that alone.
    assert [endpoint.base_url for endpoint in providers.endpoints] == (["http://127.0.0.1:9/x"] if row.needs else [])


def test_the_credentials_of_aws_come_as_options(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    assert Settings().providers.endpoints == ()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
    (endpoint,) = Settings().providers.endpoints
    assert endpoint.options == {
        "region": "eu-west-1",
        "access_key": "AKIA",
        "secret_key": "hush",
        "session_token": "token",
    }
    assert "hush" not in f"{endpoint!r}"


def test_the_first_of_several_names_counts_and_the_one_with_the_prefix_before_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GOOGLE_API_KEY", "second")
    assert [endpoint.api_key for endpoint in Settings().providers.endpoints] == ["second"]
    monkeypatch.setenv("GEMINI_API_KEY", "first")
    assert [endpoint.api_key for endpoint in Settings().providers.endpoints] == ["first"]
    monkeypatch.setenv("TERTULIA_GEMINI_API_KEY", "ours")
    assert [endpoint.api_key for endpoint in Settings().providers.endpoints] == ["ours"]


def test_an_env_file_may_begin_with_the_mark_of_its_encoding(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    Path(".env").write_text("TERTULIA_PORT=1001\nTERTULIA_PROT=1\n", encoding="utf-8-sig")
    assert Settings().port == 1001
    assert unknown_variables() == ["TERTULIA_PROT"]


def test_named_endpoints_come_with_key_and_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "TERTULIA_ENDPOINTS", '{"lab": {"base_url": "https://lab.example/api", "api_key": "k", "models": ["a", "b"]}}'
    )
    (endpoint,) = Settings().providers.endpoints
    assert endpoint == Endpoint(name="lab", base_url="https://lab.example/api", api_key="k", models=("a", "b"))


@pytest.mark.parametrize("name", ["openai", "local", "Lab", "a/b", ""])
def test_a_named_endpoint_must_not_look_like_another_provider(name: str) -> None:
    with pytest.raises(ValidationError, match="the name"):
        Settings.model_validate({"endpoints": {name: {"base_url": "http://h/v1"}}})


@pytest.mark.parametrize("url", ["127.0.0.1:11434", "ftp://host/v1", "http://"])
def test_an_address_must_be_an_http_url(url: str) -> None:
    with pytest.raises(ValidationError, match="is not an address"):
        Settings.model_validate({"provider_variables": {"OLLAMA_BASE_URL": url}})


def test_keys_are_not_in_the_text_form_of_settings() -> None:
    settings = Settings.model_validate(
        {
            "api_key": "hush-1",
            "provider_variables": {"OPENAI_API_KEY": "hush-2"},
            "endpoints": {"lab": {"base_url": "http://h", "api_key": "hush-3"}},
        }
    )
    assert "hush" not in f"{settings!r} {settings} {settings.providers}"


def test_misspelt_variables_are_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    Path(".env").write_text("TERTULIA_DATADIR=x\n")
    monkeypatch.setenv("TERTULIA_PROT", "1")
    monkeypatch.setenv("TERTULIA_PORT", "1")
    assert unknown_variables() == ["TERTULIA_DATADIR", "TERTULIA_PROT"]
