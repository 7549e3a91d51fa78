"""Settings as nobody means them: each is used as it was meant, or refused with the name of its variable."""

import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from pydantic import SecretStr, ValidationError

from tertulia.cli import main
from tertulia.cli.configured import load_settings
from tertulia.cli.problems import Problem
from tertulia.settings import Settings, variable_names

FIELDS = [name for name in Settings.model_fields if name != "provider_variables"]
NUMBERS = [
    name
    for name in FIELDS
    if any(kind in str(Settings.model_fields[name].annotation) for kind in ("int", "float"))
    and "NamedEndpoint" not in str(Settings.model_fields[name].annotation)
]
KEYS = ("api_key", "secret_key")


def tertulia(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def problem() -> str:
    with pytest.raises(Problem) as refusal:
        load_settings({})
    return refusal.value.message


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("field_name", [name for name in FIELDS if name not in KEYS])
def test_a_blank_setting_counts_as_not_set(monkeypatch: pytest.MonkeyPatch, field_name: str) -> None:
    monkeypatch.setenv(variable_names(field_name)[0], " \t ")
    if field_name == "endpoints":
        assert "TERTULIA_ENDPOINTS: the value is not valid JSON" in problem()
    else:
        assert getattr(load_settings({}), field_name) == getattr(Settings(), field_name)


@pytest.mark.parametrize("field_name", KEYS)
def test_a_blank_key_is_refused_because_nobody_means_it(monkeypatch: pytest.MonkeyPatch, field_name: str) -> None:
    monkeypatch.setenv(f"TERTULIA_{field_name.upper()}", "   ")
    assert f"TERTULIA_{field_name.upper()}: it is blank" in problem()


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "-1", "1e400", "9" * 30, "9" * 5000, "zwölf", "0x10", "1,5"])
@pytest.mark.parametrize("field_name", NUMBERS)
def test_a_number_that_none_of_the_program_can_use_is_refused(
    monkeypatch: pytest.MonkeyPatch, field_name: str, value: str
) -> None:
    monkeypatch.setenv(f"TERTULIA_{field_name.upper()}", value)
    assert f"TERTULIA_{field_name.upper()}: " in problem()


@pytest.mark.parametrize("character", ["\x1b", "\n", "\x7f", "\udcff"])
@pytest.mark.parametrize("field_name", FIELDS)
def test_what_is_no_text_is_refused_by_the_name_of_its_variable(
    monkeypatch: pytest.MonkeyPatch, field_name: str, character: str
) -> None:
    monkeypatch.setenv(variable_names(field_name)[0], f"a{character}b")
    said = problem()
    assert variable_names(field_name)[0] in said
    said.encode()  # it can be written


def test_the_key_s_surroundings_are_no_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERTULIA_API_KEY", "  x  ")
    key = load_settings({}).api_key
    assert key is not None
    assert key.get_secret_value() == "x"
    assert Settings(api_key=SecretStr(" x\n")).api_key == SecretStr("x")


@pytest.mark.parametrize("key", ["two words", "schlüssel", "tab\tulator"])
def test_a_key_that_no_header_can_carry_is_refused(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv("TERTULIA_API_KEY", key)
    said = problem()
    assert "TERTULIA_API_KEY: " in said
    assert key not in said


@pytest.mark.parametrize("key", ["k", " " * 20 + "k", "k" * 15])
def test_a_key_that_can_be_guessed_is_refused_where_others_may_try(key: str) -> None:
    with pytest.raises(ValidationError, match="shorter than 16 characters"):
        Settings(host="0.0.0.0", api_key=SecretStr(key))
    assert Settings(api_key=SecretStr(key)).host == "127.0.0.1"


def test_a_provider_s_key_is_stripped_and_one_that_is_no_text_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", " sk-1\n")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "  ")
    assert [endpoint.api_key for endpoint in load_settings({}).providers.endpoints] == ["sk-1"]
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1\nsk-2")
    said = problem()
    assert "OPENAI_API_KEY: character 5" in said
    assert "sk-2" not in said


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://h/db%00",
        "postgresql://u:secret%00@h/db",
        "postgresql://u:secret@h/db?sslmode=%00",
        "postgresql://u:secret@h:port/db",
        "postgresql://u:secret@h:99999/db",
        "postgresql://u:secret@h:1,h:x/db",
        "postgresql://u:secret@[::1/db",
        "postgresql://u:secret@h/%ff",
        "sqlite:////tmp/%00.db",
        "sqlite:///~no-such-account/t.db",
    ],
)
def test_an_address_of_a_database_that_can_be_none_is_refused_by_its_variable(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("TERTULIA_DB", url)
    said = problem()
    assert "TERTULIA_DB: " in said
    assert "secret" not in said


@pytest.mark.parametrize(
    "url", ["postgresql://u@h1:5432,h2:5433/db", "postgresql://u@[::1]:5432/db", "postgresql:///d"]
)
def test_addresses_that_libpq_takes_are_taken(url: str) -> None:
    assert Settings(db=url).postgres_url == url


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("TERTULIA_CORS_ORIGINS", "localhost:3000"),
        ("TERTULIA_CORS_ORIGINS", "http://localhost:3000/page"),
        ("TERTULIA_ALLOWED_HOSTS", "http://example.org"),
        ("TERTULIA_ALLOWED_HOSTS", "example.org:8283"),
    ],
)
def test_a_name_that_would_never_be_met_is_refused(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    monkeypatch.setenv(variable, value)
    assert f"{variable}: '{value}' is not" in problem()


def test_a_home_that_is_not_known_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERTULIA_DATA_DIR", "~no-such-account/data")
    assert "TERTULIA_DATA_DIR: '~no-such-account/data' cannot be resolved" in problem()


def test_json_of_any_depth_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERTULIA_ENDPOINTS", "[" * 60_000)
    assert "TERTULIA_ENDPOINTS: the value is not valid JSON" in problem()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("OPENAI_API_KEY=clé\n".encode("latin-1"), "it is not UTF-8 (byte 17)"),
        ("A=1\n".encode("utf-16"), "it is not UTF-8"),
        (b"A=1\nB=\0\n", "line 2 has a NUL character"),
        (b"A=" + b"x" * 2_000_000, "it has 2,000,002 bytes"),
    ],
    ids=["latin-1", "utf-16", "nul", "huge"],
)
@pytest.mark.parametrize("command", ["serve", "doctor", "login chatgpt", "migrate up"])
def test_an_env_file_that_is_none_is_told_in_words(here: Path, command: str, content: bytes, said: str) -> None:
    (here / ".env").write_bytes(content)
    result = tertulia(*command.split())
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"{here / '.env'}: {said}" in result.stderr


def test_a_directory_in_the_place_of_the_env_file_is_told(here: Path) -> None:
    (here / ".env").mkdir()
    assert "it is a directory and not a file" in problem()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_env_file_that_may_not_be_read_is_told(here: Path) -> None:
    (here / ".env").touch(mode=0)
    assert "it cannot be read (Permission denied)" in problem()


def test_an_env_file_that_is_a_pipe_is_told_and_waits_for_nobody(here: Path) -> None:
    os.mkfifo(here / ".env")
    assert "it is a pipe or a socket and not a file" in problem()


def test_an_env_file_can_be_linked_away(here: Path) -> None:
    (here / ".env").symlink_to("/dev/null")
    assert load_settings({}).port == 8283


def test_names_of_machines_that_are_none_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERTULIA_API_KEY", "k" * 16)
    for host in ("a" * 300, ".."):
        result = tertulia("serve", "--host", host, "--port", "0")
        assert result.exit_code == 2
        assert "Traceback" not in result.stderr
        assert host in result.stderr


def test_a_data_directory_that_is_a_file_is_named_with_its_variable(here: Path) -> None:
    (here / "data").touch()
    result = tertulia("serve", "--port", "0", "--data-dir", str(here / "data"))
    assert result.exit_code == 2
    assert f"cannot create the data directory {here / 'data'}: it is a file. Set TERTULIA_DATA_DIR" in result.stderr
    told = tertulia("doctor", "--data-dir", str(here / "data"))
    assert told.exit_code == 1
    assert f"{here / 'data'} is a file; set TERTULIA_DATA_DIR" in told.stdout


def test_a_database_that_cannot_be_reached_is_named_with_its_variable() -> None:
    result = tertulia("doctor", "--db", "postgresql://u:secret@127.0.0.1:1/db")
    assert result.exit_code == 1
    assert "127.0.0.1:1/db cannot be opened" in result.stdout
    assert "secret" not in result.output
