import socket
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tertulia import __version__
from tertulia.cli import main


def tertulia(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


@pytest.fixture(autouse=True)
def data_dir(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("TERTULIA_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


def assert_refused(result: Result, *sentences: str) -> None:
    """One clear message on standard error and exit code 2; a traceback would be an exception and code 1."""
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    for sentence in sentences:
        assert sentence in result.stderr


def test_the_version_is_told() -> None:
    assert tertulia("--version").output == f"tertulia {__version__}\n"


def test_an_open_door_without_a_key_is_refused() -> None:
    assert_refused(tertulia("serve", "--host", "0.0.0.0"), "can be reached from other machines", "TERTULIA_API_KEY")


def test_a_taken_port_is_refused(data_dir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert_refused(tertulia("serve", "--port", str(port)), f"port {port} on 127.0.0.1 is in use")
    assert not data_dir.exists()


def test_an_address_of_another_machine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERTULIA_API_KEY", "k" * 16)
    # TEST-NET-1, reserved for documentation: nobody's address.
    assert_refused(
        tertulia("serve", "--host", "192.0.2.1", "--port", "0"), "'192.0.2.1' is not an address of this machine"
    )


def test_a_data_directory_that_cannot_be_made_is_refused(data_dir: Path) -> None:
    data_dir.write_text("a file")
    assert_refused(tertulia("serve", "--port", "0"), f"cannot create the data directory {data_dir}")


def test_an_env_file_that_is_not_utf_8_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    Path(".env").write_bytes("OPENAI_API_KEY=clé\n".encode("latin-1"))
    for command in ("serve", "doctor"):
        assert_refused(tertulia(command), ".env: it is not UTF-8", "save it as UTF-8")


def test_every_wrong_setting_is_named_by_what_the_user_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_BASE_URL", "localhost")
    monkeypatch.setenv("TERTULIA_LOCAL_THREADS", "none")
    result = tertulia("serve", "--port", "70000", "--db", "mysql://h/d")
    assert_refused(
        result, "--port: ", "--db: 'mysql://h/d'", "OLLAMA_BASE_URL: 'localhost'", "TERTULIA_LOCAL_THREADS: "
    )


def test_endpoints_that_are_no_json_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERTULIA_ENDPOINTS", "{lab: ")
    assert_refused(tertulia("doctor"), "TERTULIA_ENDPOINTS: the value is not valid JSON")


def test_an_unknown_field_of_an_endpoint_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERTULIA_ENDPOINTS", '{"lab": {"base_url": "http://h", "key": "k"}}')
    assert_refused(tertulia("doctor"), "TERTULIA_ENDPOINTS.lab.key: ")


def test_several_workers_on_sqlite_are_refused() -> None:
    assert_refused(tertulia("serve", "--workers", "2"), "2 workers need a database that they can share", "embedded-pg")
