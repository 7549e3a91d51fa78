import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tertulia.cli import check_local, main
from tests.support.plain_server import answering


@pytest.fixture
def data_dir(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TERTULIA_PORT", "1")
    monkeypatch.setenv("TERTULIA_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


def doctor() -> Result:
    return CliRunner().invoke(main, ["doctor"])


def line(result: Result, subject: str) -> str:
    return next(line for line in result.output.splitlines() if line[8:].startswith(subject))


@pytest.mark.usefixtures("data_dir")
def test_a_fresh_install_is_in_order() -> None:
    result = doctor()
    assert result.exit_code == 0, result.output
    assert "will be created at the first start" in line(result, "data directory")
    assert "not configured (OPENAI_API_KEY)" in line(result, "openai")


@pytest.mark.usefixtures("data_dir")
def test_an_endpoint_that_answers_is_told_with_its_models(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(200, {"data": [{"id": "llama3"}, {"id": "qwen3"}]}) as url:
        monkeypatch.setenv("OLLAMA_BASE_URL", url)
        result = doctor()
    assert result.exit_code == 0
    assert f"{url}/v1 answers, no key, llama3, qwen3" in line(result, "ollama")


@pytest.mark.usefixtures("data_dir")
def test_a_wrong_key_is_told_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(200, {"data": []}, wanted_key="right") as url:
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        monkeypatch.setenv("OPENAI_API_KEY", "wrong-key")
        result = doctor()
    assert result.exit_code == 1
    assert "did not accept the API key. Set OPENAI_API_KEY" in line(result, "openai")
    assert "wrong-key" not in result.output


@pytest.mark.usefixtures("data_dir")
@pytest.mark.parametrize("address", ["http://me:hunter2@127.0.0.1:9/v1", "me:hunter2@127.0.0.1:9", "//me:hun@ter2@/"])
def test_a_password_in_an_address_is_not_shown(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", address)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    result = doctor()
    assert result.exit_code != 0
    assert "***@" in result.output
    assert "ter2" not in result.output


@pytest.mark.usefixtures("data_dir")
def test_the_messages_dialect_is_asked_in_its_own_way(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "not configured (ANTHROPIC_API_KEY)" in line(doctor(), "anthropic")
    assert "not configured (MOONSHOT_CODING_API_KEY)" in line(doctor(), "moonshot_coding")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "right")
    with answering(200, {"data": [{"id": "claude-x"}]}, wanted_key="right") as url:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", url)
        assert f"{url} answers, key accepted, claude-x" in line(doctor(), "anthropic")
        monkeypatch.setenv("ANTHROPIC_API_KEY", "wrong")
        assert "did not accept the API key. Set ANTHROPIC_API_KEY" in line(doctor(), "anthropic")
    with answering(404, {}) as url:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", url)
        assert f"There is no Messages service at {url}" in line(doctor(), "anthropic")


@pytest.mark.usefixtures("data_dir")
def test_credentials_that_are_no_key_are_told_as_accepted_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    with answering(200, {"modelSummaries": [], "inferenceProfileSummaries": []}) as url:
        monkeypatch.setenv("BEDROCK_BASE_URL", url)
        assert f"{url} answers, key accepted, no models yet" in line(doctor(), "bedrock")


@pytest.mark.usefixtures("data_dir")
def test_an_endpoint_that_is_down_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(200, {}) as url:
        pass
    monkeypatch.setenv("VLLM_API_BASE", url)
    result = doctor()
    assert result.exit_code == 1
    assert "cannot be reached" in line(result, "vllm")


@pytest.mark.usefixtures("data_dir")
@pytest.mark.parametrize(
    ("status", "body", "complaint"),
    [(404, {}, "check the base URL"), (200, ["x"], "sent no list of models"), (500, {}, "failed with status 500")],
)
def test_an_endpoint_that_is_no_model_server_is_broken(
    monkeypatch: pytest.MonkeyPatch, status: int, body: object, complaint: str
) -> None:
    with answering(status, body) as url:
        monkeypatch.setenv("TERTULIA_ENDPOINTS", json.dumps({"lab": {"base_url": url}}))
        result = doctor()
    assert result.exit_code == 1
    assert complaint in line(result, "lab")


@pytest.mark.usefixtures("data_dir")
def test_a_model_the_endpoint_does_not_have_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(200, {"data": [{"id": "a"}]}) as url:
        monkeypatch.setenv("TERTULIA_ENDPOINTS", json.dumps({"lab": {"base_url": url, "models": ["a", "b"]}}))
        result = doctor()
    assert result.exit_code == 0
    assert "does not list b" in line(result, "lab")


def test_a_file_in_place_of_the_data_directory_is_broken(data_dir: Path) -> None:
    data_dir.write_text("")
    result = doctor()
    assert result.exit_code == 1
    assert "is a file" in line(result, "data directory")


def test_a_database_that_is_none_is_broken(data_dir: Path) -> None:
    data_dir.mkdir()
    (data_dir / "tertulia.db").write_text("not a database, and long enough to be looked at" * 100)
    result = doctor()
    assert result.exit_code == 1
    assert "cannot be read as a SQLite database" in line(result, "database")


@pytest.mark.usefixtures("data_dir")
def test_a_misspelt_variable_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERTULIA_PROT", "1")
    result = doctor()
    assert result.exit_code == 0
    assert line(result, "TERTULIA_PROT").strip().startswith("warn")


@pytest.mark.usefixtures("data_dir")
def test_a_running_server_is_recognised(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(200, {"version": "1", "status": "ok"}) as url:
        monkeypatch.setenv("TERTULIA_PORT", url.rsplit(":", 1)[1])
        assert "a server answers" in line(doctor(), "address")
    with answering(200, "hello") as url:
        monkeypatch.setenv("TERTULIA_PORT", url.rsplit(":", 1)[1])
        assert "in use by another program" in line(doctor(), "address")


@pytest.mark.usefixtures("data_dir")
def test_files_that_are_no_models_are_a_warning(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "broken.gguf").write_text("not a model")
    monkeypatch.setenv("TERTULIA_MODELS_DIR", str(tmp_path))
    assert "no model can be read from broken.gguf" in line(doctor(), "models directory")


@pytest.mark.usefixtures("data_dir")
def test_a_models_directory_that_is_missing_is_broken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TERTULIA_MODELS_DIR", str(tmp_path / "none"))
    result = doctor()
    assert result.exit_code == 1
    assert "is not a directory" in line(result, "models directory")


@pytest.mark.usefixtures("data_dir")
def test_a_default_model_that_nobody_has_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERTULIA_DEFAULT_MODEL", "ollama/llama3")
    assert "ollama/llama3 is not available" in line(doctor(), "default model")


@pytest.mark.usefixtures("data_dir")
def test_without_any_model_the_install_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_local, "runtime_installed", lambda: False)
    result = doctor()
    assert result.exit_code == 1
    assert "no other model is configured either" in line(result, "default model")
